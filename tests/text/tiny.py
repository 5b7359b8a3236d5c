"""Tiny tokenizers of the kinds the project meets, made from a few made-up sentences, and texts that are hard on offsets."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Literal

import numpy as np
import tokenizers
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from drlongformer.bundle import TokenizerSpec
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.types import IntArray, Rule

Kind = Literal["bytes", "bytes-nfc", "metaspace", "unigram"]
KINDS: tuple[Kind, ...] = ("bytes", "bytes-nfc", "metaspace", "unigram")

SENTENCES = [
    "L'hôpital de jour reçoit le patient pour une fièvre à 38,5 °C et une toux sèche.",
    "Œdème des membres inférieurs, élevé à l’hôpital ; la fièvre cède au paracétamol 500 mg.",
    "Le patient n'a pas d'antécédent. Aujourd'hui la toux persiste, la fièvre non.",
]
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]

FRAGMENTS = [
    *"aehlt œÉé09,.;:'’()<>/-%°µ²½ª_\t\n\r",
    "l'hôpital", "fièvre", "38,5", "e\u0301", "E\u0301\u0323", "ﬁ", "ﷺ", "\u202f", "\u00a0", "\u3000", "\r\n", "   ", "\n\n",
    "👩‍⚕️", "🧑🏽", "🇫🇷", "שלום", "مرض", "\u200b", "\ufeff", "\u200d", "\u200f", "\u00ad", "\u2060", "각", "<mask>", "</s>",
    "<s>", "<pad>", "| a | b |", "漢", "𠀀", "\x00", "\x85",
]  # fmt: skip


def hard_texts(*, without: str = "", max_size: int = 30) -> st.SearchStrategy[str]:
    """Texts put together from fragments that break careless offsets, none of them containing `without`."""
    return (
        st.lists(st.sampled_from(FRAGMENTS), max_size=max_size)
        .map("".join)
        .filter(lambda text: not without or without not in text)
    )


@cache
def content(kind: Kind) -> dict[str, Any]:
    """The content of a tokenizer.json."""
    made: dict[str, Any] = json.loads(library_tokenizer(kind).to_str())
    return made


@cache
def library_tokenizer(kind: Kind) -> tokenizers.Tokenizer:
    """As Hugging Face would write it: with a post-processor, and a mask that takes the space on its left."""
    made = _bytes() if kind.startswith("bytes") else _metaspace() if kind == "metaspace" else _unigram()
    if kind == "bytes-nfc":
        made.normalizer = normalizers.NFC()
    made.add_special_tokens([*SPECIALS, AddedToken("<mask>", lstrip=True, normalized=False)])
    made.enable_truncation(8)  # what a tokenizer.json may carry, and must not do
    return made


@cache
def tokenizer(
    kind: Kind, *, word_splitting: Literal["raw", "words"] = "raw", normalisation: tuple[Rule, ...] = ()
) -> Tokenizer:
    """The project's tokenizer over a tiny one."""
    return Tokenizer(content(kind), spec=spec(kind, word_splitting=word_splitting, normalisation=normalisation))


def spec(kind: Kind, *, word_splitting: Literal["raw", "words"] = "raw", normalisation: tuple[Rule, ...] = ()) -> TokenizerSpec:
    """What the bundle of a tiny tokenizer would say."""
    number = library_tokenizer(kind).token_to_id
    return TokenizerSpec(
        bos_id=number("<s>"),
        eos_id=number("</s>"),
        pad_id=number("<pad>"),
        mask_id=number("<mask>"),
        mask_token="<mask>",
        word_splitting=word_splitting,
        normalisation=normalisation,
    )


def _bytes() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        SENTENCES * 9,
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False),
    )
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return made


def _metaspace() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    # SentencePiece's nmt_nfkc, as far as blank space goes.
    blanks = normalizers.Replace(Regex(r"[\s\x{200b}\x{feff}\x{2060}]+"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), blanks])
    # SentencePiece learns no piece that crosses punctuation, and cuts at spaces alone when it reads.
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    made.decoder = decoders.Metaspace()
    # The order of CamemBERT's file: its own control tokens first, the others later.
    specials = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    made.train_from_iterator(SENTENCES * 9, trainers.BpeTrainer(vocab_size=150, special_tokens=specials, show_progress=False))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 5), ("</s>", 6)])
    return made


def np_spans(raw: tokenizers.Encoding) -> IntArray:
    """The spans of the library as an array."""
    return np.array(raw.offsets, dtype=np.int64).reshape(-1, 2)


def _unigram() -> tokenizers.Tokenizer:
    """A Unigram vocabulary has its special tokens among its pieces, so plain text can spell them."""
    letters = sorted(set("".join(SENTENCES)) - {" "} | set("<>/▁"))
    pieces = [(special, 0.0) for special in SPECIALS] + [(letter, -3.0) for letter in letters] + [("▁fièvre", -2.0)]
    made = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    made.normalizer = normalizers.Replace(Regex(r"[\s\x{200b}\x{feff}\x{2060}]+"), " ")
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made
