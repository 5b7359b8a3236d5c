"""What README and quickstart print below commands and programs: run as they stand, against the model of the repository."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.serving import embedded

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/quickstart.md")
ADDRESS = "127.0.0.1:8000"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAIR = re.compile(r'"(\w+)": (?:"([^"]*)"|(-?[\d.]+(?:e-?\d+)?|true|false))')
NUMBER = re.compile(r"-?\d[\d.]*(?:e-?\d+)?")
SHOWN = 5
"""How many numbers of a vector a page shows at most."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A command of a page, and the answer that stands below it, shortened with `…`."""

    page: str
    command: str
    answer: str


def examples(page: str) -> Iterator[Example]:
    """Each command with the JSON below it, behind the functions that the page defined before; each program with its text."""
    defined = command = ""
    for language, source in FENCED.findall((ROOT / page).read_text(encoding="utf-8")):
        if language in ("sh", "bash"):
            command = source
            defined += source if "() {" in source else ""
        elif language == "python":
            command = shlex.join([sys.executable, "-c", source])
        elif language in ("json", "text"):
            yield Example(page=page, command=f"{defined}\n{command}", answer=source)


def pairs(text: str) -> list[Pair]:
    """Names and values of JSON in order, whole or cut; of a list of numbers the first ones, each under the list's name."""
    spread = re.sub(r'"(\w+)": \[\s*(-?\d[^\]]*)\]', spread_out, text)
    return [(name, string or number) for name, string, number in PAIR.findall(spread)]


def spread_out(numbers: re.Match[str]) -> str:
    return ", ".join(f'"{numbers[1]}": {number}' for number in NUMBER.findall(numbers[2])[:SHOWN])


def says(written: Pair, answered: Pair) -> bool:
    """Whether what is written is what was answered, to the decimals that are written."""
    if written[0] != answered[0] or written[1] == answered[1]:
        return written == answered
    decimals = len(written[1].partition(".")[2])
    return NUMBER.fullmatch(written[1]) is not None and decimals > 0 and f"{float(answered[1]):.{decimals}f}" == written[1]


def missing(example: str, answer: str) -> list[Pair]:
    """What the example says and the answer does not, in this order; without JSON the whole example must be the answer."""
    if not pairs(example):
        return [] if example == answer else [(example, answer)]
    answered = iter(pairs(answer))
    return [each for each in pairs(example) if not any(says(each, other) for other in answered)]


def test_what_an_answer_does_not_say_is_found() -> None:
    answer = '{"label": "A", "score": 0.99452, "embedding": [0.016574, -0.011285, 3], "tokens": 12}'
    assert missing('"score": 0.995, "embedding": [0.0166, -0.01, …], "tokens": 12', answer) == []
    assert missing('"score": 0.996', answer) == [("score", "0.996")]
    assert missing('"tokens": 12, "label": "A"', answer) == [("label", "A")]
    assert missing('"embedding": [0.0166, -0.0114, …]', answer) == [("embedding", "-0.0114")]
    assert missing('"tokens": 13', answer) == [("tokens", "13")]
    assert missing("EVENT 0.64\n", "EVENT 0.64\n") == []
    assert missing("EVENT 0.64\n", "EVENT 0.65\n") != []


def test_there_are_examples_of_every_kind() -> None:
    found = [each for page in PAGES for each in examples(page)]
    assert {each.page for each in found} == set(PAGES)
    assert sum(len(pairs(each.answer)) > SHOWN for each in found) >= 6
    assert any(not pairs(each.answer) for each in found)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with embedded() as it:
        yield f"127.0.0.1:{it.port}"


@pytest.mark.slow
@pytest.mark.parametrize("example", [each for page in PAGES for each in examples(page)], ids=lambda each: each.page)
def test_a_printed_answer_is_that_of_the_embedded_model(example: Example, address: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl (Debian package curl)")
    command = ["bash", "-euo", "pipefail", "-c", example.command.replace(ADDRESS, address)]
    ran = subprocess.run(command, cwd=ROOT, check=True, timeout=120, capture_output=True, text=True)
    assert missing(example.answer, ran.stdout) == []
