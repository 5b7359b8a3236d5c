"""Facts are read from what the kernel writes; the folders of proc and sys are written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from drlongformer import settings
from drlongformer.doctor import facts
from drlongformer.doctor.facts import Activity, activity, machine
from drlongformer.serving import cgroups
from drlongformer.serving.cgroups import Throttling
from tests.serving import bundles


def written(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


def test_version_2_groups_limit_by_the_tightest_above_the_process(tmp_path: Path) -> None:
    own = tmp_path / "sys/fs/cgroup/pod/box"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("max 100000\n")
    (own.parent / "cpu.max").write_text("150000 100000\n")
    (own / "cpu.stat").write_text("usage_usec 5\nnr_periods 200\nnr_throttled 50\nthrottled_usec 9\n")
    (own / "memory.max").write_text("1048576\n")
    written(tmp_path, proc__self__cgroup="0::/pod/box\n")
    assert cgroups.cpu_limit(tmp_path) == 1.5
    assert cgroups.throttling(tmp_path) == Throttling(periods=200, throttled=50)
    assert cgroups.memory_limit_bytes(tmp_path) == 1048576


def test_version_1_groups_are_read_by_their_controllers(tmp_path: Path) -> None:
    for controller, files in {
        "cpu": {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000", "cpu.stat": "nr_periods 4\nnr_throttled 1\n"},
        "memory": {"memory.limit_in_bytes": str(2**63 - 4096)},
    }.items():
        folder = tmp_path / "sys/fs/cgroup" / controller / "box"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    written(tmp_path, proc__self__cgroup="5:memory:/box\n3:cpu,cpuacct:/box\n2:pids:/other\n")
    assert cgroups.cpu_limit(tmp_path) == 3.0
    assert cgroups.throttling(tmp_path) == Throttling(periods=4, throttled=1)
    assert cgroups.memory_limit_bytes(tmp_path) is None  # "no limit", as version 1 writes it


def test_a_group_without_a_limit_limits_nothing(tmp_path: Path) -> None:
    assert cgroups.cpu_limit(written(tmp_path, proc__self__cgroup="0::/\n")) is None
    assert cgroups.throttling(tmp_path) is None


def test_the_processor_and_its_cards_are_found(tmp_path: Path) -> None:
    written(
        tmp_path,
        proc__cpuinfo="processor : 0\nflags\t\t: fpu amx_bf16\n",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave\n",
    )
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    found = machine(tmp_path)
    assert found.flags == {"fpu", "amx_bf16"}
    assert (found.governor, found.gpus) == ("powersave", 1)


def test_a_system_that_tells_nothing_gives_empty_facts(tmp_path: Path) -> None:
    found = machine(tmp_path)
    assert (found.flags, found.cpu_limit, found.throttling, found.governor, found.gpus) == (frozenset(), None, None, None, 0)
    assert activity(tmp_path, 0.001) == Activity(load_average=activity(tmp_path, 0.001).load_average)


def test_what_others_do_is_a_share_of_the_time_watched() -> None:
    found = activity(Path("/"), 0.05)
    assert 0 <= found.busy <= 1
    assert 0 <= found.stolen <= 1
    assert found.swap_used_bytes >= 0


def test_models_and_choices_are_among_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    bundle = bundles.write(tmp_path / "store", model=b"no graph", architecture={"hidden_size": 8, "vocab_size": 99})
    found = facts(settings.load({"models": {"threads": 3}}), [bundle], root=tmp_path, seconds=0.001)
    assert ("TOKENIZERS_PARALLELISM", "false") in found.chosen.libraries
    assert found.chosen.threads == 3
    assert [(model.name, model.width, model.precisions) for model in found.models] == [("by-hand", 8, frozenset({"fp32"}))]
