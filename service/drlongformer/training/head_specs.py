"""How a head of each kind is served once it is trained: one function a task, for recipes and for annotations of one's own."""

from __future__ import annotations

from typing import Literal

from drlongformer.bundle import HeadSpec
from drlongformer.types import HIDDEN

GlobalAttention = Literal["none", "first"]
LANGUAGE_HEAD = "mlm"
EMBEDDING_HEAD = "embedding"


def language_head(*, first_global: bool = True) -> HeadSpec:
    """A head that names masked words."""
    attention: GlobalAttention = "first" if first_global else "none"
    return HeadSpec(name=LANGUAGE_HEAD, task="fill-mask", output=LANGUAGE_HEAD, global_attention=attention, trained=True)


def class_head(
    name: str, labels: tuple[str, ...], *, several: bool = False, global_attention: GlobalAttention = "first"
) -> HeadSpec:
    """A head that gives a text one class, or `several`, from `<s>`."""
    return HeadSpec(
        name=name,
        task="classify",
        output=name,
        labels=labels,
        function="sigmoid" if several else "softmax",
        global_attention=global_attention,
        trained=True,
    )


def span_head(name: str, labels: tuple[str, ...], *, global_attention: GlobalAttention = "first") -> HeadSpec:
    """A head that tags tokens with BIO `labels`."""
    return HeadSpec(
        name=name, task="ner", output=name, labels=labels, global_attention=global_attention, decoding="bio", trained=True
    )


def similarity_head(name: str, *, score_range: tuple[float, float], global_attention: GlobalAttention = "first") -> HeadSpec:
    """A head that reads two texts in one window and says how alike they are."""
    return HeadSpec(
        name=name,
        task="similarity",
        output=name,
        function="sigmoid",
        score_range=score_range,
        global_attention=global_attention,
        trained=True,
    )


def choice_head(
    name: str, *, several: bool, letters: tuple[str, ...] = (), global_attention: GlobalAttention = "first"
) -> HeadSpec:
    """A head that picks one option or `several`: of a window each, or with `letters` of one window that holds them all."""
    return HeadSpec(
        name=name,
        task="multiple-choice",
        output=name,
        labels=letters,
        function="sigmoid" if several else "softmax",
        layout="joint" if letters else "each",
        global_attention=global_attention,
        trained=True,
    )


def embedding_head(name: str = EMBEDDING_HEAD, *, global_attention: GlobalAttention = "first") -> HeadSpec:
    """The mean of the hidden states."""
    return HeadSpec(name=name, task="embed", output=HIDDEN, pooling="mean", global_attention=global_attention, trained=True)
