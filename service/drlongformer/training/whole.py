"""A whole recipe, from a data folder to a trained and scored model; stages that are done are not done again.

output/tokenizer.json  corpus/{train,held_out}/  pretrain/  finetune/       one folder a stage, each with its log
output/trained/        the model that export turns into a bundle
output/scores.json     output/provenance.json                               what a model card must say
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import tokenizers

from drlongformer.errors import TrainingError
from drlongformer.training import corpus, disk, evaluate, finetune, pretrain, tokenizer
from drlongformer.training.checkpoints import STATE, has_run
from drlongformer.training.corpus import DataFolder
from drlongformer.training.lessons import ChoiceSource, ClassSource, KinSource, PairSource, RawSource, SpanSource
from drlongformer.training.recipes import FinetuningRecipe, Recipe
from drlongformer.training.trainer import LOG, summary
from drlongformer.types import Rule

TOKENIZER = "tokenizer.json"
CORPUS = "corpus"
PRETRAINED = "pretrain"
FINETUNED = "finetune"
TRAINED = "trained"
SCORES = "scores.json"
PROVENANCE = "provenance.json"


def run(recipe: Recipe, *, data: Path, output: Path, normalisation: tuple[Rule, ...] | None = None) -> Path:
    """Run every stage that is not done, and return the trained folder; an interrupted stage goes on where it stopped.

    normalisation: what is put right in texts before they are read, None for what the corpus that is there already was made
    with. Raises TrainingError where that is something else.
    """
    folder = DataFolder(data, policies=recipe.policies)
    output.mkdir(parents=True, exist_ok=True)
    if not (output / TOKENIZER).exists():
        make_tokenizer(recipe, data=data, output=output / TOKENIZER)
    if not (output / CORPUS).exists():
        tokenizer_json = output / TOKENIZER
        make_corpus(recipe, data=data, tokenizer_json=tokenizer_json, output=output / CORPUS, normalisation=normalisation or ())
    there = corpus.Corpus(output / CORPUS / "train").normalisation
    if normalisation not in (None, there):
        told = (", ".join(rules) or "no rule" for rules in (there, normalisation))
        raise TrainingError("{} was normalised by {}, not {}".format(output / CORPUS, *told))
    pretrained = pretrain.run(
        recipe.masked_words,
        texts=pretrain.Texts.of(output / CORPUS, tokenizer_json=output / TOKENIZER),
        output=output / PRETRAINED,
        resume=has_run(output / PRETRAINED),
    )
    finetuned = finetune.run(
        recipe,
        pretrained=pretrained,
        folder=folder,
        output=output / FINETUNED,
        resume=has_run(output / FINETUNED),
    )
    with disk.whole(output / TRAINED) as beside:
        shutil.copytree(finetuned, beside, ignore=shutil.ignore_patterns(STATE))
        finetune.tune_thresholds(recipe.finetuning, folder, beside)
    evaluate.run(recipe.evaluation, trained_model=output / TRAINED, folder=folder, output=output / SCORES)
    write_provenance(recipe, folder=folder, output=output)
    return output / TRAINED


def make_tokenizer(recipe: Recipe, *, data: Path, output: Path) -> None:
    """Learn the recipe's tokenizer from the training splits of its corpus."""
    folder = DataFolder(data, policies=recipe.policies)
    learnt = tokenizer.train(lambda: _texts(folder, recipe), recipe.tokenizer)
    output.parent.mkdir(parents=True, exist_ok=True)
    learnt.save(str(output))


def make_corpus(
    recipe: Recipe, *, data: Path, tokenizer_json: Path, output: Path, normalisation: tuple[Rule, ...] = ()
) -> None:
    """Tokenise the recipe's training and held-out texts; the folder appears whole or not at all.

    normalisation: what is put right in texts before; whatever is trained on the corpus reads alike.
    """
    folder = DataFolder(data, policies=recipe.policies)
    known, labelled = tokenizers.Tokenizer.from_file(str(tokenizer_json)), recipe.corpus.labelled
    labels = sorted({label for record in folder.records(labelled, "train") for label in record["labels"]}) if labelled else []
    partial = output.with_name(f"{output.name}.partial")
    for part, sets, split in (("train", recipe.corpus.sets, "train"), ("held_out", recipe.corpus.held_out, "dev")):
        texts = folder.documents(sets, split, labelled=labelled)
        corpus.write(partial / part, texts, known, labels=labels, normalisation=normalisation)
    partial.rename(output)


def write_provenance(recipe: Recipe, *, folder: DataFolder, output: Path) -> None:
    """What was read under which licence, and how far each stage went."""
    names = sorted({*recipe.corpus.sets, *(name for name in sets_of(recipe.finetuning))})
    content = {
        "recipe": asdict(recipe),
        "sets": [asdict(folder.source(name)) for name in names],
        "stages": {stage: summary(output / stage / LOG) for stage in (PRETRAINED, FINETUNED)},
    }
    (output / PROVENANCE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sets_of(recipe: FinetuningRecipe) -> Iterator[str]:
    """Sets that fine-tuning reads."""
    for source in recipe.sources:
        match source:
            case ClassSource() | PairSource() | KinSource() | ChoiceSource():
                yield source.set
            case SpanSource():
                yield from (annotation.set for annotation in source.annotations)
            case RawSource():
                yield from source.sets


def _texts(folder: DataFolder, recipe: Recipe) -> Iterator[str]:
    return (document.text for document in folder.documents(recipe.corpus.sets, "train"))
