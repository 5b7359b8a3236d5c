"""What a bundle's int8 graph loses on annotations, by the score that decides for each head (`judging.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drlongformer.bundle import Bundle, Compared, HeadSpec
from drlongformer.training.judging import deciding


def score_that_decides(head: HeadSpec) -> str:
    """The name of the score, the higher the better; of masked words it is the accuracy."""
    return "accuracy" if head.task == "fill-mask" else deciding(head)


def compared(bundle: Bundle, fp32: Mapping[str, Any], int8: Mapping[str, Any]) -> dict[str, Compared]:
    """Scores of both graphs side by side, by set and head; both are what `examine` gives, other entries are left out."""
    heads = {head.name: head for head in bundle.manifest.heads}
    found = {}
    for key, scores in fp32.items():
        if not isinstance(scores, Mapping) or scores.get("head") not in heads or key not in int8:
            continue
        name = score_that_decides(heads[scores["head"]])
        one = {"name": name, "fp32": scores[name], "int8": int8[key][name], "documents": scores["documents"]}
        found[key] = Compared.model_validate(one)
    return found
