from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from drlongformer.errors import BundleError, MalformedBody
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.text.words import ZERO_WIDTH_BLANKS
from drlongformer.types import Encoded
from tests.text.tiny import KINDS, Kind, content, hard_texts, library_tokenizer, spec, tokenizer

kinds = pytest.mark.parametrize("kind", KINDS)


def encode(kind: Kind, text: str) -> Encoded:
    (encoded,) = tokenizer(kind).encode_batch([text])
    return encoded


def mentions(encoded: Encoded, text: str) -> list[str]:
    """The text of each word, from its first character to its last."""
    found: dict[int, list[int]] = {}
    for word, (start, end) in zip(encoded.words.tolist(), encoded.offsets.tolist(), strict=True):
        if start < end:
            found.setdefault(word, []).extend((start, end))
    return [text[min(places) : max(places)] for places in found.values()]


def is_blank(character: str) -> bool:
    return character.isspace() or ord(character) in ZERO_WIDTH_BLANKS


@kinds
@given(data=st.data())
def test_spans_lie_in_the_text_and_end_in_visible_characters(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts())
    for start, end in encode(kind, text).offsets.tolist():
        assert 0 <= start <= end <= len(text)
        assert start == end or not (is_blank(text[start]) or is_blank(text[end - 1]))


@kinds
@given(data=st.data())
def test_every_visible_character_belongs_to_a_token(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts())
    covered = {place for start, end in encode(kind, text).offsets.tolist() for place in range(start, end)}
    assert covered >= {place for place, character in enumerate(text) if not is_blank(character)}


@kinds
@given(data=st.data())
def test_words_rise_and_hold_no_blank(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts())
    encoded = encode(kind, text)
    assert set(np.diff(encoded.words, prepend=0).tolist()) <= {0, 1}
    assert not any(is_blank(character) for word in mentions(encoded, text) for character in word)


@pytest.mark.parametrize("kind", ["bytes", "bytes-nfc"])
@given(text=hard_texts())
def test_words_do_not_depend_on_the_tokens_of_a_byte_level_vocabulary_overlapping(kind: Kind, text: str) -> None:
    words = mentions(encode(kind, text), text)
    assert "".join(words) == "".join(character for character in text if not is_blank(character))


@kinds
@given(data=st.data())
def test_special_strings_in_a_text_are_ordinary_text(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts())
    its = spec(kind)
    assert not {its.bos_id, its.eos_id, its.pad_id, its.mask_id} & set(encode(kind, text).ids.tolist())
    event(f"with a special string: {'<s>' in text}")


@kinds
def test_the_bytes_of_a_character_share_its_span(kind: Kind) -> None:
    assert set(map(tuple, encode(kind, "ﷺ").offsets.tolist())) == {(0, 1)}


@pytest.mark.parametrize("kind", ["bytes", "bytes-nfc", "metaspace"])
@pytest.mark.parametrize("text", ["l'hôpital Évry", "l'ho\u0302pital E\u0301vry"])
def test_composed_and_decomposed_accents_give_the_same_words(kind: Kind, text: str) -> None:
    hospital, city = text.split()
    *elided, last = mentions(encode(kind, text), text)
    assert last == city
    assert "".join(elided) == hospital


def test_the_documented_alignment_holds() -> None:
    text = "l'hôpital E\u0301vry"
    encoded = encode("bytes-nfc", text)
    assert (10, 12) in set(map(tuple, encoded.offsets.tolist()))
    assert mentions(encoded, text) == ["l'", "hôpital", "E\u0301vry"]


def test_a_lone_space_has_an_empty_span_at_the_character_after_it() -> None:
    assert encode("bytes", "a \u20ac").offsets.tolist()[1] == [2, 2]


@given(text=hard_texts(without="<"))
def test_byte_level_spans_begin_where_hugging_face_says(text: str) -> None:
    reference = PreTrainedTokenizerFast(tokenizer_object=library_tokenizer("bytes"))(
        text, return_offsets_mapping=True, add_special_tokens=False
    )
    encoded = encode("bytes", text)
    assert encoded.ids.tolist() == reference["input_ids"]
    for (start, end), (its_start, its_end) in zip(encoded.offsets.tolist(), reference["offset_mapping"], strict=True):
        blank = all(map(is_blank, text[its_start:its_end]))
        # Hugging Face gives the first token of a text its leading space, and blank tokens their characters.
        assert start == its_start or (its_start == 0 and is_blank(text[0])) or (blank and start == end)
        assert end == its_end or blank


