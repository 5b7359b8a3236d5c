"""What every writer of files needs: a full disk told in one sentence, and names that survive a power cut."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drlongformer.errors import DrLongformerError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MEGABYTE = 1_000_000


@contextmanager
def writing(path: Path, error_class: type[DrLongformerError], *, again: str) -> Iterator[None]:
    """Raises `error_class` naming the file where it cannot be written: no right, or no room (disk, quota, limit).

    again: what to do once there is room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise error_class(f"{path} cannot be written: {error.strerror or type(error).__name__}") from error
        raise error_class(
            f"no room to write {path} ({error.strerror}, {free_megabytes(path)} MB free): what was written before is kept,"
            f" make room and {again}"
        ) from error


def free_megabytes(path: Path) -> int:
    """Room on the disk that a file of this name would come to."""
    return shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free // MEGABYTE


def sync(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk: after a power cut a file without its name is lost."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
