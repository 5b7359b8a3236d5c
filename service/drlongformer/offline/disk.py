"""Files that appear whole or not at all, and a full disk told in one sentence.

What is written goes to a hidden name beside its place, to the disk itself, and is then renamed: a kill at any moment leaves the
old content, or the new one, and perhaps a hidden rest that nobody reads.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from drlongformer.errors import RunError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MEGABYTE = 1_000_000
UNFINISHED = ".unfinished-"
"""How hidden rests begin."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises RunError naming the file where it cannot be written: no room on the disk, in a quota, under a limit, no right."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise RunError(f"{path} cannot be written: {error.strerror or type(error).__name__}") from error
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free // MEGABYTE
        raise RunError(
            f"no room to write {path} ({error.strerror}, {free} MB free): what was written before is kept; "
            "make room and run the same command with --resume"
        ) from error


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
        sync_names(path.parent)


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
                _sync(file)
            sync_names(beside)
            remove(path)
            beside.rename(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        sync_names(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_names(folder: Path) -> None:
    """Bring a folder's entries to the disk: after a power cut a file without its name is lost."""
    _sync(folder)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
