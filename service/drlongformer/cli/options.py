"""Options that several commands of `drlongformer train` have: one alias a flag, so that it is described once.

Flags of one command alone stand in its own module, or, where there are many, in one beside it (`finetune_options.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(help="Name of a recipe; `train recipes` lists them.")]
Data = Annotated[Path, typer.Option(help="Data folder with its MANIFEST.json.")]
DataOfRecipe = Annotated[Path | None, typer.Option(help="Data folder with its MANIFEST.json, for --recipe.")]
Output = Annotated[Path, typer.Option(help="What is written.")]

Model = Annotated[Path, typer.Argument(help="A bundle's folder (NAME/VERSION) or a trained folder.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")]
Head = Annotated[str | None, typer.Option(help="Name of the head; the task's first by default.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda[:i]", help="Device that computes.")]

Format = Annotated[str, typer.Option(metavar="auto|jsonl|brat|doccano|label-studio", help="Form of the annotations.")]
GroupBy = Annotated[str | None, typer.Option(help="Field that must stay in one split, such as patient.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the files.")]
