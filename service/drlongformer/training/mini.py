"""The recipe of the embedded model: six task families on one small encoder."""

from __future__ import annotations

from drlongformer.model.longformer import LongformerConfig
from drlongformer.training.lessons import (
    ChoiceSource,
    ClassSource,
    KinSource,
    PairSource,
    RawSource,
    SpanAnnotation,
    SpanSource,
)
from drlongformer.training.recipes import (
    BatchRecipe,
    CorpusRecipe,
    EvaluationRecipe,
    FinetuningRecipe,
    OptimisationRecipe,
    Recipe,
    TestSet,
    TokenizerRecipe,
)

REVISION = 3
"""3: half of what entities and classes are learnt from is in capitals. Version 2 of the bundle was made by the one before."""

CAPITALS = ("case",)


def mini() -> Recipe:
    """The embedded model: 4 layers, 256 wide, 4096 tokens, trained on two CPU cores in about two and a half hours."""
    layers, vocab_size = 4, 12288
    return Recipe(
        name="mini",
        revision=REVISION,
        seed=20261122,
        description=(
            "A small French medical Longformer (4 layers, 256 wide, 4096 tokens) for trying the service out: fill-mask,"
            " ATC class of drug leaflets, clinical, temporal and identifying entities, embeddings, similarity of leaflets,"
            " multiple choice. Not for clinical use."
        ),
        licence="CC-BY-NC-4.0",
        architecture=LongformerConfig(
            vocab_size=vocab_size,
            hidden_size=256,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=1024,
            max_position_embeddings=4098,
            attention_window=(32, 64, 256, 256),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        tokenizer=TokenizerRecipe(vocab_size=vocab_size),
        corpus=CorpusRecipe(
            sets=("leaflet_atc", "pretrain_leaflets", "pretrain_eltec", "pretrain_pamj", "pretrain_tico19"),
            held_out=("leaflet_atc", "pretrain_leaflets", "pretrain_eltec", "pretrain_pamj"),
            labelled="leaflet_atc",
            head="atc",
        ),
        batches=BatchRecipe(batch_tokens=4096),
        finetuning=_mini_finetuning(),
        evaluation=_mini_evaluation(),
        pretraining=OptimisationRecipe(learning_rate=7e-4, steps=20_000, warmup_steps=150, seconds=3240.0, bfloat16=True),
    )


def _mini_finetuning() -> FinetuningRecipe:
    """Six task families on one encoder; raw text is among them so that words are not forgotten."""
    return FinetuningRecipe(
        optimisation=OptimisationRecipe(
            learning_rate=5e-4, steps=20_000, warmup_steps=60, seconds=5400.0, bfloat16=True, log_steps=20
        ),
        sources=(
            ClassSource(
                head="atc",
                set="leaflet_atc",
                code="atc",
                levels=(1, 3, 4, 5, 7),
                pairs=4,
                body="sections",
                window_tokens=(4096, 4096, 4096, 2048, 2048, 1024, 640),
                masked_chance=0.5,
                augmentations=CAPITALS,
            ),
            SpanSource(
                annotations=(
                    SpanAnnotation(head="temporal", set="e3c_temporal"),
                    SpanAnnotation(head="clinical", set="e3c_clinical"),
                ),
                documents=1,
                augmentations=CAPITALS,
            ),
            SpanSource(
                annotations=(SpanAnnotation(head="clinical", set="e3c_clinical", split="train_silver"),),
                documents=1,
                augmentations=CAPITALS,
            ),
            SpanSource(
                annotations=(SpanAnnotation(head="deid", set="eds_pseudo_templates"),), documents=2, augmentations=CAPITALS
            ),
            RawSource(sets=("pretrain_pamj", "pretrain_eltec"), documents=1, window_tokens=(384,)),
            # Not contrastive: the embedding learns the same hierarchy from all leaflets, by the kinship of their windows.
            PairSource(set="leaflet_sts", head="similarity", pairs=1),
            KinSource(
                head="similarity",
                set="leaflet_atc",
                code="atc",
                body="sections",
                levels=(1, 3, 4, 5, 7),
                pairs=1,
                text_tokens=700,
            ),
            ChoiceSource(head="choice", set="frenchmedmcqa", questions=2, several=True),
            # Its train split shares no case with its dev and test; casimedicos_arguments/train does, and is not read.
            ChoiceSource(head="choice", set="casimedicos_mcqa", questions=1, several=False),
        ),
        weights=(("atc", 2.0), ("mlm", 0.5), ("embedding", 0.5)),
    )


def _mini_evaluation() -> EvaluationRecipe:
    return EvaluationRecipe(
        tests=(
            TestSet(head="atc", set="leaflet_atc", split="dev"),
            TestSet(head="atc", set="leaflet_atc", split="test"),
            TestSet(head="temporal", set="e3c_temporal", split="test"),
            TestSet(head="clinical", set="e3c_clinical", split="dev"),
            TestSet(head="clinical", set="e3c_clinical", split="test"),
            TestSet(head="deid", set="eds_pseudo_templates", split="dev"),
            TestSet(head="deid", set="eds_pseudo_templates", split="test"),
            TestSet(head="similarity", set="leaflet_sts", split="dev"),
            TestSet(head="similarity", set="leaflet_sts", split="test"),
            TestSet(head="choice", set="frenchmedmcqa", split="dev"),
            TestSet(head="choice", set="frenchmedmcqa", split="test"),
            TestSet(head="choice", set="casimedicos_mcqa", split="dev"),
            TestSet(head="choice", set="casimedicos_mcqa", split="test"),
            TestSet(head="embedding", set="leaflet_sts", split="dev"),
            TestSet(head="embedding", set="leaflet_sts", split="test"),
            TestSet(head="mlm", set="pretrain_leaflets", split="dev"),
            TestSet(head="mlm", set="pretrain_pamj", split="dev"),
            TestSet(head="mlm", set="pretrain_eltec", split="dev"),
        ),
    )
