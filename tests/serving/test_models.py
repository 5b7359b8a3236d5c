from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drlongformer.errors import BundleError, DeviceUnavailable, EngineFailed, InvalidRequest, UnknownModel, UnsupportedTask
from drlongformer.serving.engines import Compute
from drlongformer.serving.metrics import Metrics
from drlongformer.serving.models import Models, ServedModel, serve
from drlongformer.settings import SettingsError
from drlongformer.types import Task
from tests.serving import bundles
from tests.serving.bundles import HEADS, MAX_TOKENS
from tests.serving.factories import count


def served(store: Path, **fields: object) -> ServedModel:
    return serve(bundles.write(store, **fields), bundles.fake_engine(), metrics=Metrics.create())  # type: ignore[arg-type]


def test_one_model_needs_no_name(tmp_path: Path) -> None:
    models = Models([served(tmp_path)])
    assert models.get(None, "ner") is models.get("by-hand", "ner") is models.get("by-hand:1", None) is models.get(None, None)


def test_a_name_that_is_not_served_is_unknown(tmp_path: Path) -> None:
    models = Models([served(tmp_path)])
    for name in ("other", "by-hand:2", "by-hand:", ""):
        with pytest.raises(UnknownModel, match="served are by-hand:1"):
            models.get(name, "ner")


def test_a_task_that_no_model_has_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTask, match="there is classify, embed, fill-mask, ner"):
        Models([served(tmp_path, heads=HEADS[:4])]).get(None, "similarity")


def test_of_several_tasks_those_that_are_missing_are_named(tmp_path: Path) -> None:
    one = Models([served(tmp_path, heads=HEADS[:2])])
    with pytest.raises(UnsupportedTask, match="'classify' is missing; there is embed, ner") as raised:
        one.get_for_all(None, ("embed", "ner", "classify"))
    assert str(raised.value).startswith("no such model has all of the tasks embed, ner, classify")
    tagger = Models([served(tmp_path, name="tagger", heads=HEADS[1:2])])
    with pytest.raises(UnsupportedTask, match="'embed', 'classify' are missing; there is ner"):
        tagger.get_for_all("tagger", ("embed", "ner", "classify"))


def test_embeddings_answer_where_no_model_has_a_head_for_pairs(tmp_path: Path) -> None:
    embedding, pairing = served(tmp_path, heads=HEADS[:4]), served(tmp_path, name="pairing", heads=HEADS[4:])
    either: tuple[Task, ...] = ("similarity", "embed")
    assert Models([embedding]).get_for_any(None, either) is embedding
    both = Models([embedding, pairing])
    assert both.get_for_any(None, either) is pairing
    assert both.get_for_any("by-hand", either) is embedding
    assert Models([embedding, pairing], defaults={"similarity": "by-hand"}).get_for_any(None, either) is embedding
    with pytest.raises(UnsupportedTask, match="'similarity'"):
        Models([served(tmp_path, name="tagger", heads=HEADS[1:2])]).get_for_any(None, either)


def test_of_several_models_the_one_that_has_the_task_answers(tmp_path: Path) -> None:
    models = Models([served(tmp_path), served(tmp_path, name="tagger", heads=HEADS[1:2])])
    assert models.get(None, "embed").identity.name == "by-hand"
    with pytest.raises(InvalidRequest, match="by-hand:1, tagger:1; name one"):
        models.get(None, "ner")
    with pytest.raises(UnsupportedTask):
        models.get("tagger", "embed")


def test_the_default_of_a_task_answers_when_several_could(tmp_path: Path) -> None:
    models = Models([served(tmp_path), served(tmp_path, name="tagger", heads=HEADS[1:2])], defaults={"ner": "tagger"})
    assert models.get(None, "ner").identity.name == "tagger"
    assert models.get("by-hand", "ner").identity.name == "by-hand"


def test_a_default_that_cannot_answer_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTask):
        Models([served(tmp_path, heads=HEADS[1:2])], defaults={"embed": "by-hand"})


def test_of_several_versions_a_bare_name_means_the_newest(tmp_path: Path) -> None:
    models = Models([served(tmp_path, version=version) for version in (9, 10)])
    assert models.get("by-hand", "ner").identity.version == models.get(None, "ner").identity.version == 10
    assert models.get("by-hand:9", "ner").identity.version == 9


def test_an_identity_tells_the_manifest_apart(tmp_path: Path) -> None:
    model = served(tmp_path)
    assert model.identity.sha256 == model.bundle.sha256[:12]
    assert (model.identity.name, model.identity.version, model.identity.precision) == ("by-hand", 1, "fp32")


def test_a_store_is_loaded_verified_and_warm(tmp_path: Path) -> None:
    bundles.write(tmp_path)
    bundles.write(tmp_path, version=2)
    bundles.write(tmp_path, name="tagger", heads=HEADS[1:2])
    metrics = Metrics.create()
    with pytest.raises(BundleError, match="the manifest names the heads"):
        Models.load(tmp_path, metrics=metrics, compute=Compute(threads=1))  # the tagger's graph has more heads than it says
    models = Models.load(tmp_path, ["by-hand", "by-hand:1"], metrics=metrics, compute=Compute(threads=1))
    assert [model.identity.version for model in models] == [2, 1]
    assert len(models) == 2
    for model in models:
        labels = {"name": "by-hand", "version": str(model.identity.version), "precision": "fp32", "device": "cpu"}
        assert count(metrics, "model_info", **labels, provider="CPUExecutionProvider", sha256=model.identity.sha256) == 1


def test_loading_tells_what_is_wrong(tmp_path: Path) -> None:
    metrics = Metrics.create()
    with pytest.raises(UnknownModel, match="holds no model"):
        Models.load(tmp_path, metrics=metrics)
    bundle = bundles.write(tmp_path)
    for name in ("other", "by-hand:3", "by-hand:x", "by-hand:"):
        with pytest.raises(UnknownModel):
            Models.load(tmp_path, [name], metrics=metrics)
    with pytest.raises(DeviceUnavailable):
        Models.load(tmp_path, metrics=metrics, compute=Compute(device="cuda"))
    (bundle.folder / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BundleError):
        Models.load(tmp_path, metrics=metrics)


def test_a_batch_budget_below_one_full_window_is_refused(tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path, max_tokens=MAX_TOKENS - 1)
    with pytest.raises(SettingsError, match="batches of 63 tokens cannot hold one full window of by-hand: 64"):
        serve(bundle, bundles.fake_engine(), metrics=Metrics.create(), max_batch_tokens=63)
    serve(bundle, bundles.fake_engine(), metrics=Metrics.create(), max_batch_tokens=64)


def test_a_queue_below_one_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a queue of 63 tokens cannot hold one batch of 64"):
        serve(bundles.write(tmp_path), bundles.fake_engine(), metrics=Metrics.create(), max_queue_tokens=63)


def test_windows_that_would_only_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="windows of 64 tokens cannot overlap by 62"):
        served(tmp_path, window_overlap=62)


async def test_a_loop_that_ended_by_itself_is_not_alive(tmp_path: Path) -> None:
    model = served(tmp_path)
    models = Models([model])
    models.require_alive()
    await model.batcher.start()
    models.require_alive()
    [loop] = model.batcher._loops
    loop.cancel()
    await asyncio.wait([loop])
    with pytest.raises(EngineFailed, match="ended by itself"):
        models.require_alive()
