"""Files that appear whole or not at all, and a full disk told in one sentence.

What is written goes to a hidden name beside its place, to the disk itself, and is then renamed: a kill at any moment leaves the
old content, or the new one, and perhaps a hidden rest that nobody reads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from drlongformer import disk
from drlongformer.errors import RunError

UNFINISHED = ".unfinished-"
"""How hidden rests begin."""


def writing(path: Path) -> AbstractContextManager[None]:
    """Raises RunError naming the file where it cannot be written."""
    return disk.writing(path, RunError, again="run the same command with --resume")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its place when the block ends well. Raises RunError."""
    beside = path.with_name(f"{UNFINISHED}{path.name}")
    with writing(path):
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        disk.sync(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes its place, instead of any other, if the block ends well. Raises RunError."""
    beside = path.with_name(f"{UNFINISHED}{path.name}")
    with writing(path):
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            yield beside
            for file in beside.iterdir():
                disk.sync(file)
            disk.sync(beside)
            remove(path)
            beside.rename(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        disk.sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
