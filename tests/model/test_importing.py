"""Importing: a checkpoint becomes a verified bundle whose graph gives transformers' answers, or nothing is written."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import transformers

from drlongformer import bundle
from drlongformer.bundle import Bundle, HeadSpec, TokenizerSpec
from drlongformer.errors import BundleError, CheckpointError, ParityError
from drlongformer.model.bundling import About, Extras, export_bundle
from drlongformer.model.card import card
from drlongformer.model.checkpoint import load_hf
from drlongformer.model.heads import ClassificationHead, LongformerWithHeads, TokenHead
from drlongformer.model.importing import Wanted, heads_of, import_model, served
from drlongformer.model.longformer import Longformer, LongformerConfig
from drlongformer.model.tags import MergedTagHead
from drlongformer.model.tokenizer_files import TokenizerFile
from drlongformer.packing import PackedBatch, pack
from drlongformer.serving.engine import OnnxEngine
from drlongformer.text.pairs import choice_slots, pair
from drlongformer.types import FloatArray, WindowInput
from tests.model.checkpoints import VOCABULARY, save_checkpoint

BLOCK = 16
WANTED = Wanted(block=BLOCK, normalisation=("encoding", "lines"))
README = "---\nlicense: apache-2.0\n---\n# A model\n"


def run(read: Bundle, batch: PackedBatch) -> dict[str, FloatArray]:
    session = ort.InferenceSession(read.folder / read.graph("cpu").file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, batch.feeds()), strict=True))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, transformers.PreTrainedModel, list[str]]:
    """A masked language model, its bundle, and the steps that were reported."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model = save_checkpoint(folder, "LongformerForMaskedLM", safe=False)
    (folder / "README.md").write_text(README)
    steps: list[str] = []
    store = tmp_path_factory.mktemp("store")
    return (
        bundle.load(import_model(str(folder), name="lm", store=store, wanted=WANTED, report=steps.append)),
        model,
        steps,
    )


@torch.no_grad()
def test_a_bundle_answers_as_transformers_does(imported: tuple[Bundle, transformers.PreTrainedModel, list[str]]) -> None:
    read, model, _ = imported
    ids = np.random.default_rng(0).integers(5, VOCABULARY, 83)
    every = np.arange(len(ids))
    window = WindowInput(ids=ids, rows={"hidden": every, "fill-mask": every}, segments=np.zeros_like(ids))
    batch = pack([window], block=BLOCK, heads=read.manifest.outputs)
    got = run(read, batch)
    wanted = model(torch.from_numpy(ids)[None], output_hidden_states=True)
    np.testing.assert_allclose(got["hidden"], wanted.hidden_states[-1][0, :83], atol=1e-5, rtol=0)
    np.testing.assert_allclose(got["fill-mask"], wanted.logits[0], atol=3e-5, rtol=0)
    mean = got["segment_sums"].sum((0, 1)) / len(ids)
    np.testing.assert_allclose(mean, wanted.hidden_states[-1][0, :83].mean(0), atol=1e-5, rtol=0)


def test_a_bundle_says_what_is_known_of_it(imported: tuple[Bundle, transformers.PreTrainedModel, list[str]]) -> None:
    read, _, steps = imported
    manifest = read.manifest
    assert (manifest.name, manifest.version, manifest.block, manifest.max_tokens) == ("lm", 1, BLOCK, 100)
    assert (manifest.base_revision, manifest.licence, manifest.vocab_size) == (None, "apache-2.0", VOCABULARY)
    assert manifest.window_overlap < manifest.max_tokens // 2
    assert {parity.against for parity in manifest.graphs[0].parity} == {"module", "transformers"}
    assert set(manifest.files) == {"README.md", "model.fp32.onnx", "model.fp32.weights", "tokenizer.json"}
    assert [head.name for head in manifest.heads] == ["fill-mask", "embed"]
    assert len(steps) == 5
    assert manifest.tokenizer.normalisation == ("encoding", "lines")
    assert "* Normalisation: encoding, lines" in (read.folder / "README.md").read_text()


def test_embeddings_of_a_language_model_are_means_and_not_called_trained(
    imported: tuple[Bundle, transformers.PreTrainedModel, list[str]],
) -> None:
    read, _, _ = imported
    head = read.head("embed")
    assert (head.pooling, head.global_attention, head.trained) == ("mean", "none", False)
    assert read.head("fill-mask").trained
    readme = (read.folder / "README.md").read_text()
    assert "**embed is not trained**" in readme
    assert "fill-mask is not trained" not in readme
    assert "apache-2.0" in readme


