"""A byte-level BPE in RoBERTa's layout, learnt from a corpus without its rare words.

Ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then the 256 bytes and the merges, `<mask>` last. A word met in few documents
(a person's name, above all) is taken out before the merges are learnt, so it can never become a token of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from drlongformer.bundle import TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.training.recipes import TokenizerRecipe

BOS, PAD, EOS, UNK, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SMALLEST_VOCABULARY = 4 + 256 + 1
_WORD = re.compile(r"\w+")


def train(texts: Callable[[], Iterable[str]], recipe: TokenizerRecipe) -> Tokenizer:
    """Learn the merges; `texts` is called twice, once to count the documents of each word and once to learn."""
    if recipe.vocab_size < SMALLEST_VOCABULARY:
        raise TrainingError(f"a vocabulary of {recipe.vocab_size} cannot hold bytes and specials, {SMALLEST_VOCABULARY}")
    documents_of: Counter[str] = Counter()
    for text in texts():
        documents_of.update(set(_WORD.findall(text)))
    kept = {word for word, documents in documents_of.items() if documents >= recipe.min_documents}
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size - 1,
        special_tokens=[BOS, PAD, EOS, UNK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_without_rare(texts(), kept), trainer)
    return _finished(tokenizer)


def served_spec(path: Path) -> TokenizerSpec:
    """What the service must know of a tokenizer in this layout; raises TrainingError where a special token is absent."""
    tokenizer = Tokenizer.from_file(str(path))
    bos, eos, pad, mask = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD, MASK))
    if bos is None or eos is None or pad is None or mask is None:
        raise TrainingError(f"{path.name} lacks one of {BOS} {EOS} {PAD} {MASK}")
    return TokenizerSpec(bos_id=bos, eos_id=eos, pad_id=pad, mask_id=mask, mask_token=MASK)


def _without_rare(texts: Iterable[str], kept: set[str]) -> Iterator[str]:
    for text in texts:
        yield _WORD.sub(lambda found: found[0] if found[0] in kept else "", text)


def _finished(tokenizer: Tokenizer) -> Tokenizer:
    """Add `<mask>` behind the merges, and the `<s> text </s>` template."""
    tokenizer.add_special_tokens([AddedToken(MASK, lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=(EOS, tokenizer.token_to_id(EOS)), cls=(BOS, tokenizer.token_to_id(BOS)), add_prefix_space=False
    )
    return tokenizer
