"""Options of the graphs beside the fp32 one, for every command that writes a bundle: int8 on a CPU, fp16 on cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from drlongformer.settings import SettingsError

if TYPE_CHECKING:
    from drlongformer.model.rounding import Int8

PRECISIONS = ("fp32", "int8")
TARGETS = ("cpu", "cuda")

PrecisionsOption = Annotated[
    str, typer.Option(metavar="fp32|fp32,int8", help="Graphs to write; an int8 one stands beside the fp32 one that proves it.")
]
TargetsOption = Annotated[
    str,
    typer.Option(
        metavar="cpu|cpu,cuda", help="Graphs by device: cpu's runs on every device; cuda adds one in fp16 with fused attention."
    ),
]
MaxLossOption = Annotated[
    float | None, typer.Option(min=0, help="Points of 100 that int8 may lose of the score that decides; 0.5 by default.")
]
MinCosineOption = Annotated[
    float | None, typer.Option(min=-1, max=1, help="Least cosine of int8's embeddings with fp32's; 0.995 by default.")
]


def int8_asked(precisions: str, *, max_loss: float | None, min_cosine: float | None, scored_by: str | None) -> Int8 | None:
    """What an int8 graph must keep, where one is asked for. Raises SettingsError for what cannot be written.

    scored_by: the option that would score it, where that was not given.
    """
    asked = {name.strip() for name in precisions.split(",")}
    if unknown := sorted(asked - set(PRECISIONS)):
        raise SettingsError(f"--precision {', '.join(unknown)} cannot be exported; there is {', '.join(PRECISIONS)}")
    if "fp32" not in asked:
        raise SettingsError("--precision int8 stands beside the graph that proves it: --precision fp32,int8")
    if "int8" not in asked:
        if max_loss is not None or min_cosine is not None:
            raise SettingsError("--max-loss and --min-cosine are about an int8 graph: --precision fp32,int8")
        return None
    if max_loss is not None and scored_by is not None:
        raise SettingsError(f"--max-loss needs {scored_by}")
    from drlongformer.model.rounding import LEAST_COSINE, MOST_POINTS, Int8  # noqa: PLC0415 - torch

    return Int8(
        least_cosine=LEAST_COSINE if min_cosine is None else min_cosine,
        most_points=MOST_POINTS if max_loss is None else max_loss,
    )


def targets_asked(asked: str) -> set[str]:
    """The devices that graphs are made for. Raises SettingsError for others, and where cpu, which proves cuda, is left out."""
    targets = {name.strip() for name in asked.split(",")}
    if unknown := sorted(targets - set(TARGETS)):
        raise SettingsError(f"--target {', '.join(unknown)} cannot be exported; there is {', '.join(TARGETS)}")
    if "cpu" not in targets:
        raise SettingsError("--target cuda stands beside the graph that proves it: --target cpu,cuda")
    return targets
