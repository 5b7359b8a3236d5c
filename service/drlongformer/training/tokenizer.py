"""Tokenizers learnt from a corpus without its rare words, in the two layouts that French models come in.

    roberta     byte-level BPE      <s> 0  <pad> 1  </s> 2  <unk> 3, the 256 bytes and the merges, <mask> last
    camembert   SentencePiece BPE   <s>NOTUSED 0  <pad> 1  </s>NOTUSED 2  <unk> 3  <unk>NOTUSED 4  <s> 5  </s> 6, then
                the letters and the merges over words that begin with "▁", <mask> last (as DrBERT)

A word met in few documents (a person's name, above all) is taken out before the merges are learnt, so it can never become a
token of its own. Both read texts in Unicode's NFC: a letter and its accent are one sign, however they were typed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.text.tokenizer import Tokenizer as ServedTokenizer
from drlongformer.training.rare_words import frequent
from drlongformer.types import Rule

if TYPE_CHECKING:  # recipes know architectures, and with them torch, which a corpus does not need
    from drlongformer.training.recipes import TokenizerRecipe

BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIALS = {
    "roberta": (BOS, PAD, EOS, UNK),
    "camembert": ("<s>NOTUSED", PAD, "</s>NOTUSED", UNK, "<unk>NOTUSED", BOS, EOS),
}
BYTES = 256
SMALLEST_VOCABULARY = {"roberta": 4 + BYTES + 1, "camembert": 7 + BYTES + 1}
FRENCH_SIGNS = [*map(chr, range(33, 127)), *"àâäçéèêëîïôöùûüÿæœÀÂÄÇÉÈÊËÎÏÔÖÙÛÜŸÆŒ«»’…–°µ€"]
"""Signs that a SentencePiece vocabulary has in any case."""
MOST_LETTERS = 1000
"""Letters of a SentencePiece vocabulary, the most frequent ones; rarer ones are read as unknown."""

SAME_SCRIPT = Regex(r"▁?\p{L}[\p{L}\p{M}]*|▁?\p{N}+|▁?[^▁\p{L}\p{N}]|▁")
"""What merges may join while they are learnt, as SentencePiece does: letters, digits, never both, and no two signs."""


def train(texts: Callable[[], Iterable[str]], recipe: TokenizerRecipe) -> Tokenizer:
    """Learn the merges; `texts` is called twice, once to count the documents of each word and once to learn.

    Texts that have less to learn from give fewer tokens than `vocab_size`. Raises TrainingError for a vocabulary too small to
    hold letters and specials, and where no word is left to learn from.
    """
    smallest = SMALLEST_VOCABULARY[recipe.layout]
    if recipe.vocab_size < smallest:
        raise TrainingError(f"a vocabulary of {recipe.vocab_size} cannot hold letters and specials, {smallest}")
    learnt = Tokenizer(models.BPE(unk_token=UNK, fuse_unk=recipe.layout == "camembert"))
    learnt.normalizer = normalizers.NFC()
    byte_level = recipe.layout == "roberta"
    if byte_level:
        learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        learnt.decoder = decoders.ByteLevel()
    else:
        learnt.pre_tokenizer = pre_tokenizers.Sequence([_words(), pre_tokenizers.Split(SAME_SCRIPT, "isolated")])
        learnt.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size - 1,
        special_tokens=list(SPECIALS[recipe.layout]),
        show_progress=False,
        **_alphabet(recipe),
    )
    learnt.train_from_iterator(frequent(texts, recipe.min_documents), trainer)
    if not byte_level:
        learnt.pre_tokenizer = _words()
    return _finished(learnt)


def _alphabet(recipe: TokenizerRecipe) -> dict[str, Any]:
    if recipe.layout == "roberta":
        return {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    return {"initial_alphabet": FRENCH_SIGNS, "limit_alphabet": min(MOST_LETTERS, recipe.vocab_size // 2)}


def _words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])


def _finished(learnt: Tokenizer) -> Tokenizer:
    """Add `<mask>` behind the merges, and the `<s> text </s>` template."""
    learnt.add_special_tokens([AddedToken(MASK, lstrip=True, special=True)])
    sep, cls = ((token, learnt.token_to_id(token)) for token in (EOS, BOS))
    learnt.post_processor = processors.RobertaProcessing(sep=sep, cls=cls, add_prefix_space=False)
    return learnt


def served_spec(path: Path) -> TokenizerSpec:
    """What the service must know of a tokenizer in this layout; raises TrainingError where a special token is absent."""
    return spec_of(opened(path), name=path.name)


def opened(path: Path) -> Tokenizer:
    """A tokenizer.json; raises TrainingError naming the file where it cannot be read."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise TrainingError(f"{path} is no tokenizer.json that can be read") from error


def spec_of(tokenizer: tokenizers.Tokenizer, *, name: str = "the tokenizer") -> TokenizerSpec:
    """`served_spec` of a tokenizer in memory."""
    bos, eos, pad, mask = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD, MASK))
    if bos is None or eos is None or pad is None or mask is None:
        raise TrainingError(f"{name} lacks one of {BOS} {EOS} {PAD} {MASK}")
    return TokenizerSpec(bos_id=bos, eos_id=eos, pad_id=pad, mask_id=mask, mask_token=MASK)


def first_ordinary(spec: TokenizerSpec) -> int:
    """The first id behind the special ones at the front, `<mask>` being last: 4 in RoBERTa's layout, 7 in CamemBERT's."""
    return max(spec.bos_id, spec.eos_id, spec.pad_id, len(SPECIALS["roberta"]) - 1) + 1


def as_served(tokenizer: tokenizers.Tokenizer, *, normalisation: tuple[Rule, ...] = ()) -> ServedTokenizer:
    """The same tokenizer as the service reads with it: special strings are ordinary text, words are counted.

    normalisation: what is put right in texts before they are read.
    """
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return ServedTokenizer(content, spec=spec_of(tokenizer).model_copy(update={"normalisation": normalisation}))


def digest(tokenizer: tokenizers.Tokenizer) -> str:
    """SHA-256 of what the tokenizer does, however its file is laid out."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()
