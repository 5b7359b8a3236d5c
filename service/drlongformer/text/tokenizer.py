"""Documents to token ids with exact code point offsets into the untouched text, over the `tokenizers` library.

Special strings in a text are ordinary text. `encode_special_tokens`, which makes them so, is state of a library instance, so
`encode_masked`, for which the mask string alone is special, has an instance of its own. What a tokenizer.json says of
truncation, padding and special tokens is switched off: windows are planned elsewhere and special tokens added to each.
A long text is tokenized piece by piece (`cuts.py`), so that whoever waits for it can look at a clock in between.
`alignment.py` makes the spans exact: tokens that are bytes of one character share its span, no span begins or ends in blank
space, and a token's word is that of `words.py`, widened until no token is cut. Where the bundle asks for it a text is
normalised first (`normalisation.py`), and every offset is led back into the untouched text.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import tokenizers

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import BundleError
from drlongformer.text import cuts
from drlongformer.text.alignment import exact_spans, word_begins, word_numbers
from drlongformer.text.normalisation import Normalised, normalising
from drlongformer.text.pairs import pair
from drlongformer.text.windows import SPECIALS
from drlongformer.text.words import BoolArray, Characters, characters, check_surrogates, spans
from drlongformer.types import Encoded, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A text with masks: its tokens, which of them are masks, and where each mask string stands in the text."""

    encoded: Encoded
    masks: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far tokenizing has come: characters of the piece that was read last, tokens of all pieces up to it."""

    characters: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The tokens of one piece, their offsets in the whole text, and at which a word begins."""

    ids: IntArray
    offsets: IntArray
    begins: BoolArray


