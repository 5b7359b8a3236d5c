from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer.errors import TrainingError
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training import tokenizer
from drlongformer.training.recipes import TokenizerRecipe
from tests.training import tiny

TEXTS = [*tiny.LEAFLETS.values(), tiny.CASE, "Monsieur Zébulon Zébulon Zébulon Zébulon Zébulon Zébulon tousse."]


def test_ids_lie_as_in_roberta_with_the_mask_last() -> None:
    learnt = tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=320, min_documents=2))
    assert [learnt.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert learnt.token_to_id("<mask>") == learnt.get_vocab_size() - 1 == 319
    assert learnt.encode("la fièvre").ids[0] == 0
    assert learnt.encode("la fièvre").ids[-1] == 2


def test_any_text_comes_back_and_nothing_is_unknown() -> None:
    learnt = tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=320, min_documents=2))
    text = "Zoé reçoit 5 µg 漢 de l'œstradiol…"
    ids = learnt.encode(text, add_special_tokens=False).ids
    assert learnt.decode(ids) == text
    assert 3 not in ids


def test_a_word_of_too_few_documents_becomes_no_token() -> None:
    def longest_piece(min_documents: int) -> int:
        learnt = tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=400, min_documents=min_documents))
        return max(len(token) for token in learnt.encode("Zébulon", add_special_tokens=False).tokens)

    assert longest_piece(1) > 4
    assert longest_piece(2) <= 4


def test_the_mask_takes_the_space_before_it() -> None:
    learnt = tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=320, min_documents=2))
    encoded = learnt.encode("une <mask> sèche", add_special_tokens=False)
    before = encoded.ids[: encoded.ids.index(319)]
    assert learnt.decode(before) == "une"


def test_the_service_reads_the_trained_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    learnt = tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=320, min_documents=2))
    learnt.save(str(path))
    served = Tokenizer.from_file(path, spec=tokenizer.served_spec(path))
    (encoded,) = served.encode_batch([tiny.CASE])
    assert encoded.ids.tolist() == learnt.encode(tiny.CASE, add_special_tokens=False).ids


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(TrainingError, match="100 cannot hold"):
        tokenizer.train(lambda: TEXTS, TokenizerRecipe(vocab_size=100))
