"""Successive things in runs that are worth doing together: at most so many of them, and not many more characters than that.

characters          4 4 12 1 1 1 2
3 or 10 at most     4 4 12 | 1 1 1 | 2      the thing that fills a run is its last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def runs(things: Iterable[T], characters: Callable[[T], int], *, most: int, most_characters: int) -> Iterator[list[T]]:
    """All things in their order, in lists; a list ends with the thing that fills it."""
    run: list[T] = []
    held = 0
    for thing in things:
        run.append(thing)
        held += characters(thing)
        if len(run) == most or held >= most_characters:
            yield run
            run, held = [], 0
    if run:
        yield run