class Tokenizer:
    """One bundle's tokenizer; safe to share between threads."""

    def __init__(self, content: Mapping[str, Any], *, spec: TokenizerSpec) -> None:
        """Build from the content of a tokenizer.json; raises BundleError where it does not fit its bundle."""
        self._spec = spec
        self._running = _instance(content, spec)
        self._split = _instance(_after_spaces(content), spec) if spec.word_splitting == "words" else None
        self._masking = _instance(content, spec, mask_is_special=True)
        self._separators = cuts.separators(content)
        self._keeps_words = spec.word_splitting == "raw" and not spec.normalisation and cuts.keeps_words(content)
        self._unknown = _unknown_id(content["model"], self._running)
        self._check(content["model"])
        self._reachable = self._reachable_specials()

    @classmethod
    def from_file(cls, path: Path, *, spec: TokenizerSpec) -> Self:
        """Read a tokenizer.json; raises BundleError where it cannot be read or does not fit its bundle."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path.name} cannot be read: {type(error).__name__}") from error
        if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
            raise BundleError(f"{path.name} holds no tokenizer model")
        return cls(content, spec=spec)

    @property
    def mask_token(self) -> str:
        """The string that is a mask in `encode_masked`."""
        return self._spec.mask_token

    @property
    def specials(self) -> int:
        """Special tokens of one window."""
        return SPECIALS

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return int(self._running.get_vocab_size(with_added_tokens=True))

    @property
    def unknown_id(self) -> int | None:
        """Id of the unknown token; None where every text can be spelt."""
        return self._unknown

    def least_tokens(self, text: str) -> int:
        """How many tokens a text that is not blank has at least, told without tokenizing it."""
        return max(1, cuts.least_tokens(text)) if self._keeps_words else 1

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokens of each text; raises MalformedBody for lone surrogates. Other threads run meanwhile."""
        if self._spec.normalisation:
            return [self._at_once(text) for text in texts]
        if self._split is not None:
            return [_whole([self._read(text, piece) for piece in self._pieces(text)]) for text in texts]
        found = [(text, piece) for text in texts for piece in self._pieces(text)]
        known = [characters(text[piece]) for text, piece in found]
        raw = self._running.encode_batch([text[piece] for text, piece in found], add_special_tokens=False)
        parts = iter([self._part(*each) for each in zip(known, raw, (piece.start for _, piece in found), strict=True)])
        return [_whole([next(parts) for _ in self._pieces(text)]) for text in texts]

    def steps(self, text: str) -> Generator[Progress, None, Encoded]:
        """What `encode_batch` gives for one text, told of after every piece."""
        return (yield from self._steps(text, masked=False))

    def encode_masked(self, text: str) -> Masked:
        """Tokens of a text in which the mask string stands for a mask; there may be none.

        Fill-mask reads running text, whatever the word splitting of the bundle's other heads.
        """
        steps = self.masked_steps(text)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                masked: Masked = end.value
                return masked

    def masked_steps(self, text: str) -> Generator[Progress, None, Masked]:
        """What `encode_masked` gives, told of after every piece."""
        encoded = yield from self._steps(text, masked=True)
        masks = np.flatnonzero(encoded.ids == self._spec.mask_id)
        where = encoded.offsets[masks].tolist()
        return Masked(encoded=encoded, masks=tuple(masks.tolist()), spans=tuple((start, end) for start, end in where))

    def with_specials(self, ids: IntArray) -> IntArray:
        """The model's input for one window's content tokens: `<s>`, the tokens, `</s>`."""
        return np.concatenate([[self._spec.bos_id], ids, [self._spec.eos_id]]).astype(np.int64)

    def pair(self, first: IntArray, second: IntArray) -> IntArray:
        """The model's input for two texts that it reads together."""
        return pair(first, second, bos=self._spec.bos_id, eos=self._spec.eos_id)

    def token(self, token_id: int) -> str:
        """A token as the vocabulary spells it; raises ValueError for an id outside the vocabulary."""
        token = self._running.id_to_token(token_id)
        if token is None:
            raise ValueError(f"no token {token_id} in a vocabulary of {self.vocab_size}")
        return str(token)

    def decode_token(self, token_id: int) -> str:
        """A token as text; byte-level ones keep their leading space."""
        return str(self._running.decode([token_id], skip_special_tokens=False))

    def single_id(self, word: str) -> int | None:
        """Id of the one token that spells a word, after a space if it can, else as it stands; None if there is none."""
        for candidate in (f" {word}", word):
            encoded = _whole([self._part(characters(candidate), self._spelt(candidate), 0)])
            start, end = encoded.offsets.T
            if len(encoded) == 1 and start[0] < end[0] and encoded.ids[0] != self._unknown:
                return int(encoded.ids[0])
        return None

    def _at_once(self, text: str) -> Encoded:
        steps = self.steps(text)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                encoded: Encoded = end.value
                return encoded

    def _steps(self, text: str, *, masked: bool) -> Generator[Progress, None, Encoded]:
        parts: list[_Part] = []
        tokens = 0
        normalised = (yield from self._normalised(text)) if self._spec.normalisation else None
        read, done = text if normalised is None else normalised.text, 0
        for piece in self._pieces(read):
            part = self._read(read, piece, masked=masked)
            parts.append(part)
            tokens += len(part.ids)
            place = piece.stop if normalised is None else normalised.place(piece.stop)
            yield Progress(characters=place - done, tokens=tokens)
            done = place
        encoded = _whole(parts)
        return encoded if normalised is None else replace(encoded, offsets=normalised.restore(encoded.offsets))

    def _normalised(self, text: str) -> Generator[Progress, None, Normalised]:
        """The text as it is read, told of after every step, in which nothing is tokenized yet."""
        check_surrogates(text)  # tells a lone surrogate by its place in the untouched text
        steps = normalising(text, self._spec.normalisation, keep=self._spec.mask_token)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                made: Normalised = end.value
                return made
            yield Progress(characters=0, tokens=0)

    def _pieces(self, text: str) -> Iterator[slice]:
        if len(text) > cuts.PIECE:
            check_surrogates(text)  # tells a lone surrogate by its place in the whole text
        return cuts.pieces(text, separators=self._separators, unbroken=self._spec.mask_token)

    def _read(self, text: str, piece: slice, *, masked: bool = False) -> _Part:
        """The tokens of one piece."""
        known = characters(text[piece])
        if masked:
            (raw,) = self._masking.encode_batch([text[piece]], add_special_tokens=False)
            return self._part(known, raw, piece.start, but=self._spec.mask_id)
        if self._split is not None:
            where = spans(known)
            words = [text[piece.start + start : piece.start + stop] for start, stop in where.tolist()]
            (raw,) = self._split.encode_batch([words], is_pretokenized=True, add_special_tokens=False)
            return self._part(known, raw, piece.start, shift=where[np.array(raw.word_ids, dtype=np.int64), :1])
        (raw,) = self._running.encode_batch([text[piece]], add_special_tokens=False)
        return self._part(known, raw, piece.start)

    def _part(
        self, text: Characters, raw: tokenizers.Encoding, start: int, *, but: int | None = None, shift: IntArray | int = 0
    ) -> _Part:
        """Ids, exact spans and words; special ids that the text happens to spell, all `but` one, are read as unknown."""
        ids = np.array(raw.ids, dtype=np.int64)
        if self._reachable and self._unknown is not None:
            ids[np.isin(ids, [number for number in self._reachable if number != but])] = self._unknown
        offsets = exact_spans(text, _raw_spans(raw) + shift)
        return _Part(ids=ids, offsets=offsets + start, begins=word_begins(text, offsets))

    def _spelt(self, text: str) -> tokenizers.Encoding:
        """A short text as the library reads it, not cut into words."""
        (raw,) = self._running.encode_batch([text], add_special_tokens=False)
        return raw

    def _check(self, model: Mapping[str, Any]) -> None:
        mask_id = self._masking.token_to_id(self._spec.mask_token)
        if mask_id != self._spec.mask_id:
            raise BundleError(f"the mask string has id {mask_id} in the tokenizer, {self._spec.mask_id} in the bundle")
        absent = [number for number in sorted(_special_ids(self._spec)) if self._masking.id_to_token(number) is None]
        if absent:
            raise BundleError(f"special ids {absent} are not in the tokenizer's vocabulary of {self.vocab_size}")
        if model.get("type") == "Unigram" and self._unknown is None:
            raise BundleError("a Unigram vocabulary without an unknown token cannot read every text")

    def _reachable_specials(self) -> tuple[int, ...]:
        """Special ids that plain text can spell: those that are pieces of a Unigram vocabulary, for one."""
        specials = _special_ids(self._spec) - {self._unknown}
        strings = [self._masking.id_to_token(number) for number in sorted(specials)]
        spelt = {number for one in self._running.encode_batch(strings, add_special_tokens=False) for number in one.ids}
        reachable = tuple(sorted(specials & spelt))
        if reachable and self._unknown is None:
            raise BundleError(f"texts can spell the special ids {reachable} and no unknown token can stand for them")
        return reachable


