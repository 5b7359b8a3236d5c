from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drlongformer.training.dataset import SPECIALS, Special, mask_tokens, plan_epoch, with_specials
from drlongformer.training.recipes import BatchRecipe

BLOCK = 4
SPECIAL = Special(bos=0, eos=2, mask=299)

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=30).map(lambda lengths: np.array(lengths, dtype=np.int64))


@given(lengths=LENGTHS, seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_an_epoch_shows_each_token_of_each_document_once(lengths: np.ndarray, seed: int, epoch: int) -> None:
    plan = plan_epoch(lengths, BatchRecipe(batch_tokens=64, window_tokens=(34, 12)), block=BLOCK, seed=seed, epoch=epoch)
    shown = [np.zeros(length, dtype=int) for length in lengths]
    for document, start, stop in plan.windows.tolist():
        assert stop - start + SPECIALS <= 34
        shown[document][start:stop] += 1
    assert all((times == 1).all() for times in shown)
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == len(plan.windows)


@given(lengths=LENGTHS)
def test_a_batch_keeps_its_budget_of_slots(lengths: np.ndarray) -> None:
    plan = plan_epoch(lengths, BatchRecipe(batch_tokens=64, window_tokens=(34,)), block=BLOCK, seed=1, epoch=0)
    for first, last in zip(plan.bounds, plan.bounds[1:], strict=False):
        tokens = plan.windows[first:last, 2] - plan.windows[first:last, 1] + SPECIALS
        assert 0 < (BLOCK * -(-tokens // BLOCK)).sum() <= 64


def test_a_plan_is_a_pure_function_of_seed_and_epoch() -> None:
    lengths, recipe = np.arange(1, 40), BatchRecipe(batch_tokens=64, window_tokens=(34, 12))
    plans = [plan_epoch(lengths, recipe, block=BLOCK, seed=5, epoch=epoch) for epoch in (0, 0, 1)]
    assert (plans[0].windows == plans[1].windows).all()
    assert plans[0].windows.tolist() != plans[2].windows.tolist()


def test_a_document_of_ten_tokens_is_cut_as_drawn() -> None:
    plan = plan_epoch(np.array([10]), BatchRecipe(batch_tokens=64, window_tokens=(4 + SPECIALS,)), block=BLOCK, seed=0, epoch=0)
    assert sorted(plan.windows[:, 1:].tolist()) == [[0, 3], [3, 6], [6, 10]]


def test_masking_follows_the_shares_of_bert() -> None:
    random = np.random.default_rng(0)
    ids = with_specials(random.integers(4, 299, 200_000), SPECIAL)
    masked, chosen = mask_tokens(ids, SPECIAL, random, share=0.15)
    assert len(chosen) / len(ids) == pytest.approx(0.15, abs=0.005)
    assert (masked[chosen] == SPECIAL.mask).mean() == pytest.approx(0.8, abs=0.01)
    assert (masked[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.01)
    others = np.delete(np.arange(len(ids)), chosen)
    assert (masked[others] == ids[others]).all()


@given(length=st.integers(1, 20), seed=st.integers(0, 99))
def test_masking_chooses_at_least_one_token_and_never_a_special_one(length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = with_specials(random.integers(4, 299, length), SPECIAL)
    masked, chosen = mask_tokens(ids, SPECIAL, random, share=0.15)
    assert len(chosen) >= 1
    assert chosen.min() >= 1
    assert chosen.max() <= length
    assert masked[0] == SPECIAL.bos
    assert masked[-1] == SPECIAL.eos
    assert masked.min() >= 0
    assert masked.max() <= SPECIAL.mask
