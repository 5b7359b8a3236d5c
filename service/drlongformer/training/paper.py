"""The three pretrainings of the DrLongformer paper, each as its scripts were published and as we read them.

    name                       begins with             tokens a step   differs from the published script in
    paper-scratch-published    nothing                 1,572,864       bfloat16 for fp16
    paper-scratch              nothing                 1,572,864       `<s>` global; the rate reaches zero within 20 hours
    paper-continue-published   Clinical-Longformer     2,097,152       bfloat16 for fp16
    paper-continue             Clinical-Longformer     1,572,864       windows of 4096, for 512 cannot be what ran; as scratch
    paper-convert-published    DrBERT-7GB              131,072         nothing
    paper-convert              DrBERT-7GB              131,072         `<s>` global, so nothing has to be copied at the end

Sources: Bazoge et al. 2024 (arXiv 2402.16689) and the scripts of github.com/abazoge/DrLongformer; what these leave out has the
defaults of transformers' Trainer. fp16 is bfloat16 here, because Longformers do not learn in fp16. In all of them documents
keep their boundaries, where the authors cut a stream of joined documents, and our initial weights look nearby (`initial.py`).
"""

from __future__ import annotations

from dataclasses import replace

from drlongformer.model.longformer import LongformerConfig
from drlongformer.training.recipes import BatchRecipe, OptimisationRecipe, PretrainingRecipe

CLINICAL_LONGFORMER = "yikuan8/Clinical-Longformer"
DRBERT = "Dr-BERT/DrBERT-7GB"
HOURS = 3600.0
DIVERGED = 2.0
SEED = 42
"""The Trainer's, which the scripts leave as it is."""


def scratch_published() -> PretrainingRecipe:
    """Longformer-base from scratch on 128 GPUs, 3 windows of 4096 each; stopped by the 20 hours of its job."""
    return PretrainingRecipe(
        strategy="scratch",
        seed=SEED,
        description="from scratch, as published",
        architecture=longformer_base(),
        batches=BatchRecipe(batch_tokens=128 * 12_288, micro_tokens=12_288, window_tokens=(4096,), first_global=False),
        optimisation=_trainer_defaults(warmup_steps=4000),
        epochs=100,
    )


def scratch() -> PretrainingRecipe:
    """Longformer-base from scratch, with `<s>` global and a rate that reaches zero within the 20 hours."""
    return _as_read(scratch_published(), description="from scratch, as we read it")


def continue_published() -> PretrainingRecipe:
    """Clinical-Longformer on windows of 512, 32 on each of 128 GPUs: the script as it stands."""
    return PretrainingRecipe(
        strategy="continue",
        seed=SEED,
        description="from Clinical-Longformer, as published",
        base=CLINICAL_LONGFORMER,
        batches=BatchRecipe(batch_tokens=128 * 16_384, micro_tokens=16_384, window_tokens=(512,), first_global=False),
        optimisation=_trainer_defaults(warmup_steps=10_000),
        epochs=400,
    )


def continued() -> PretrainingRecipe:
    """Clinical-Longformer on windows of 4096, with the settings of the run from scratch."""
    as_scratch = replace(scratch(), strategy="continue", architecture=None, base=CLINICAL_LONGFORMER)
    return replace(as_scratch, description="from Clinical-Longformer, as we read it")


def convert_published() -> PretrainingRecipe:
    """DrBERT made long, one epoch of 32 windows of 4096 a step, local projections copied to global at the end."""
    return PretrainingRecipe(
        strategy="convert",
        seed=SEED,
        description="from DrBERT, converted, as published",
        base=DRBERT,
        batches=BatchRecipe(batch_tokens=4 * 32_768, micro_tokens=32_768, window_tokens=(4096,), first_global=False),
        optimisation=replace(
            _trainer_defaults(warmup_steps=100), weight_decay=0.01, eps=1e-6, clip_norm=5.0, bfloat16=False, log_steps=100
        ),
        epochs=1,
        copy_local_to_global=True,
    )


def convert() -> PretrainingRecipe:
    """DrBERT made long, with `<s>` global, so that the global projections learn and need not be copied."""
    published = convert_published()
    return replace(
        published,
        description="from DrBERT, converted, as we read it",
        batches=replace(published.batches, first_global=True),
        optimisation=replace(published.optimisation, bfloat16=True),
        copy_local_to_global=False,
    )


def longformer_base() -> LongformerConfig:
    """Sizes of longformer-base-4096 with the defaults of transformers, as the script from scratch asks for them."""
    return LongformerConfig(
        vocab_size=50_265,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=4098,
        attention_window=(512,) * 12,
        layer_norm_eps=1e-12,
    )


def _trainer_defaults(*, warmup_steps: int) -> OptimisationRecipe:
    """AdamW as transformers' Trainer has it; the steps come from the epochs."""
    return OptimisationRecipe(
        learning_rate=5e-5,
        steps=1,
        warmup_steps=warmup_steps,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        clip_norm=1.0,
        bfloat16=True,
        checkpoint_seconds=1800.0,
        diverged=DIVERGED,
    )


def _as_read(published: PretrainingRecipe, *, description: str) -> PretrainingRecipe:
    return replace(
        published,
        description=description,
        batches=replace(published.batches, first_global=True),
        optimisation=replace(published.optimisation, seconds=19.5 * HOURS),
    )