def _instance(content: Mapping[str, Any], spec: TokenizerSpec, *, mask_is_special: bool = False) -> tokenizers.Tokenizer:
    """A library tokenizer for which no special string in a text is special, or the mask's alone.

    With `encode_special_tokens` the library looks for added tokens that are not flagged special, and for no others.
    """
    specials = _special_ids(spec)
    added = [{**token, "special": token["special"] or token["id"] in specials} for token in content.get("added_tokens", ())]
    if mask_is_special:
        mask = {"id": spec.mask_id, "content": spec.mask_token, "single_word": False, "lstrip": True, "rstrip": False}
        mask = next((token for token in added if token["id"] == spec.mask_id), mask | {"normalized": False})
        added = [token for token in added if token["id"] != spec.mask_id] + [mask | {"special": False}]
        added.sort(key=lambda token: int(token["id"]))
    off = dict.fromkeys(("truncation", "padding", "post_processor"))
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**content, **off, "added_tokens": added}))
    except Exception as error:  # the library raises nothing narrower
        raise BundleError("the tokenizers library cannot read the tokenizer file") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def _after_spaces(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same tokenizer, reading each pre-split word as after a space: so Hugging Face prepares RoBERTa for words."""
    changed: dict[str, Any] = json.loads(json.dumps(content))
    whole = changed.get("pre_tokenizer") or {}
    for step in (whole, *whole.get("pretokenizers", ())):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = True
    return changed


def _special_ids(spec: TokenizerSpec) -> set[int]:
    return {spec.bos_id, spec.eos_id, spec.pad_id, spec.mask_id}


def _unknown_id(model: Mapping[str, Any], tokenizer: tokenizers.Tokenizer) -> int | None:
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    unknown: int | None = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return unknown


def _whole(parts: Sequence[_Part]) -> Encoded:
    """The tokens of a text from those of its pieces."""
    begins = np.concatenate([part.begins for part in parts])
    return Encoded(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        words=word_numbers(begins),
    )


def _raw_spans(raw: tokenizers.Encoding) -> IntArray:
    return np.fromiter(chain.from_iterable(raw.offsets), dtype=np.int64, count=2 * len(raw.ids)).reshape(-1, 2)
