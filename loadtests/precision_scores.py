"""What a bundle's int8 graph loses: both graphs scored on a recipe's test sets, through the code that serves.

    python loadtests/precision_scores.py --bundle model_store/NAME/VERSION --data FOLDER [--recipe mini] [--head HEAD ...]
        [--threads 2]

Test sets of heads that the bundle does not have are left out, and named. A table of the scores that decide (`judging.py`), and
one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from drlongformer.bundle import Precision, load
from drlongformer.training import evaluate
from drlongformer.training.catalogue import named
from drlongformer.training.corpus import DataFolder
from drlongformer.training.examine import Options
from drlongformer.training.precisions import compared
from drlongformer.training.recipes import EvaluationRecipe
from drlongformer.training.subject import Subject

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def scored(subject: Subject, recipe: EvaluationRecipe, folder: DataFolder) -> dict[str, Any]:
    """The scores of a recipe's sets."""
    with tempfile.TemporaryDirectory() as scratch:
        options = Options(baselines=False, robustness=False, draws=0)
        output = Path(scratch) / "scores.json"
        return evaluate.run(recipe, trained_model=subject, folder=folder, output=output, options=options)


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="mini")
    parser.add_argument("--head", action="append", help="only these heads; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    recipe = named(options.recipe)
    folder = DataFolder(options.data, policies=recipe.policies)
    bundle = load(options.bundle)
    subjects = {name: Subject.load(options.bundle, threads=options.threads, precision=name) for name in PRECISIONS}
    told: dict[str, object] = {}
    for test in recipe.evaluation.tests:
        if test.head not in subjects["fp32"].heads or (options.head and test.head not in options.head):
            print(f"{test.key:>34} left out")
            continue
        one_set = replace(recipe.evaluation, tests=(test,))
        fp32, int8 = (scored(subject, one_set, folder) for subject in subjects.values())
        found = compared(bundle, fp32, int8)[test.key]
        told[test.key] = {**found.model_dump(), "lost_points": found.lost_points}
        shown = f"{found.fp32:.4f} {found.int8:.4f} {found.lost_points:+.2f}  {found.documents}"
        print(f"{test.key:>34} {found.name:>16} {shown}", flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
