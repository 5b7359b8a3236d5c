"""Train all heads jointly on one pretrained encoder, so that one pass of the served model answers every task.

Heads that the pretrained model has (the masked-word head, a class head) go on from their weights; the others start fresh.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drlongformer.bundle import HeadSpec
from drlongformer.errors import TrainingError
from drlongformer.model.heads import LongformerWithHeads
from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training import sources, trained
from drlongformer.training.checkpoints import CHECKPOINT, check_start
from drlongformer.training.corpus import DataFolder
from drlongformer.training.dataset import Special
from drlongformer.training.drawing import Reading
from drlongformer.training.head_specs import (
    LANGUAGE_HEAD,
    choice_head,
    class_head,
    embedding_head,
    language_head,
    similarity_head,
    span_head,
)
from drlongformer.training.initial import initialise
from drlongformer.training.judging import judge
from drlongformer.training.lessons import ChoiceSource, ClassSource, PairSource, SpanSource
from drlongformer.training.objective import kind_of, losses
from drlongformer.training.recipes import FinetuningRecipe, Recipe
from drlongformer.training.records.reader import read
from drlongformer.training.records.record import ChoiceRecord
from drlongformer.training.spans import bio_labels, spans_of
from drlongformer.training.subject import Subject
from drlongformer.training.trainer import Trainer


def heads_of(recipe: FinetuningRecipe, folder: DataFolder) -> tuple[HeadSpec, ...]:
    """The heads the sources train, with the labels their training splits hold; the first of a task is its default."""
    classes: dict[str, set[str]] = {}
    spans: dict[str, set[str]] = {}
    others: dict[str, HeadSpec] = {}
    for source in recipe.sources:
        match source:
            case ClassSource():
                for record in folder.records(source.set, "train"):
                    classes.setdefault(source.head, set()).update(record["labels"])
            case SpanSource():
                for annotation in source.annotations:
                    for record in folder.records(annotation.set, annotation.split):
                        spans.setdefault(annotation.head, set()).update(span.label for span in spans_of(record))
            case PairSource(head=str(name)):
                others[name] = similarity_head(name, score_range=source.score_range)
            case ChoiceSource():
                others[source.head] = choice_head(source.head, **_choice(recipe, folder, source.head))
            case _:
                pass
    return (
        language_head(),
        *(class_head(name, tuple(sorted(labels))) for name, labels in classes.items()),
        *(span_head(name, bio_labels(labels)) for name, labels in spans.items()),
        *others.values(),
        embedding_head(),
    )


def _choice(recipe: FinetuningRecipe, folder: DataFolder, name: str) -> dict[str, Any]:
    """How the questions of a head's sets are to be read; raises TrainingError where its sets differ in layout."""
    mine = [source for source in recipe.sources if isinstance(source, ChoiceSource) and source.head == name]
    if len({source.layout for source in mine}) > 1:
        raise TrainingError(f"head {name!r} has sets of both layouts, each and joint")
    joint = mine[0].layout == "joint"
    letters = {letter for one in mine for record in folder.records(one.set, "train") for letter in record["options"]}
    return {"several": any(one.several for one in mine), "letters": tuple(sorted(letters)) if joint else ()}


def with_heads(pretrained: Path, heads: Sequence[HeadSpec], *, dropout: float, seed: int) -> LongformerWithHeads:
    """The pretrained encoder and heads, and fresh ones for the rest; raises TrainingError where a head's labels differ."""
    known, known_heads = trained.load(pretrained)
    for head in known_heads:
        now = next((one for one in heads if one.output == head.output), head)
        if now.labels != head.labels:
            raise TrainingError(f"head {head.name!r} was pretrained with {len(head.labels)} other labels")
    model = trained.build(replace(known.longformer.config, hidden_dropout_prob=dropout), heads)
    initialise(model, seed=seed)
    wanted = model.state_dict().keys()
    model.load_state_dict({name: value for name, value in known.state_dict().items() if name in wanted}, strict=False)
    return model


def run(recipe: Recipe, *, pretrained: Path, folder: DataFolder, output: Path, resume: bool = False) -> Path:
    """Fine-tune into `output` and return the trained folder; `resume` goes on from the last checkpoint there."""
    check_start(output, resume=resume)
    finetuning, checkpoint = recipe.finetuning, output / CHECKPOINT
    tokenizer = trained.tokenizer_of(pretrained)
    if resume:
        model, heads = trained.load(checkpoint)
    else:
        heads = heads_of(finetuning, folder)
        model = with_heads(pretrained, heads, dropout=finetuning.dropout, seed=recipe.seed)
    config = model.longformer.config
    spec = tokenizer.spec
    reading = Reading(
        tokenizer=Tokenizer(json.loads(tokenizer.content), spec=spec),
        special=Special.of(spec),
        language_head=LANGUAGE_HEAD,
        masked_share=recipe.batches.masked_share,
        max_tokens=config.max_tokens,
        seed=recipe.seed,
    )
    labels = {head.name: head.labels for head in heads if head.labels}
    weights, kinds = dict(finetuning.weights), {head.output: kind_of(head) for head in heads}
    trainer = Trainer(
        model=model,
        batches=sources.build(finetuning, folder, labels, reading, heads=tuple(model.heads), block=config.block),
        objective=lambda module, batch: losses(module, batch, weights=weights, kinds=kinds, temperature=finetuning.temperature),
        recipe=finetuning.optimisation,
        seed=recipe.seed,
        folder=output,
        save=lambda place: trained.save(place, model, heads, tokenizer.content, spec=spec),
        identity={"recipe": f"{recipe.name}, revision {recipe.revision}"},
    )
    if resume:
        trainer.resume()
    trainer.run()
    return checkpoint


def tune_thresholds(recipe: FinetuningRecipe, folder: DataFolder, model: Path) -> None:
    """Give the heads of a trained folder that judge every option by itself the threshold that suits their dev splits best."""
    subject = Subject.load(model)
    heads = dict(subject.heads)
    for name, head in subject.heads.items():
        sets = [one.set for one in recipe.sources if isinstance(one, ChoiceSource) and one.head == name and one.several]
        questions = [question for one in sets for question in _questions(folder, one)]
        if questions and head.layout == "each" and head.function == "sigmoid":
            heads[name] = judge(subject, head, questions, tune=True).head
    trained.describe(model, tuple(heads.values()))


def _questions(folder: DataFolder, name: str) -> list[ChoiceRecord]:
    """The questions of a set's dev split, whose policy and checksum are looked at first."""
    deque(folder.records(name, "dev"), maxlen=0)
    return read(folder.folder / name / "dev.jsonl", task="multiple-choice")