def test_no_path_of_this_machine_reaches_a_bundle(imported: tuple[Bundle, transformers.PreTrainedModel, list[str]]) -> None:
    read, _, _ = imported
    for path in read.folder.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes()
        assert str(read.folder.parent.parent.parent).encode() not in path.read_bytes()


CONFIG = LongformerConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=66,
    attention_window=(16, 16),
    block=BLOCK,
)
TOKENIZER = TokenizerFile(content=b"{}", spec=TokenizerSpec(bos_id=0, eos_id=2, pad_id=1, mask_id=4, mask_token="<mask>"))
HEADS = (
    HeadSpec(
        name="atc", task="classify", output="atc", labels=("a", "b"), global_attention="first", function="softmax", trained=True
    ),
    HeadSpec(
        name="entities",
        task="ner",
        output="ner",
        labels=("O", "B-X", "I-X"),
        global_attention="first",
        decoding="bio",
        trained=True,
    ),
    HeadSpec(name="embed", task="embed", output="hidden", global_attention="first", pooling="cls", trained=True),
)
ABOUT = About(name="many", version=3, patient_data=True, description="Several heads.", scores={"atc": {"f1": 0.5}})


def trained_model() -> LongformerWithHeads:
    torch.manual_seed(0)
    heads = {"atc": ClassificationHead(CONFIG, 2), "ner": TokenHead(CONFIG, 3), "unread": TokenHead(CONFIG, 4)}
    return LongformerWithHeads(Longformer(CONFIG), heads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    store = tmp_path_factory.mktemp("store")
    return bundle.load(export_bundle(trained_model(), HEADS, TOKENIZER, about=ABOUT, store=store, store_fp16=True))


def test_a_trained_model_with_several_heads_is_exported_as_one_graph(exported: Bundle) -> None:
    assert exported.folder.name == "3"
    assert exported.manifest.heads == HEADS
    assert exported.manifest.patient_data
    assert exported.manifest.scores == {"atc": {"f1": 0.5}}
    window = WindowInput(ids=np.arange(40), global_slots=(0,), rows={"atc": np.array([0]), "ner": np.arange(40)})
    got = run(exported, pack([window], block=BLOCK, heads=exported.manifest.outputs))
    assert got["atc"].shape == (1, 2)
    assert got["ner"].shape == (40, 3)
    assert "unread" not in got


def test_a_version_that_exists_is_refused_before_the_export(exported: Bundle) -> None:
    store = exported.folder.parent.parent
    with pytest.raises(BundleError, match="many has a version 3 already"):
        export_bundle(trained_model(), HEADS, TOKENIZER, about=ABOUT, store=store)
    assert bundle.next_version(store, "many") == 4


def test_what_is_not_equal_is_not_written(tmp_path: Path) -> None:
    model = trained_model()
    with torch.no_grad():
        model.get_parameter("heads.ner.classifier.weight")[0, 0] = 1e6
    with pytest.raises(ParityError):
        export_bundle(model, HEADS, TOKENIZER, about=ABOUT, store=tmp_path, store_fp16=True)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_reads_what_the_model_lacks_is_refused(tmp_path: Path) -> None:
    heads = (HEADS[0].model_copy(update={"output": "absent"}),)
    with pytest.raises(CheckpointError, match=r"outputs \['absent'\]"):
        export_bundle(trained_model(), heads, TOKENIZER, about=ABOUT, store=tmp_path)


BIO = {0: "O", 1: "B-DRUG", 2: "I-DRUG"}


def test_sequence_classification_sees_the_first_token_globally(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "LongformerForSequenceClassification", id2label={0: "non", 1: "oui"})
    head, embed = heads_of(load_hf(tmp_path))
    assert (head.task, head.labels, head.function) == ("classify", ("non", "oui"), "softmax")
    assert head.global_attention == embed.global_attention == "first"


def test_token_classification_has_no_global_token_and_bio_tags(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "LongformerForTokenClassification", id2label=BIO)
    head, embed = heads_of(load_hf(tmp_path))
    assert (head.task, head.labels, head.decoding) == ("ner", ("O", "B-DRUG", "I-DRUG"), "bio")
    assert head.global_attention == embed.global_attention == "none"


def test_an_encoder_alone_can_only_embed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "LongformerModel")
    (embed,) = heads_of(load_hf(tmp_path))
    assert (embed.task, embed.trained) == ("embed", False)


