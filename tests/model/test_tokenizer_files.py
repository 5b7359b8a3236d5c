"""Tokenizers: one `tokenizer.json` gives the ids and offsets of transformers' fast tokenizer, whatever files it came from."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from transformers import LongformerTokenizerFast, PreTrainedTokenizerFast, RobertaTokenizerFast

from drlongformer.errors import CheckpointError
from drlongformer.model.tokenizer_files import TokenizerFile, convert_tokenizer
from tests.model.checkpoints import SENTENCES, VOCABULARY, save_tokenizer

TEXTS = (
    *SENTENCES,
    "",
    " ",
    "\n\n",
    "À l’hôpital, l'œdème — côté « gauche » — a régressé.",
    unicodedata.normalize("NFD", "Hémiplégie après un AVC ischémique à l'âge de 67 ans."),
    "cœur ŒDÈME ÉCHOGRAPHIE ça où naïf",
    "Motif : fièvre.\r\nHistoire :\r\n\tHTA\u202f; diabète\u00a0!",
    "12\u202f500 UI/j × 3, soit 0,5 µg·kg⁻¹ ≥ 2 ‰",
    "😀 douleur 👩‍⚕️ 8/10 🇫🇷",
    "ﬁbrillation \ufeffauriculaire \u200b",
    "<mask> et <s> dans un texte </s> ; un <mask>mot <mask> ",
    "mot" * 300,
    "日本語 العربية",
    "\x00\x07",
)
KINDS = {"Longformer": LongformerTokenizerFast, "Roberta": RobertaTokenizerFast}


def convert(folder: Path, **changes: Any) -> TokenizerFile:
    return convert_tokenizer(folder, **({"vocab_size": VOCABULARY, "pad_id": 1} | changes))


def assert_equal(converted: TokenizerFile, theirs: PreTrainedTokenizerFast, text: str) -> None:
    ours = tokenizers.Tokenizer.from_str(converted.content.decode())
    for specials in (False, True):
        got = ours.encode(text, add_special_tokens=specials)
        wanted = theirs(text, add_special_tokens=specials, return_offsets_mapping=True)
        assert got.ids == wanted["input_ids"]
        assert got.offsets == [tuple(span) for span in wanted["offset_mapping"]]


@pytest.mark.parametrize("prefix_space", [False, True])
@pytest.mark.parametrize("trim_offsets", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["vocab and merges", "tokenizer.json", "tokenizer.json alone"])
def test_ids_and_offsets_are_those_of_transformers(
    tmp_path: Path, form: str, kind: str, *, trim_offsets: bool, prefix_space: bool
) -> None:
    save_tokenizer(tmp_path)
    settings = {"tokenizer_class": f"{kind}Tokenizer", "add_prefix_space": prefix_space, "trim_offsets": trim_offsets}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = KINDS[kind].from_pretrained(tmp_path)
    if form != "vocab and merges":
        theirs.save_pretrained(tmp_path)
        # The file may disagree with the configuration, which wins.
        KINDS[kind].from_pretrained(tmp_path, add_prefix_space=False, trim_offsets=True).backend_tokenizer.save(
            str(tmp_path / "tokenizer.json")
        )
        theirs = KINDS[kind].from_pretrained(tmp_path)
    if form == "tokenizer.json alone":
        (tmp_path / "vocab.json").unlink()
        (tmp_path / "merges.txt").unlink()
    converted = convert(tmp_path)
    for text in TEXTS:
        assert_equal(converted, theirs, text)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenizerFile, PreTrainedTokenizerFast]:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return convert(folder), LongformerTokenizerFast.from_pretrained(folder)


@given(text=st.text(max_size=60))
def test_any_text_has_the_ids_and_offsets_of_transformers(
    both: tuple[TokenizerFile, PreTrainedTokenizerFast], text: str
) -> None:
    assert_equal(*both, text)


def test_the_special_ids_are_read_from_the_tokenizer_itself(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    spec = convert(tmp_path).spec
    assert (spec.bos_id, spec.eos_id, spec.pad_id, spec.mask_id) == (0, 2, 1, 4)
    assert spec.mask_token == "<mask>"
    assert spec.word_splitting == "raw"


def test_truncation_and_padding_stay_behind(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    fast = LongformerTokenizerFast.from_pretrained(tmp_path)
    fast.backend_tokenizer.enable_truncation(8)
    fast.backend_tokenizer.enable_padding(length=16, pad_id=1)
    fast.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    content = json.loads(convert(tmp_path).content)
    assert content["truncation"] is None
    assert content["padding"] is None


def test_a_foreign_tokenizer_json_is_taken_as_it_is(tmp_path: Path) -> None:
    # As DrBERT-4096's: a BPE over metaspaces whose first and last special tokens are not 0 and 2.
    pieces = ["<unk>", "<pad>", "▁", "f", "i", "</s>", "<s>", "<mask>", "▁f", "▁fi"]
    bpe = tokenizers.models.BPE(
        {piece: number for number, piece in enumerate(pieces)}, [("▁", "f"), ("▁f", "i")], unk_token="<unk>"
    )
    own = tokenizers.Tokenizer(bpe)
    own.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    own.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 6), ("</s>", 5)])
    own.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "CamembertTokenizer", "mask_token": "<mask>", "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    converted = convert(tmp_path, vocab_size=10)
    assert (converted.spec.bos_id, converted.spec.eos_id, converted.spec.mask_id) == (6, 5, 7)
    assert tokenizers.Tokenizer.from_str(converted.content.decode()).encode("fi fi").ids == [6, 9, 9, 5]


@pytest.mark.parametrize(
    ("for_ner", "prefix_space", "splitting"), [(True, True, "words"), (True, False, "raw"), (False, True, "raw")]
)
def test_tags_learnt_with_a_prefix_space_were_learnt_on_words(
    tmp_path: Path, splitting: str, *, for_ner: bool, prefix_space: bool
) -> None:
    save_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": prefix_space}))
    assert convert(tmp_path, for_ner=for_ner).spec.word_splitting == splitting


def test_files_that_are_no_tokenizer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer that can be read"):
        convert(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        convert(tmp_path)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=r"ids up to \d+, the model's vocabulary ends at 99"):
        convert(tmp_path, vocab_size=100)
