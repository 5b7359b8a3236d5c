from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from drlongformer.errors import TrainingError
from drlongformer.training import trained
from drlongformer.training.head_specs import choice_head, similarity_head
from tests.training import models, served


def saved(folder: Path) -> Path:
    trained.save(folder, models.model(), models.HEADS, served.tokenizer_json().encode())
    return folder


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model, heads = trained.load(saved(tmp_path))
    assert heads == models.HEADS
    expected = models.model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert model.longformer.config == models.model().longformer.config


def test_the_decoder_stays_tied_to_the_word_embeddings(tmp_path: Path) -> None:
    model, _ = trained.load(saved(tmp_path))
    assert model.get_parameter("heads.mlm.decoder.weight") is model.longformer.embeddings.word_embeddings.weight


def test_transformers_loads_every_weight_and_the_tokenizer(tmp_path: Path) -> None:
    saved(tmp_path)
    theirs, found = transformers.LongformerForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert torch.equal(theirs.lm_head.bias, models.model().get_parameter("heads.mlm.bias"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.mask_token_id == 399
    text = "Le cœur bat."
    (encoded,) = served.tokenizer().encode_batch([text])
    assert tokenizer(text)["input_ids"] == [0, *encoded.ids.tolist(), 2]
    assert tokenizer.model_max_length == 62


def test_a_missing_weight_is_refused(tmp_path: Path) -> None:
    weights = load_file(saved(tmp_path) / "heads.safetensors")
    weights.pop("atc.dense.bias")
    save_file(weights, tmp_path / "heads.safetensors")
    (tmp_path / "weights.json").unlink()
    with pytest.raises(TrainingError, match="1 weights missing, 0 unknown"):
        trained.load(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "heads.safetensors"])
def test_altered_weights_are_refused_by_their_file(tmp_path: Path, name: str) -> None:
    weights = load_file(saved(tmp_path) / name)
    save_file({key: tensor + 1 for key, tensor in weights.items()}, tmp_path / name)
    with pytest.raises(TrainingError, match=rf"{name} is not the file that was saved"):
        trained.load(tmp_path)
    (tmp_path / "weights.json").unlink()  # as folders of before have it
    trained.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_spec.json"])
def test_what_decides_the_answers_beside_the_weights_is_covered_too(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path) / name
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(TrainingError, match=rf"{name} is not the file that was saved"):
        trained.check(tmp_path)
    reader = trained.load if name == "config.json" else trained.tokenizer_of
    with pytest.raises(TrainingError, match=rf"{name} is not the file that was saved"):
        reader(tmp_path)
    hashes = json.loads((tmp_path / "weights.json").read_text(encoding="utf-8"))
    before = {file: hashes[file] for file in ("model.safetensors", "heads.safetensors")}
    (tmp_path / "weights.json").write_text(json.dumps(before), encoding="utf-8")  # as folders of before have it
    trained.load(tmp_path)
    assert trained.tokenizer_of(tmp_path).spec == served.spec()
    path.unlink()
    (tmp_path / "weights.json").write_text(json.dumps(hashes), encoding="utf-8")
    with pytest.raises(TrainingError, match=rf"{name} cannot be read: No such file"):
        trained.check(tmp_path)


def test_hashes_that_are_none_are_told(tmp_path: Path) -> None:
    (saved(tmp_path) / "weights.json").write_text("[]", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"weights\.json holds no hashes"):
        trained.load(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "heads.safetensors"])
def test_cut_weights_are_refused_by_their_file(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path) / name
    path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "weights.json").unlink()
    with pytest.raises(TrainingError, match=rf"{name} cannot be read"):
        trained.load(tmp_path)
    path.unlink()
    with pytest.raises(TrainingError, match=rf"{name} cannot be read"):
        trained.load(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    described = json.loads((saved(tmp_path) / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(described | {"vocab_size": 401}), encoding="utf-8")
    (tmp_path / "weights.json").unlink()
    with pytest.raises(TrainingError, match="weights have another shape"):
        trained.load(tmp_path)


def test_a_model_without_a_masked_word_head_is_saved_and_loaded(tmp_path: Path) -> None:
    heads = (
        *models.HEADS[1:],
        similarity_head("near", score_range=(0.0, 5.0)),
        choice_head("c", several=True),
    )
    model = models.model(heads)
    spec = served.spec().model_copy(update={"word_splitting": "words"})
    trained.save(tmp_path, model, heads, served.tokenizer_json().encode(), spec=spec)
    again, known = trained.load(tmp_path)
    assert known == heads
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert trained.tokenizer_of(tmp_path).spec == spec
    theirs = transformers.LongformerModel.from_pretrained(tmp_path, add_pooling_layer=False)
    weight = model.longformer.embeddings.word_embeddings.weight
    assert torch.equal(theirs.get_input_embeddings().weight, weight)


def test_heads_are_described_as_the_bundle_describes_them(tmp_path: Path) -> None:
    described = json.loads((saved(tmp_path) / "heads.json").read_text(encoding="utf-8"))
    assert [head["name"] for head in described] == ["mlm", "atc", "temporal", "embedding"]
    assert {head["global_attention"] for head in described} == {"first"}
