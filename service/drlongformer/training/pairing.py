"""Sources whose windows hold two texts: scored pairs for similarity, questions with their options for multiple choice.

A pair is read twice where it is asked to be: as one window `<s> A </s></s> B </s>` by a similarity head, and as two windows
whose mean embeddings are compared. Options are laid out by `tasks/multiple_choice.py`, the code that serves them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drlongformer.errors import TrainingError
from drlongformer.tasks.multiple_choice import PairTexts, context_tokens, joint_text, option_texts
from drlongformer.text.pairs import PAIR_SPECIALS, pair
from drlongformer.training.corpus import DataFolder
from drlongformer.training.dataset import Example, with_specials
from drlongformer.training.drawing import Reading, Texts, places_in_tree, turn
from drlongformer.training.lessons import ChoiceSource, KinSource, PairSource
from drlongformer.types import IntArray

BOS_SLOT = np.zeros(1, dtype=np.int64)


class Pairs:
    """Scored pairs of texts, each cut at its end so that both fit one window."""

    def __init__(self, recipe: PairSource, folder: DataFolder, reading: Reading, tag: int) -> None:
        records = list(folder.records(recipe.set, "train"))
        self._recipe, self._reading, self._tag = recipe, reading, tag
        self._first = Texts([record["text1"] for record in records], reading.tokenizer)
        self._second = Texts([record["text2"] for record in records], reading.tokenizer)
        self._scores = [float(record["score"]) for record in records]

    def draw(self, step: int) -> list[Example]:
        """For every pair its joint window, its two windows apart, or both."""
        random = self._reading.random(self._tag, 0, step)
        drawn = turn(step, len(self._scores), self._recipe.pairs, lambda epoch: self._reading.random(self._tag, 1, epoch))
        return [example for place, record in enumerate(drawn) for example in self._examples(place, record, random)]

    def _examples(self, place: int, record: int, random: np.random.Generator) -> list[Example]:
        texts = [self._first[record], self._second[record]]
        score = self._scores[record]
        examples = []
        if self._recipe.head is not None:
            first, second = texts[:: int(random.choice([1, -1]))]  # similarity knows no order
            examples.append(
                scored_window(
                    first, second, score, head=self._recipe.head, bounds=self._recipe.score_range, reading=self._reading
                )
            )
        if self._recipe.contrastive:
            number = self._tag * 1000 + place  # tells the pairs of a batch apart, whatever their source
            examples += [
                Example(
                    ids=with_specials(text[: self._reading.max_tokens - 2], self._reading.special),
                    slots={},
                    wanted={},
                    pair=(number, score),
                )
                for text in texts
            ]
        return examples


class KinPairs:
    """Pairs drawn from a set with a hierarchy, scored by how many of its levels they share; every depth is as likely."""

    def __init__(self, recipe: KinSource, folder: DataFolder, reading: Reading, tag: int) -> None:
        records = list(folder.records(recipe.set, "train"))
        self._recipe, self._reading, self._tag = recipe, reading, tag
        bodies = [record["text"][max(0, record["meta"][recipe.body][0]) :] for record in records]
        self._bodies = Texts(bodies, reading.tokenizer)
        codes = [record["meta"][recipe.code] for record in records]
        self._kinship = places_in_tree(codes, recipe.levels)[:, :-1]  # [D, levels]

    def draw(self, step: int) -> list[Example]:
        """One joint window for every pair."""
        random = self._reading.random(self._tag, 0, step)
        firsts = turn(step, len(self._bodies), self._recipe.pairs, lambda epoch: self._reading.random(self._tag, 1, epoch))
        return [self._example(first, random) for first in firsts]

    def _example(self, first: int, random: np.random.Generator) -> Example:
        shared = (self._kinship == self._kinship[first]).cumprod(axis=1).sum(axis=1)  # [D]
        shared[first] = -1
        depth = random.choice(np.unique(shared[shared >= 0]))
        second = int(random.choice(np.flatnonzero(shared == depth)))
        one, other = (self._bodies[number][: self._recipe.text_tokens] for number in (first, second))
        bounds = (0.0, float(len(self._recipe.levels)))
        return scored_window(one, other, float(depth), head=self._recipe.head, bounds=bounds, reading=self._reading)


def scored_window(
    first: IntArray, second: IntArray, score: float, *, head: str, bounds: tuple[float, float], reading: Reading
) -> Example:
    """Both texts in one window, the longer one cut until they fit; the score as a share of its range."""
    low, high = bounds
    if not low <= score <= high:
        raise TrainingError(f"a similarity of {score} lies outside {low} to {high}")
    first, second = fitted(first, second, room=reading.max_tokens - PAIR_SPECIALS)
    ids = pair(first, second, bos=reading.special.bos, eos=reading.special.eos)
    wanted = np.array([[(score - low) / (high - low)]], dtype=np.float32)
    return Example(ids=ids, slots={head: BOS_SLOT}, wanted={head: wanted})


def fitted(first: IntArray, second: IntArray, *, room: int) -> tuple[IntArray, IntArray]:
    """The beginnings of two texts that fit `room` tokens together; a text shorter than half the room is kept whole."""
    if len(first) + len(second) <= room:
        return first, second
    ours = min(len(first), max(room - len(second), room // 2))
    return first[:ours], second[: room - ours]


class Choices:
    """Questions with their options: one window for each option, or one for all of them."""

    def __init__(self, recipe: ChoiceSource, folder: DataFolder, labels: Sequence[str], reading: Reading, tag: int) -> None:
        self._recipe, self._reading, self._tag, self._labels = recipe, reading, tag, tuple(labels)
        self._records = list(folder.records(recipe.set, "train"))

    def draw(self, step: int) -> list[Example]:
        """The windows of every question, side by side."""
        count = self._recipe.questions
        drawn = turn(step, len(self._records), count, lambda epoch: self._reading.random(self._tag, epoch))
        return [example for place, number in enumerate(drawn) for example in self._examples(place, number)]

    def _examples(self, place: int, number: int) -> list[Example]:
        record, recipe = self._records[number], self._recipe
        question, options, context = record["question"], record["options"], record.get("context")
        if recipe.layout == "joint":
            texts = [joint_text(question, options, context)]
            wanted = [np.array([[label in record["answers"] for label in self._labels]], dtype=np.float32)]
        else:
            texts = list(option_texts(question, options, context))
            group = self._tag * 1000 + place  # tells the questions of a batch apart, whatever their source
            wanted = [np.array([[group, option in record["answers"]]], dtype=np.float32) for option in options]
        return [
            Example(
                ids=choice_window(two, context, reading=self._reading), slots={recipe.head: BOS_SLOT}, wanted={recipe.head: one}
            )
            for two, one in zip(texts, wanted, strict=True)
        ]


def choice_window(texts: PairTexts, context: str | None, *, reading: Reading) -> IntArray:
    """A question and its option as one window `[T]`; where they are too long, the beginning of the context is cut.

    Raises TrainingError where they are too long without any context.
    """
    first, second = reading.tokenizer.encode_batch(list(texts))
    tokens = len(first) + len(second) + PAIR_SPECIALS
    cut = max(0, tokens - reading.max_tokens)
    if cut > context_tokens(first, context):
        raise TrainingError(f"a question and its option take {tokens} tokens, the window holds {reading.max_tokens}")
    return pair(first.ids[cut:], second.ids, bos=reading.special.bos, eos=reading.special.eos)
