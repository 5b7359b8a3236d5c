"""Where a long text may be cut before it is tokenized: pieces bound what one step costs, and no token changes.

A tokenizer whose pre-tokenizer splits at blank space reads what follows a space without regard to what stood before it, so a
cut before the space after a visible character changes nothing:

    text     Le patient a de la fièvre et tousse.
    pieces   [Le patient a de][ la fièvre et][ tousse.]

Only kinds of tokenizers of which that is known are cut (`separators`). A run of `LONGEST` characters without a space, which is
no word of any language written with spaces, is cut where it reaches that length; `words.py` sees two words there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenizers.pre_tokenizers import ByteLevel

PIECE: Final = 8_000
"""Characters after which a piece ends at the next space: some 15 ms of tokenizing."""
LONGEST: Final = 16_000
"""Characters of the longest piece."""

_LOCAL_NORMALIZERS: Final = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Precompiled"})
"""Normalizers that never look past a space."""
_VISIBLE: Final = r"[\w!-/:-@\[-`{-~«»…’–—°€µ]"
_JOINER: Final = "\u200d"
_STEPS_BACK: Final = 64


def separators(content: Mapping[str, Any]) -> str:
    """The characters before which a tokenizer of this tokenizer.json may be cut; none where that is not known to be safe."""
    added = content.get("added_tokens") or ()
    if any(not token["special"] and re.search(r"\s", token["content"].strip()) for token in added):
        return ""
    if not all(_is_local(step) for step in _sequence(content.get("normalizer"), "normalizers")):
        return ""
    match list(_sequence(content.get("pre_tokenizer"), "pretokenizers")):
        case [{"type": "ByteLevel"} as level] if level.get("use_regex", True):
            return " " if level.get("add_prefix_space", True) else " \n\t"
        case [{"type": "Metaspace"} as metaspace] if metaspace.get("split", True):
            return " "
        case [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "always"}]:
            return " "
        case _:
            return ""


def keeps_words(content: Mapping[str, Any]) -> bool:
    """Whether what stands between two spaces gives a token of its own, at least: bytes are all spelt, and none is left out."""
    if content.get("normalizer") is not None or not separators(content):
        return False
    kinds = [step["type"] for step in _sequence(content.get("pre_tokenizer"), "pretokenizers")]
    return kinds == ["ByteLevel"] and set(ByteLevel.alphabet()) <= content["model"].get("vocab", {}).keys()


def least_tokens(text: str) -> int:
    """How many tokens a text has at least, where its tokenizer keeps words; some 60 microseconds for a thousand words."""
    return sum(1 for word in text.split(" ") if word and not word.isspace())


def pieces(text: str, *, separators: str, unbroken: str = "", piece: int = PIECE, longest: int = LONGEST) -> Iterator[slice]:
    """The pieces of a text, which cover it; `unbroken` is a string that no cut goes through."""
    if len(text) <= piece or not separators:
        yield slice(0, len(text))
        return
    fitting = re.compile(f"(?<={_VISIBLE})(?=[{separators}])")
    start = 0
    while len(text) - start > piece:
        found = fitting.search(text, start + piece, start + longest)
        if not found and len(text) - start <= longest:
            break
        stop = found.start() if found else _within_a_run(text, start, start + longest, unbroken)
        yield slice(start, stop)
        start = stop
    if start < len(text):
        yield slice(start, len(text))


def _within_a_run(text: str, start: int, place: int, unbroken: str) -> int:
    """The last place up to this one, and behind the start, that parts no composed sign and no unbroken string."""
    if unbroken:
        found = text.find(unbroken, place - len(unbroken) + 1, place + len(unbroken) - 1)
        place = found if found > start else place
    for stop in range(place, max(start, place - _STEPS_BACK), -1):
        joined = _JOINER in text[stop - 1 : stop + 1]
        if not joined and unicodedata.category(text[stop]) not in ("Mn", "Mc", "Me", "Sk"):
            return stop
    return place


def _is_local(step: Mapping[str, Any]) -> bool:
    if step["type"] == "Replace":  # SentencePiece's: runs of spaces are one
        return step.get("pattern") in ({"Regex": " {2,}"}, {"String": " "})
    return step["type"] in _LOCAL_NORMALIZERS


def _sequence(step: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """A step, or those a sequence holds."""
    if step is None:
        return
    if step["type"] == "Sequence":
        for each in step[inner]:
            yield from _sequence(each, inner)
    else:
        yield step
