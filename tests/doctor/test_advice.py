"""Each advice is given where its reason is a fact, and not where it is none; facts are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drlongformer.doctor import advice
from drlongformer.doctor.advice import advices
from drlongformer.doctor.facts import Activity, Chosen, Facts, Machine, Model
from drlongformer.serving.cgroups import Throttling

WIDE = Model(name="wide", width=768)
VNNI = frozenset({"avx512_vnni"})
AMX = frozenset({"amx_bf16", "amx_int8", "avx512_vnni"})
CONTENT = Facts(
    machine=Machine(flags=AMX, cpus=8), chosen=Chosen(engine="openvino", precision="bf16"), packages=frozenset({"openvino"})
)
"""Nothing is left to make faster."""


def changes(facts: Facts) -> list[str]:
    return [each.change for each in advices(facts)]


def on(machine: Machine, **chosen: Any) -> Facts:
    return Facts(machine=machine, chosen=replace(CONTENT.chosen, **chosen), packages=CONTENT.packages, models=(WIDE,))


def test_nothing_is_advised_where_nothing_is_left_to_gain() -> None:
    assert changes(CONTENT) == []
    assert changes(Facts()) == []  # a system that tells nothing


def test_bfloat16_units_that_lie_idle_are_told_with_gain_and_caveat() -> None:
    [best, _] = advices(on(Machine(flags=AMX, cpus=8), engine="onnxruntime", precision="fp32"))
    assert best.change == "--engine openvino --precision bf16"
    assert "3.3 to 4.4 times" in best.reason
    assert "third digit" in best.reason
    without = replace(on(Machine(flags=AMX), precision="fp32"), packages=frozenset())
    assert changes(without)[0].startswith("install the extra `openvino`")


def test_the_gain_of_units_that_were_not_measured_is_not_promised() -> None:
    [found] = advices(on(Machine(flags=frozenset({"avx512_bf16"})), precision="fp32"))
    assert "not measured" in found.reason


def test_int8_is_for_wide_models_on_units_for_it_without_bfloat16() -> None:
    facts = on(Machine(flags=VNNI), precision="fp32")
    [change] = changes(facts)
    assert change.startswith("`drlongformer import --precision fp32,int8` for wide")
    both = replace(facts, models=(replace(WIDE, precisions=frozenset({"fp32", "int8"})),))
    assert changes(both) == ["--precision int8"]
    assert changes(replace(facts, models=(Model(name="small", width=256),))) == []
    assert "--precision int8" not in changes(replace(both, machine=Machine(flags=AMX)))
    assert changes(replace(both, chosen=replace(both.chosen, precision="int8"))) == []


def test_the_faster_engine_is_told_where_fp32_is_computed_by_the_slower() -> None:
    assert changes(on(Machine(flags=frozenset({"avx2"})), engine="onnxruntime", precision="fp32")) == ["--engine openvino"]


def test_threads_beyond_the_limit_of_a_control_group_are_told_with_a_number_that_fits() -> None:
    crowded = Machine(flags=AMX, cpus=64, cpu_limit=2.5)
    [found] = advices(on(crowded))
    assert found.change.startswith("--threads 2,")
    assert "64 threads compute on 2.5 CPUs" in found.what
    assert changes(on(crowded, threads=2)) == []
    assert changes(on(replace(crowded, cpu_limit=None), threads=65)) != []


def test_several_engines_share_the_cores() -> None:
    assert changes(on(Machine(flags=AMX, cpus=8), device="cpu,cpu")) == []
    assert changes(on(Machine(flags=AMX, cpus=8), device="cpu,cpu", threads=8))[0].startswith("--threads 4,")


def test_cores_that_nobody_computes_on_are_told_but_one_may_be_left() -> None:
    assert changes(on(Machine(flags=AMX, cpus=8), threads=4)) == ["--threads 8, or 0 for every core"]
    assert changes(on(Machine(flags=AMX, cpus=8), threads=7)) == []


def test_throttling_is_told_with_its_share() -> None:
    held = Machine(flags=AMX, throttling=Throttling(periods=1000, throttled=400))
    [found] = advices(on(held))
    assert "400 of 1,000 periods (40%)" in found.what
    assert changes(on(replace(held, throttling=Throttling(periods=0, throttled=0)))) == []


@pytest.mark.parametrize(
    ("packages", "change"),
    [(frozenset({"onnxruntime-gpu"}), "--device cuda"), (frozenset({"onnxruntime"}), "then --device cuda")],
)
def test_a_card_that_is_not_used_is_told_with_what_must_be_installed(packages: frozenset[str], change: str) -> None:
    found = changes(replace(CONTENT, machine=Machine(flags=AMX, gpus=1), packages=packages | {"openvino"}))
    assert [each.endswith(change) for each in found] == [True]
    assert found[0].startswith("install") == ("onnxruntime-gpu" not in packages)


def test_cuda_without_its_package_is_told() -> None:
    asked = Facts(chosen=Chosen(device="cuda:0"), packages=frozenset({"onnxruntime"}))
    assert len(changes(asked)) == 1
    assert changes(replace(asked, packages=frozenset({"onnxruntime-gpu"}))) == []


@pytest.mark.parametrize(
    ("activity", "word"),
    [
        (Activity(busy=0.5), "others use 50%"),
        (Activity(stolen=0.1), "gives away 10%"),
        (Activity(swapped_pages_per_second=500, swap_used_bytes=2**30), "500 pages a second"),
    ],
)
def test_other_work_and_swapping_are_told(activity: Activity, word: str) -> None:
    [found] = advices(replace(CONTENT, activity=activity))
    assert word in found.what


def test_old_swap_that_nobody_touches_is_no_reason() -> None:
    assert changes(replace(CONTENT, activity=Activity(swap_used_bytes=2**30))) == []


def test_a_governor_that_saves_power_is_told() -> None:
    assert len(changes(on(Machine(flags=AMX, governor="powersave")))) == 1
    assert changes(on(Machine(flags=AMX, governor="performance"))) == []


@pytest.mark.parametrize("variable", [("TOKENIZERS_PARALLELISM", "false"), ("RAYON_NUM_THREADS", "1")])
def test_a_variable_that_stops_parallel_tokenizing_is_told(variable: tuple[str, str]) -> None:
    facts = on(Machine(flags=AMX, cpus=4), libraries=frozenset({variable}))
    assert changes(facts) == [f"unset {variable[0]} in the service's environment"]
    assert changes(on(Machine(flags=AMX, cpus=1), libraries=frozenset({variable}))) == []


def test_every_rule_was_heard_in_these_tests() -> None:
    names = {rule.__name__ for rule in advice.RULES}
    assert len(names) == len(advice.RULES) == 12