@kinds
def test_many_texts_are_encoded_as_each_alone_and_none_is_truncated(kind: Kind) -> None:
    texts = ["Le patient tousse. " * 40, "", "fièvre", " \n "]
    together = tokenizer(kind).encode_batch(texts)
    for text, encoded in zip(texts, together, strict=True):
        assert encoded.ids.tolist() == encode(kind, text).ids.tolist()
    assert len(together[0]) > 100
    assert len(together[1]) == 0


@kinds
def test_a_lone_surrogate_is_refused(kind: Kind) -> None:
    with pytest.raises(MalformedBody):
        tokenizer(kind).encode_batch(["a", "b\udfff"])


@kinds
@given(data=st.data())
def test_only_the_mask_is_special_in_encode_masked(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts())
    masked, its = tokenizer(kind).encode_masked(text), spec(kind)
    assert [text[start:end] for start, end in masked.spans] == ["<mask>"] * text.count("<mask>")
    assert np.flatnonzero(masked.encoded.ids == its.mask_id).tolist() == list(masked.masks)
    assert not {its.bos_id, its.eos_id, its.pad_id} & set(masked.encoded.ids.tolist())
    event(f"masks: {len(masked.masks)}")


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@given(fragments=st.lists(st.sampled_from(["<mask>", " ", "l'hôpital", "  ", "fièvre,", "\n", "é"]), max_size=12))
def test_masked_texts_get_hugging_faces_ids(kind: Kind, fragments: list[str]) -> None:
    text = "".join(fragments)
    fast = PreTrainedTokenizerFast(tokenizer_object=library_tokenizer(kind))
    assert tokenizer(kind).encode_masked(text).encoded.ids.tolist() == fast(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
@given(data=st.data())
def test_pre_split_words_are_tokenised_as_hugging_face_tokenises_them(kind: Kind, data: st.DataObject) -> None:
    text = data.draw(hard_texts(without="<"))
    (encoded,) = tokenizer(kind, word_splitting="words").encode_batch([text])
    words = mentions(encoded, text)
    assert "".join(words) == "".join(character for character in text if not is_blank(character))
    changed = json.loads(json.dumps(content(kind)))
    changed["truncation"] = None
    if kind == "bytes":
        changed["pre_tokenizer"]["add_prefix_space"] = True
    library = type(library_tokenizer(kind)).from_str(json.dumps(changed))
    assert encoded.ids.tolist() == library.encode(words, is_pretokenized=True, add_special_tokens=False).ids


def test_pre_split_words_differ_from_running_text() -> None:
    (split,) = tokenizer("bytes", word_splitting="words").encode_batch(["l'hôpital"])
    assert split.ids.tolist() != encode("bytes", "l'hôpital").ids.tolist()
    assert split.offsets[-1, 1] == 9


@kinds
def test_special_tokens_are_put_around_a_window(kind: Kind) -> None:
    its, made = spec(kind), tokenizer(kind)
    assert made.with_specials(np.array([7, 8])).tolist() == [its.bos_id, 7, 8, its.eos_id]
    assert made.with_specials(np.array([], dtype=np.int64)).dtype == np.int64
    assert made.specials == 2


@pytest.mark.parametrize(
    ("kind", "spelt"), [("bytes", "Ġfièvre".replace("è", "Ã¨")), ("metaspace", "▁fièvre"), ("unigram", "▁fièvre")]
)
def test_a_target_word_is_one_token_after_a_space(kind: Kind, spelt: str) -> None:
    made = tokenizer(kind)
    number = made.single_id("fièvre")
    assert number is not None
    assert made.token(number) == spelt
    assert made.decode_token(number).strip() == "fièvre"
    assert made.single_id(made.decode_token(number)) == number


@kinds
@pytest.mark.parametrize("word", ["", " ", "\u200b", "anticonstitutionnellement", "<s>", "<mask>", "漢字"])
def test_what_is_not_one_token_has_no_id(kind: Kind, word: str) -> None:
    assert tokenizer(kind).single_id(word) is None


def test_an_id_outside_the_vocabulary_has_no_token() -> None:
    made = tokenizer("bytes")
    with pytest.raises(ValueError, match=f"no token {made.vocab_size} in a vocabulary of {made.vocab_size}"):
        made.token(made.vocab_size)


def test_a_file_is_read_as_its_content(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(content("bytes")), encoding="utf-8")
    made = Tokenizer.from_file(file, spec=spec("bytes"))
    assert made.encode_batch(["fièvre"])[0].ids.tolist() == encode("bytes", "fièvre").ids.tolist()
    assert made.mask_token == "<mask>"
    assert made.unknown_id is None
    assert tokenizer("metaspace").unknown_id == 3
    assert tokenizer("unigram").unknown_id == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}', '{"model": {"type": "Nothing"}}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BundleError):
        Tokenizer.from_file(file, spec=spec("bytes"))


