"""Records through the pipeline, far enough ahead that its batches are full, and out again in the order they came.

Records go to the pipeline in small groups, as many at a time as a bounded look-ahead holds; its queue puts long and short ones
into full batches, whatever their order. An outcome leaves when all before it have left. With look-ahead 3 and groups of one:

    in        a b c d e f ...
    computed      b a  d c ...      the queue decides
    out           . ab . cd
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from drlongformer.offline.outcomes import Outcome

HELD: Final = 8
"""So many look-aheads may be held back, answered, behind a document that is not."""

Group = Sequence[Outcome]
"""Outcomes that are still to be found: those with a text and neither result nor problem are asked for."""


@dataclass(slots=True)
class _Flowing:
    """A group on its way."""

    task: asyncio.Task[list[Outcome]]
    characters: int


@dataclass(slots=True)
class _Books:
    """What is on its way. unanswered, held: characters not yet computed, and not yet out."""

    groups: deque[_Flowing] = field(default_factory=deque)
    unanswered: int = 0
    held: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, group: Group, answer: Callable[[Group], Awaitable[list[Outcome]]]) -> None:
        characters = 1 + sum(len(one.text) for one in group)

        async def answered() -> list[Outcome]:
            return await answer(group)

        def done(_: asyncio.Task[list[Outcome]]) -> None:
            self.unanswered -= characters
            self.changed.set()

        task = asyncio.create_task(answered())
        task.add_done_callback(done)
        self.groups.append(_Flowing(task=task, characters=characters))
        self.unanswered += characters
        self.held += characters


async def outcomes(
    groups: Iterator[Group], answer: Callable[[Group], Awaitable[list[Outcome]]], *, look_ahead: int
) -> AsyncGenerator[Outcome, None]:
    """The outcome of every record, in order. look_ahead: characters that may wait to be computed. Raises what `answer` does."""
    books, more = _Books(), True
    try:
        while more or books.groups:
            books.changed.clear()
            while more and books.unanswered < look_ahead and books.held < HELD * look_ahead:
                group = await asyncio.to_thread(next, groups, None)
                if group is None:
                    more = False
                else:
                    books.add(group, answer)
            while books.groups and books.groups[0].task.done():
                first = books.groups.popleft()
                books.held -= first.characters
                for outcome in first.task.result():
                    yield outcome
            if books.groups and not books.groups[0].task.done():
                await books.changed.wait()
    finally:
        for flowing in books.groups:
            flowing.task.cancel()
        await asyncio.gather(*(flowing.task for flowing in books.groups), return_exceptions=True)
