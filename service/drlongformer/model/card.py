"""The model card that goes into a bundle as `README.md`: what the manifest says, for a reader."""

from __future__ import annotations

from collections.abc import Mapping

from drlongformer.bundle import Halving, HeadSpec, Manifest, Parity, Rounding, Target


def card(manifest: Manifest, *, standard: Mapping[str, Parity] | None = None) -> str:
    """A card of what is known about a bundle; it invents nothing. standard: the proofs of its standard graphs by file."""
    parts = (
        f"# {manifest.name}, version {manifest.version}",
        manifest.description,
        _facts(manifest),
        "## Heads",
        _heads(manifest.heads),
        *_warnings(manifest.heads),
        "## Proof of the export",
        *(_proof(graph.file, graph.parity, graph.target) for graph in manifest.graphs if graph.parity),
        *told_of_int8(manifest),
        *(_halved(graph.file, graph.halving) for graph in manifest.graphs if graph.halving),
        *_standard(standard or {}),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(manifest: Manifest) -> str:
    known = {
        "Base model": manifest.base_model,
        "Revision": manifest.base_revision,
        "Licence": manifest.licence or "not stated; ask the authors of the base model",
        "Trained on patient data": "yes" if manifest.patient_data else "none declared",
        "Longest window": f"{manifest.max_tokens} tokens, special tokens included",
        "Vocabulary": f"{manifest.vocab_size} tokens",
        "Normalisation": ", ".join(manifest.tokenizer.normalisation) or None,
    }
    return "\n".join(f"* {name}: {value}" for name, value in known.items() if value is not None)


def _heads(heads: tuple[HeadSpec, ...]) -> str:
    rows = [f"| {head.name} | {head.task} | {len(head.labels) or '–'} | {head.global_attention} |" for head in heads]
    return "\n".join(("| head | task | labels | global attention |", "|---|---|---|---|", *rows))


def _warnings(heads: tuple[HeadSpec, ...]) -> list[str]:
    return [
        f"**{head.name} is not trained**: the base model computes it, but nothing taught it to; measure before relying on it."
        for head in heads
        if not head.trained
    ]


def _standard(proofs: Mapping[str, Parity]) -> list[str]:
    if not proofs:
        return []
    told = "For `optimum.onnxruntime` and `transformers.pipeline`, each in a folder with its configuration and tokenizer."
    return ["## Standard graphs", told, *(_proof(file, (parity,)) for file, parity in proofs.items())]


def told_of_int8(manifest: Manifest) -> tuple[str, ...]:
    """What each int8 graph of the bundle changes, a paragraph and a table each."""
    return tuple(_changed(graph.file, graph.rounding) for graph in manifest.graphs if graph.rounding)


def _changed(file: str, rounding: Rounding) -> str:
    """What the int8 graph changes."""
    told = (
        f"`{file}`, {rounding.layers} of {rounding.linear_layers} linear layers in int8, against the fp32 graph: mean "
        f"embeddings of {rounding.windows} windows have a cosine of {rounding.cosine:.5f} or more, the least allowed is "
        f"{rounding.least_cosine}; "
        f"neighbours change an answer by at most {rounding.neighbours_change:.0e}."
    )
    if not rounding.scores:
        return f"{told} It was scored on no annotations."
    rows = [
        f"| {key} | {one.documents} | {one.name} | {one.fp32:.4f} | {one.int8:.4f} | {one.lost_points:+.2f} |"
        for key, one in rounding.scores.items()
    ]
    head = ("| set and head | documents | score | fp32 | int8 | lost points |", "|---|---|---|---|---|---|")
    return "\n".join((told, "", *head, *rows))


def _halved(file: str, halving: Halving) -> str:
    """What the fp16 graph changes."""
    return (
        f"`{file}` in fp16, against the fp32 graph, both on a CPU: mean embeddings of {halving.windows} windows have a cosine "
        f"of {halving.cosine:.6f} or more, the least allowed is {halving.least_cosine}; answers differ by at most "
        f"{halving.max_abs_error:.0e}, and neighbours change one by at most {halving.neighbours_change:.0e}, the tolerance is "
        f"{halving.tolerance:.0e}. A card's own rounding comes on top."
    )


def _proof(file: str, parity: tuple[Parity, ...], target: Target = "cpu") -> str:
    rows = [
        f"| {each.against} | {', '.join(map(str, each.lengths))} | {each.max_abs_error:.1e} | {each.tolerance:.0e} |"
        for each in parity
    ]
    table = ("| against | lengths of the pack's windows | largest error | tolerance |", "|---|---|---|---|", *rows)
    form = "" if target == "cpu" else ", the same nodes in fp32"
    return "\n".join((f"`{file}`{form}, run by ONNX Runtime on the CPU:", "", *table))