@pytest.mark.parametrize("change", [{"mask_id": 5}, {"mask_token": "<hidden>"}, {"eos_id": 10_000}])
def test_a_tokenizer_that_does_not_fit_its_bundle_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        Tokenizer(content("bytes"), spec=spec("bytes").model_copy(update=change))


def test_a_mask_that_is_only_in_the_vocabulary_is_still_found() -> None:
    changed = json.loads(json.dumps(content("bytes")))
    changed["added_tokens"] = []
    changed["model"]["vocab"]["<mask>"] = spec("bytes").mask_id
    made = Tokenizer(changed, spec=spec("bytes"))
    assert made.encode_masked("une <mask> sèche").spans == ((4, 10),)
    assert spec("bytes").mask_id not in made.encode_batch(["une <mask> sèche"])[0].ids


def test_texts_that_can_spell_special_tokens_need_an_unknown_token() -> None:
    changed = json.loads(json.dumps(content("bytes")))
    changed["pre_tokenizer"] = None
    changed["model"]["ignore_merges"] = True
    with pytest.raises(BundleError, match="no unknown token"):
        Tokenizer(changed, spec=spec("bytes"))


def test_a_vocabulary_that_cannot_read_every_text_is_refused() -> None:
    changed = json.loads(json.dumps(content("unigram")))
    changed["model"]["unk_id"] = None
    with pytest.raises(BundleError, match="Unigram"):
        Tokenizer(changed, spec=spec("unigram"))


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
def test_other_threads_run_while_a_text_is_tokenised(kind: Kind) -> None:
    made, text, ticks, done = tokenizer(kind), "Le patient tousse depuis hier. " * 20_000, [], threading.Event()

    def tick() -> None:
        while not done.wait(0.002):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    made._running.encode_batch([text], add_special_tokens=False)
    stopped = time.monotonic()
    done.set()
    thread.join()
    assert sum(started < moment < stopped for moment in ticks) >= 2, f"{stopped - started:.2f} s without another thread"


@given(text=hard_texts(), kind=st.sampled_from(KINDS), words=st.booleans())
def test_a_text_never_has_fewer_tokens_than_its_words_tell(text: str, kind: Kind, words: bool) -> None:
    it = tokenizer(kind, word_splitting="words" if words else "raw")
    [encoded] = it.encode_batch([text])
    least = it.least_tokens(text)
    event(f"told more than that there is one: {least > 1}")
    assert least <= max(1, len(encoded))


def test_the_words_of_a_byte_level_tokenizer_are_counted_and_of_others_nothing_is_said() -> None:
    text = "Le patient  a de la fièvre.\n Il tousse"
    assert tokenizer("bytes").least_tokens(text) == 8
    assert [tokenizer(kind).least_tokens(text) for kind in KINDS if kind != "bytes"] == [1, 1, 1]
    assert tokenizer("bytes", word_splitting="words").least_tokens(text) == 1
    assert tokenizer("bytes", normalisation=("lines",)).least_tokens(text) == 1
    assert tokenizer("bytes").least_tokens("") == 1
