"""Masked-language modelling with `<s>` global, from scratch or from a checkpoint.

`<s>` is global in every window, so the `_global` projections learn too. Documents with a class also train the
classification head from their masked first window: a nearly free second objective that gives `<s>` something to say.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from drlongformer.bundle import HeadSpec, TokenizerSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.model.longformer import LongformerConfig, SelfAttention
from drlongformer.training import trained
from drlongformer.training.corpus import Corpus
from drlongformer.training.dataset import MaskedBatches, Special
from drlongformer.training.inference import held_out_scores
from drlongformer.training.objective import losses
from drlongformer.training.recipes import Recipe
from drlongformer.training.tokenizer import served_spec
from drlongformer.training.trainer import CHECKPOINT, Trainer, check_start

INITIAL_DEVIATION = 0.02
LOCAL_SHARPNESS = 2.0
LANGUAGE_HEAD = "mlm"
HELD_OUT_BATCHES = 24


def initialise(model: LongformerWithHeads, *, seed: int) -> None:
    """Start as a convolution: normal weights as in BERT, sinusoid positions, and heads that look at a fixed offset each.

    From uniform attention a neighbour weighs 1 / 257 and the loss stays at the frequencies of words for thousands of steps;
    from local attention it falls at once (in the spirit of Trockman and Kolter 2023, arXiv 2305.09828).
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=INITIAL_DEVIATION, generator=generator)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    config, embeddings = model.longformer.config, model.longformer.embeddings
    with torch.no_grad():
        embeddings.word_embeddings.weight[config.pad_token_id].zero_()
        embeddings.position_embeddings.weight.copy_(sinusoids(config))
        for attention in (module for module in model.modules() if isinstance(module, SelfAttention)):
            _look_near(attention, config)


def _look_near(attention: SelfAttention, config: LongformerConfig) -> None:
    """Give each head its offset, on top of the random weights."""
    for head in range(attention.heads):
        rows = slice(head * attention.head_size, (head + 1) * attention.head_size)
        query, key = local_projections(config, offset=head_offset(head))
        attention.query.weight[rows] += query
        attention.key.weight[rows] += key


def head_offset(head: int) -> int:
    """-1, 1, -2, 2, and so on."""
    return (head // 2 + 1) * (1 if head % 2 else -1)


def local_projections(config: LongformerConfig, *, offset: int) -> tuple[Tensor, Tensor]:
    """Query and key weights `[E, C]` of a head that looks `offset` tokens away, given sinusoid positions.

    Both project on the highest frequencies; the query is turned by the angle that each gains over `offset` tokens, so that
    query t and key u agree as the sum over frequencies f of cos(f (u - t - offset)).
    """
    half, taken = config.hidden_size // 2, config.hidden_size // config.num_attention_heads // 2
    angle = frequencies(config)[:taken] * offset
    rank = torch.arange(taken)
    key, query = torch.zeros(2 * taken, 2 * half), torch.zeros(2 * taken, 2 * half)
    key[rank, rank] = key[taken + rank, half + rank] = 1.0
    query[rank, rank], query[rank, half + rank] = angle.cos(), angle.sin()
    query[taken + rank, rank], query[taken + rank, half + rank] = -angle.sin(), angle.cos()
    return query * math.sqrt(LOCAL_SHARPNESS), key * math.sqrt(LOCAL_SHARPNESS)


def frequencies(config: LongformerConfig) -> Tensor:
    """Angle gained per token, highest first, `[C / 2]`."""
    half = config.hidden_size // 2
    return torch.exp(torch.arange(half) * (-math.log(10_000.0) / half))


def sinusoids(config: LongformerConfig) -> Tensor:
    """Vaswani et al. 2017, section 3.5, scaled to the deviation of the other embeddings: `[positions, C]`."""
    angle = torch.arange(config.max_position_embeddings)[:, None] * frequencies(config)
    return torch.cat([angle.sin(), angle.cos()], dim=1) * (INITIAL_DEVIATION * math.sqrt(2.0))


def heads_of(recipe: Recipe, corpus: Corpus) -> tuple[HeadSpec, ...]:
    """The heads that pretraining trains."""
    name = recipe.corpus.head
    return (language_head(),) if name is None else (language_head(), class_head(name, corpus.label_names))


def language_head() -> HeadSpec:
    """The head that names masked words."""
    return HeadSpec(name=LANGUAGE_HEAD, task="fill-mask", output=LANGUAGE_HEAD, global_attention="first", trained=True)


def class_head(name: str, labels: tuple[str, ...]) -> HeadSpec:
    """A head that gives a text one class, from `<s>`."""
    return HeadSpec(
        name=name, task="classify", output=name, labels=labels, function="softmax", global_attention="first", trained=True
    )


def run(recipe: Recipe, *, tokenizer_json: Path, corpus: Path, output: Path, resume: bool = False) -> Path:
    """Pretrain into `output` and return the checkpoint's folder; `resume` goes on from the last checkpoint there."""
    check_start(output, resume=resume)
    spec = served_spec(tokenizer_json)
    if spec.mask_id >= recipe.architecture.vocab_size:
        raise TrainingError(f"mask id {spec.mask_id} but {recipe.architecture.vocab_size} rows of embeddings")
    training, held_out = Corpus(corpus / "train"), Corpus(corpus / "held_out")
    checkpoint = output / CHECKPOINT
    if resume:
        model, heads = trained.load(checkpoint)
    else:
        heads = heads_of(recipe, training)
        model = trained.build(recipe.architecture, heads)
        initialise(model, seed=recipe.seed)
    weights = {} if recipe.corpus.head is None else {recipe.corpus.head: recipe.corpus.head_weight}
    held_out_batches = _batches(held_out, recipe, spec)
    trainer = Trainer(
        model=model,
        batches=_batches(training, recipe, spec),
        objective=lambda module, batch: losses(module, batch, weights=weights),
        recipe=recipe.pretraining,
        seed=recipe.seed,
        folder=output,
        save=lambda folder: trained.save(folder, model, heads, tokenizer_json.read_bytes()),
        held_out=lambda: held_out_scores(model, held_out_batches, HELD_OUT_BATCHES),
    )
    if resume:
        trainer.resume()
    trainer.run()
    return checkpoint


def _batches(corpus: Corpus, recipe: Recipe, spec: TokenizerSpec) -> MaskedBatches:
    return MaskedBatches(
        corpus=corpus,
        recipe=recipe.batches,
        special=Special.of(spec),
        block=recipe.architecture.block,
        seed=recipe.seed,
        language_head=LANGUAGE_HEAD,
        class_head=recipe.corpus.head,
    )