def test_tags_of_no_scheme_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "in", "LongformerForTokenClassification", id2label={0: "O", 1: "DRUG", 2: "S-DRUG"})
    with pytest.raises(CheckpointError, match="no tags of BIO, IO, BILOU, IOBES, BMES"):
        import_model(str(tmp_path / "in"), name="x", store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_other_tag_schemes_are_served_as_bio(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "LongformerForTokenClassification", id2label=dict(enumerate(("O", "B-X", "I-X", "L-X", "U-X"))))
    read = served(load_hf(tmp_path))
    head, _ = heads_of(read)
    assert (head.labels, head.decoding) == (("O", "B-X", "I-X"), "bio")
    assert isinstance(read.model.heads["ner"], MergedTagHead)


def test_multiple_choice_sees_the_option_globally_and_a_regression_the_first_token(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "choice", "LongformerForMultipleChoice")
    head, embed = heads_of(load_hf(tmp_path / "choice"))
    assert (head.task, head.layout, head.function, head.labels) == ("multiple-choice", "each", "softmax", ())
    assert (head.global_attention, embed.global_attention) == ("choice", "none")
    save_checkpoint(tmp_path / "regression", "LongformerForSequenceClassification", num_labels=1)
    head, _ = heads_of(load_hf(tmp_path / "regression"))
    assert (head.name, head.task, head.function, head.global_attention) == ("similarity", "similarity", "none", "first")


@pytest.mark.parametrize("kind", ["Roberta", "Camembert"])
def test_models_without_global_tokens_have_none_for_any_task(tmp_path: Path, kind: str) -> None:
    labelled: dict[str, dict[str, Any]] = {
        "ForTokenClassification": {"id2label": BIO},
        "ForSequenceClassification": {"num_labels": 3},
    }
    for suffix in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice"):
        save_checkpoint(tmp_path / suffix, kind + suffix, **labelled.get(suffix, {}))
        heads = heads_of(served(load_hf(tmp_path / suffix)))
        assert {head.global_attention for head in heads} == {"none"}


@torch.no_grad()
def test_a_bundle_answers_multiple_choice_as_transformers_does(tmp_path: Path) -> None:
    model = save_checkpoint(tmp_path / "in", "LongformerForMultipleChoice")
    read = bundle.load(import_model(str(tmp_path / "in"), name="mc", store=tmp_path, wanted=Wanted(block=BLOCK)))
    draw = np.random.default_rng(0)
    pairs = [(draw.integers(5, VOCABULARY, 30), draw.integers(5, VOCABULARY, length)) for length in (1, 7, 20)]
    windows = [
        WindowInput(
            ids=pair(first, second, bos=0, eos=2),
            global_slots=choice_slots(len(first), len(second)),
            rows={read.head("multiple-choice").output: np.array([0])},
        )
        for first, second in pairs
    ]
    got = run(read, pack(windows, block=BLOCK, heads=read.manifest.outputs))["multiple-choice"]
    for window, logit in zip(windows, got[:, 0], strict=True):
        wanted = model(torch.from_numpy(window.ids)[None, None]).logits
        assert logit == pytest.approx(wanted.item(), abs=1e-5)
    assert {parity.against for parity in read.manifest.graphs[0].parity} == {"module", "transformers"}


class Refused(Exception):
    """A check's own."""


def test_a_bundle_that_its_check_refuses_is_not_written_and_leaves_nothing(tmp_path: Path) -> None:
    seen = []

    def refuse(read: Bundle) -> dict[str, float]:
        seen.append(OnnxEngine(read).heads)
        raise Refused

    with pytest.raises(Refused):
        export_bundle(trained_model(), HEADS, TOKENIZER, about=ABOUT, store=tmp_path / "a" / "b", extras=Extras(check=refuse))
    assert seen == [("hidden", "atc", "ner")]
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: Bundle) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(SystemExit) as ended:
        export_bundle(trained_model(), HEADS, TOKENIZER, about=ABOUT, store=tmp_path / "store", extras=Extras(check=stop))
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_task_that_the_checkpoint_lacks_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "in", "LongformerForMaskedLM")
    with pytest.raises(CheckpointError, match="no head for ner; it can serve fill-mask, embed"):
        import_model(str(tmp_path / "in"), name="x", store=tmp_path / "store", wanted=Wanted(tasks=["embed", "ner"]))


def test_a_card_invents_nothing(exported: Bundle) -> None:
    manifest = exported.manifest
    text = (exported.folder / "README.md").read_text()
    assert text == card(manifest)
    assert "not stated" in text
    assert "Trained on patient data: yes" in text
    assert "Base model" not in text
    assert "not trained" not in text
    untrained = manifest.model_copy(update={"heads": tuple(head.model_copy(update={"trained": False}) for head in HEADS)})
    assert card(untrained).count("is not trained") == 3


@pytest.mark.parametrize("name", ["../q", "", ".hidden", "a/b", "a" * 101])
def test_a_name_that_no_bundle_can_have_is_refused_first(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="no bundle can be named"):
        import_model("neither/read", name=name, store=tmp_path / "store")
