"""Files that survive a kill and tell of a full disk: whole writes, appends that reach the disk, replacement in one step.

What was committed before a failure stays as it was, so the same command goes on once there is room again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError

from drlongformer import disk
from drlongformer.errors import TrainingError


def room(path: Path) -> AbstractContextManager[None]:
    """Raises TrainingError naming the file where it cannot be written."""
    return disk.writing(path, TrainingError, again="run the same command again")


class Appending:
    """A file written at its end; `size` bytes are kept of what is there, the rest is cut off."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """Open for appending after `size` bytes; raises TrainingError where the file is shorter."""
        self.path = path
        with room(path):
            self._file = path.open("r+b" if size else "wb", buffering=0)
        found = os.fstat(self._file.fileno()).st_size
        if found < size:
            self._file.close()
            raise TrainingError(f"{path} has {found} bytes where {size} were written: start again in an empty folder")
        self._file.truncate(size)
        self._file.seek(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def write(self, content: bytes) -> None:
        """Write all bytes; raises TrainingError on a full disk."""
        left = memoryview(content)
        with room(self.path):
            while left:
                left = left[self._file.write(left) :]

    def sync(self) -> None:
        """Wait until what was written, and the file's name, have reached the disk."""
        with room(self.path):
            os.fsync(self._file.fileno())
            disk.sync(self.path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; raises TrainingError on a full disk."""
    beside = path.with_name(f".{path.name}.new")
    with Appending(beside) as file:
        file.write(content)
        file.sync()
    with room(path):
        beside.replace(path)
        disk.sync(path.parent)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of `folder` in one step.

    Raises TrainingError where it cannot be written, on a full disk above all; what stood in its place is kept then.
    """
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise TrainingError(
            f"{folder} could not be written ({error}; {disk.free_megabytes(folder)} MB free): what was written before is kept,"
            " make room and run the same command again"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def replace_json(path: Path, content: Any) -> None:
    """`replace` with JSON for people."""
    replace(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises TrainingError naming the file where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TrainingError(f"{path} cannot be read: it is no JSON, {error.msg} at {where}") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} cannot be read: it is not UTF-8, at byte {error.start}") from error
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
