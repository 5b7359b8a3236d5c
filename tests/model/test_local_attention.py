"""Other forms of local attention: the same function of a pack as the form that is trained and exported for CPUs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from drlongformer.model.flexible import FlexibleNeighbourhood, block_mask, flexible
from drlongformer.model.fused import SPARE_KEYS, FusedNeighbourhood, fused_neighbourhood, with_attention
from drlongformer.model.heads import LongformerWithHeads, TokenHead
from drlongformer.model.longformer import (
    HEADS_AT_ONCE,
    Longformer,
    LongformerConfig,
    NeighbourhoodOf,
    Pack,
    neighbourhood,
)
from drlongformer.packing import PackedBatch, pack
from drlongformer.types import HIDDEN, WindowInput

BLOCK = 8
CONFIG = LongformerConfig(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=82,
    attention_window=(8, 20),
    block=BLOCK,
)


@pytest.fixture(scope="module")
def model() -> LongformerWithHeads:
    torch.manual_seed(5)
    made = LongformerWithHeads(Longformer(CONFIG), {"ner": TokenHead(CONFIG, 3)}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made


def window(length: int, *global_slots: int, read: int | None = None) -> WindowInput:
    ids = np.random.default_rng(length).integers(2, CONFIG.vocab_size, length)
    rows = np.arange(length) if read is None else np.array([read])
    return WindowInput(ids=ids, global_slots=global_slots, rows={HIDDEN: rows, "ner": rows[:2]})


PACKS = {
    "one token": [window(1)],
    "ragged": [window(5), window(8, 0), window(9, 0, 8), window(64, 30), window(17)],
    "few blocks are read": [window(80, 0, read=79), window(30, read=0), window(8, 7, read=3)],
}


def computed(model: LongformerWithHeads, batch: PackedBatch) -> dict[str, torch.Tensor]:
    rows = {head: torch.from_numpy(at) for head, at in batch.rows.items()}
    with torch.no_grad():
        outputs: dict[str, torch.Tensor]
        outputs, _ = model(Pack.of(batch), rows, torch.from_numpy(batch.segment_of_slot), torch.from_numpy(batch.segment_index))
    return outputs


def packed(windows: list[WindowInput]) -> PackedBatch:
    return pack(windows, block=BLOCK, heads=(HIDDEN, "ner"))


@pytest.mark.parametrize("case", PACKS)
def test_the_fused_form_computes_the_same_function(model: LongformerWithHeads, case: str) -> None:
    batch = packed(PACKS[case])
    got, wanted = computed(with_attention(model, fused_neighbourhood), batch), computed(model, batch)
    for head, numbers in wanted.items():
        torch.testing.assert_close(got[head], numbers, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("case", ["ragged", "few blocks are read"])
def test_the_flexible_form_computes_the_same_function(model: LongformerWithHeads, case: str) -> None:
    batch = packed(PACKS[case])
    got, wanted = computed(with_attention(model, flexible()), batch), computed(model, batch)
    for head, numbers in wanted.items():
        torch.testing.assert_close(got[head], numbers, atol=1e-5, rtol=0)


def test_another_form_shares_every_parameter_and_leaves_the_model_as_it_is(model: LongformerWithHeads) -> None:
    other = with_attention(model, fused_neighbourhood)
    assert [id(each) for each in other.parameters()] == [id(each) for each in model.parameters()]
    assert other.longformer.encoder.neighbourhood_of is fused_neighbourhood
    assert model.longformer.encoder.neighbourhood_of is neighbourhood


def near(form: NeighbourhoodOf, case: str, *, window: int) -> object:
    pack = Pack.of(packed(PACKS[case]))
    return form(pack, window=window, farthest=9, query_blocks=pack.query_blocks, dtype=torch.float32)


def test_the_fused_form_has_keys_in_multiples_of_eight_where_one_token_is_global() -> None:
    fused = near(fused_neighbourhood, "one token", window=20)
    assert isinstance(fused, FusedNeighbourhood)
    assert fused.key_slots.shape[1] == fused.bias.shape[-1] == 5 * BLOCK + 1 + SPARE_KEYS
    assert fused.key_slots.shape[1] % 8 == 0
    assert (fused.bias[..., -SPARE_KEYS:] == -1e4).all()


def test_the_flexible_form_allows_the_pairs_that_the_bias_allows() -> None:
    pack = Pack.of(packed(PACKS["few blocks are read"]))
    asked = {"window": 20, "farthest": 9, "query_blocks": pack.query_blocks}
    bias = neighbourhood(pack, **asked, dtype=torch.float32)  # type: ignore[arg-type]
    mask = block_mask(pack, **asked)  # type: ignore[arg-type]
    slots = torch.arange(len(pack.query_blocks) * BLOCK)
    keys = torch.arange(pack.input_ids.numel())
    none = torch.zeros((), dtype=torch.long)
    pairs = mask.mask_mod(none, none, slots[:, None], keys)
    by_bias = torch.zeros_like(pairs)
    for row, (columns, allowed) in enumerate(zip(bias.key_slots, bias.bias[:, 0] == 0, strict=True)):
        for slot in range(BLOCK):
            by_bias[row * BLOCK + slot, columns[allowed[slot]]] = True
    assert by_bias.any()
    torch.testing.assert_close(pairs, by_bias)
    read = mask.to_dense()[0, 0].repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1).bool()
    assert not (pairs & ~read).any(), "a pair that is allowed lies in a block that is not read"
    assert read.float().mean() < 0.8


def test_dropout_is_refused_by_a_form_that_has_none() -> None:
    flex = near(flexible(), "one token", window=20)
    assert isinstance(flex, FlexibleNeighbourhood)
    states = torch.zeros(1, BLOCK, 16)
    with pytest.raises(ValueError, match="flex_attention has no dropout"):
        flex.attend(states, states, states, heads=2, dropout=0.1)


def test_heads_are_computed_in_groups_and_each_answers_in_its_own_columns() -> None:
    heads, size = HEADS_AT_ONCE + 2, 3
    several = Pack.of(packed(PACKS["ragged"]))
    near = neighbourhood(several, window=20, farthest=9, query_blocks=None, dtype=torch.float32)
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, len(several.input_ids), BLOCK, heads * size, generator=draw)
    together = near.attend(query, key, value, heads=heads, dropout=0.0)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        alone = near.attend(query[..., own], key[..., own], value[..., own], heads=1, dropout=0.0)
        torch.testing.assert_close(together[..., own], alone, rtol=1e-5, atol=1e-6)
