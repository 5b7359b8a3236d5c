"""Masked-language modelling: a beginning (`beginning.py`) and a corpus in, the log, checkpoints and a finished model out.

`<s>` is global in every window, so the `_global` projections learn too; where a recipe turns it off, as the paper's authors
trained, they are not touched. Documents with a class also train the classification head from their masked first window: a
nearly free second objective that gives `<s>` something to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drlongformer.errors import TrainingError
from drlongformer.model.longformer import LongformerConfig
from drlongformer.training import disk, trained
from drlongformer.training.beginning import BLOCK, Learner, begun, resumed
from drlongformer.training.board import Board
from drlongformer.training.checkpoints import check_start
from drlongformer.training.convert import copy_local_to_global
from drlongformer.training.corpus import Corpus
from drlongformer.training.dataset import SPECIALS, Special
from drlongformer.training.distributed import Group
from drlongformer.training.head_specs import LANGUAGE_HEAD
from drlongformer.training.masked import MaskedBatches, losses
from drlongformer.training.perplexity import held_out_scores
from drlongformer.training.plan import Plan
from drlongformer.training.recipes import PretrainingRecipe
from drlongformer.training.tokenizer import digest
from drlongformer.training.trainer import LOG, Progress, Trainer, summary

MODEL = "model"
PROVENANCE = "provenance.json"
TENSORBOARD = "tensorboard"
TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is read: a corpus to train on, one to be scored on, and the `tokenizer.json` that made them.

    tokenizer_json: None where it is that of the checkpoint the run begins with.
    """

    corpus: Path
    held_out: Path | None = None
    tokenizer_json: Path | None = None

    @classmethod
    def of(cls, folder: Path, *, tokenizer_json: Path | None = None) -> Texts:
        """The two corpora that `train corpus` wrote into a folder."""
        held_out = folder / HELD_OUT
        return cls(corpus=folder / TRAIN, held_out=held_out if held_out.is_dir() else None, tokenizer_json=tokenizer_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told of a run's progress: after every step, and of every entry of its log; and whether TensorBoard is.

    on_finished: told the steps of a resumed run that has nothing left to train.
    """

    on_step: Callable[[Progress, Mapping[str, float]], None] | None = None
    on_log: Callable[[Mapping[str, Any]], None] | None = None
    on_finished: Callable[[int], None] | None = None
    tensorboard: bool = False


def run(
    recipe: PretrainingRecipe,
    *,
    texts: Texts,
    output: Path,
    base: Path | None = None,
    group: Group | None = None,
    watch: Watch | None = None,
    resume: bool = False,
) -> Path:
    """Train into `output` and return the folder of the finished model; `resume` goes on from the last checkpoint there.

    base: folder of the checkpoint that strategies `continue` and `convert` begin with.
    """
    group, watch = group or Group(), watch or Watch()
    check_start(output, resume=resume)
    corpus = Corpus(texts.corpus, verify=group.leads)
    if resume:
        learner = resumed(output, tokenizer_json=texts.tokenizer_json)
    else:
        learner = begun(recipe, tokenizer_json=texts.tokenizer_json, base=base, labels=corpus.label_names)
    learner = replace(learner, normalisation=corpus.normalisation)
    trainer = _trainer(recipe, learner, masked_batches(recipe, learner, corpus, seed=recipe.seed), output, group=group)
    if texts.held_out is not None:
        trainer.held_out = _held_out(recipe, learner, Corpus(texts.held_out, verify=group.leads), group)
    if resume:
        trainer.resume()
        if trainer.done and group.leads and watch.on_finished is not None:
            watch.on_finished(trainer.progress.step)
    elif group.leads:
        disk.replace_json(output / PROVENANCE, _described(recipe, corpus, base))
    with _watched(trainer, watch):
        trainer.run()
    if group.leads:
        _finish(recipe, learner, output / MODEL, provenance=disk.read_json(output / PROVENANCE))
    return output / MODEL


@contextmanager
def _watched(trainer: Trainer, watch: Watch) -> Iterator[None]:
    """Tell those who watch, and TensorBoard, while the trainer runs."""
    trainer.on_step, trainer.on_log = watch.on_step, watch.on_log
    if not (watch.tensorboard and trainer.group.leads):
        yield
        return
    with Board(trainer.folder / TENSORBOARD, step=trainer.progress.step) as board:
        trainer.on_log = board.after(watch.on_log)
        yield


def masked_batches(recipe: PretrainingRecipe, learner: Learner, corpus: Corpus, *, seed: int) -> MaskedBatches:
    """The micro-batches of a corpus; raises TrainingError where another tokenizer made it, or windows are too long."""
    config, spec = learner.model.longformer.config, learner.checked()
    if corpus.tokenizer != digest(learner.tokenizer):
        reads = "" if learner.source is None else f", {learner.source}"
        raise TrainingError(f"{corpus.folder} was made with another tokenizer than the model reads with{reads}")
    if corpus.normalisation != learner.normalisation:
        before, here = (", ".join(rules) or "no rule" for rules in (learner.normalisation, corpus.normalisation))
        raise TrainingError(f"{corpus.folder} was normalised by {here}, what is trained on by {before}")
    _check_windows(recipe, config)
    return MaskedBatches(
        corpus=corpus,
        plan=Plan(lengths=corpus.lengths, recipe=recipe.batches, block=config.block, seed=seed),
        recipe=recipe.batches,
        special=Special.of(spec),
        language_head=LANGUAGE_HEAD,
        class_head=recipe.head,
    )


def _check_windows(recipe: PretrainingRecipe, config: LongformerConfig) -> None:
    longest = max(recipe.batches.window_tokens)
    if longest > config.max_tokens:
        raise TrainingError(f"windows of {longest} tokens, but the model reads {config.max_tokens}: lower --window-tokens")


def _trainer(recipe: PretrainingRecipe, learner: Learner, batches: MaskedBatches, output: Path, *, group: Group) -> Trainer:
    model, weights = learner.model, {} if recipe.head is None else {recipe.head: recipe.head_weight}
    if not recipe.batches.first_global:
        # Nothing is global, so their gradients are zeros, and weight decay alone would shrink them.
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("_global." not in name)
    optimisation = recipe.optimisation
    if recipe.epochs is not None:
        optimisation = replace(optimisation, steps=batches.plan.steps(recipe.epochs))
    return Trainer(
        model=model,
        batches=batches,
        objective=lambda module, batch: losses(module, batch, weights=weights),
        recipe=optimisation,
        seed=recipe.seed,
        folder=output,
        save=lambda folder: trained.save(folder, model, learner.heads, learner.tokenizer_json, spec=learner.checked()),
        micro_batches=recipe.batches.micro_batches,
        group=group,
        identity=_identity(recipe, batches),
    )


def _identity(recipe: PretrainingRecipe, batches: MaskedBatches) -> dict[str, Any]:
    """What decides which micro-batch has which number."""
    corpus = batches.corpus
    named = asdict(recipe.batches) | {"window_tokens": list(recipe.batches.window_tokens)}
    read = {"documents": len(corpus), "tokens": corpus.tokens, "corpus": corpus.digest, "tokenizer": corpus.tokenizer}
    return named | read | {"seed": recipe.seed, "block": batches.plan.block}


def _held_out(recipe: PretrainingRecipe, learner: Learner, corpus: Corpus, group: Group) -> Callable[[], dict[str, float]]:
    """Scores of the first `held_out_tokens` of a corpus, cut into windows as long as any in training."""
    longest = replace(recipe.batches, window_tokens=(max(recipe.batches.window_tokens),))
    batches = masked_batches(replace(recipe, batches=longest), learner, corpus, seed=0)
    count = min(len(batches.plan.epoch(0)), -(-recipe.held_out_tokens // longest.micro_slots))
    return lambda: held_out_scores(learner.model, batches, count=count, group=group)


def outlook(recipe: PretrainingRecipe, texts: Texts) -> dict[str, str]:
    """What a run would read and how, for people; nothing is trained and no checkpoint is read."""
    corpus, batches, optimisation = Corpus(texts.corpus), recipe.batches, recipe.optimisation
    if recipe.architecture is not None:
        _check_windows(recipe, recipe.architecture)
    plan = Plan(lengths=corpus.lengths, recipe=batches, block=BLOCK, seed=recipe.seed)
    steps = optimisation.steps if recipe.epochs is None else plan.steps(recipe.epochs)
    epoch = plan.epoch(0)
    filled = (corpus.tokens + SPECIALS * len(epoch.windows)) / (len(epoch) * batches.micro_slots)
    return {
        "strategy": recipe.strategy,
        "documents, tokens": f"{len(corpus):,}, {corpus.tokens:,}",
        "normalised by": ", ".join(corpus.normalisation) or "no rule",
        "windows of an epoch": f"{len(epoch.windows):,} of at most {' or '.join(map(str, batches.window_tokens))} tokens",
        "slots left empty": f"{1 - filled:.1%}",
        "slots of a step": f"{batches.batch_tokens:,} in {batches.micro_batches} micro-batches of {batches.micro_slots:,}",
        "steps": f"{steps:,}, {steps * batches.micro_batches / len(epoch):.2f} epochs",
        "time budget": "none" if optimisation.seconds is None else f"{optimisation.seconds / 3600:.1f} h",
        "learning rate": f"{optimisation.learning_rate:g} after {optimisation.warmup_steps:,} steps of warm-up",
    }


def _described(recipe: PretrainingRecipe, corpus: Corpus, base: Path | None) -> dict[str, Any]:
    """What a model card must say of the training, in JSON's types."""
    return {
        "base": None if base is None else base.name,
        "pretraining": asdict(recipe),
        "corpus": {
            "documents": len(corpus),
            "tokens": corpus.tokens,
            "tokenizer": corpus.tokenizer,
            "normalisation": list(corpus.normalisation),
        },
    }


def _finish(recipe: PretrainingRecipe, learner: Learner, folder: Path, *, provenance: dict[str, Any]) -> None:
    """The model as it is to be used, without the state of the run; appears whole or not at all."""
    if recipe.copy_local_to_global:
        copy_local_to_global(learner.model)
    with disk.whole(folder) as beside:
        trained.save(beside, learner.model, learner.heads, learner.tokenizer_json, spec=learner.checked())
        disk.replace_json(beside / PROVENANCE, provenance | {"stages": {"pretrain": summary(folder.parent / LOG)}})
