"""What `--normalise` gives back of what damaged exports take: one model, the same documents, in turns; one JSON line last.

    python loadtests/normalisation.py DATA [--bundle model_store/drlongformer-mini/3] [--sets e3c_clinical,leaflet_atc]
                                      [--documents 60] [--seed 0] [--threads 1]

DATA is a data folder with `leaflet_atc` and `e3c_clinical`. Their dev documents are read clean and in damaged forms: wrapped at
80 characters with hyphenated words, with a header on every page, with UTF-8 read as Windows-1252, and with all three. Each form
is read as it stands and under all rules, by a model that was trained without any; gold spans move with their characters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drlongformer.text.tokenizer import Tokenizer
from drlongformer.training.corpus import DataFolder
from drlongformer.training.evaluate import OwnFiles, records_of
from drlongformer.training.exams import exam_of
from drlongformer.training.measure import difference, measured
from drlongformer.training.predictions import answered
from drlongformer.training.records.augment import Rewritten, rewriting, rewritten
from drlongformer.training.robustness import headers
from drlongformer.training.scores import Tally
from drlongformer.training.subject import Subject
from drlongformer.types import RULES

POLICIES = ("train", "train-nc")
SETS = {"e3c_clinical": "clinical", "leaflet_atc": "atc"}
"""Sets, and the head that is scored on each."""


def mojibake(text: str) -> Rewritten:
    """UTF-8 read as Windows-1252, and as Latin-1 where that has no sign."""
    pieces = ["".join(_misread(byte) for byte in letter.encode()) for letter in text]
    length = np.array([len(piece) for piece in pieces], dtype=np.int64)
    end = np.cumsum(length)
    return Rewritten(text="".join(pieces), begin=end - length, end=end)


def _misread(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


DAMAGES: Mapping[str, tuple[Callable[[str], Rewritten], ...]] = {
    "clean": (),
    "wrapped": (rewriting("wrap"),),
    "headers": (headers,),
    "mojibake": (mojibake,),
    "all": (rewriting("wrap"), headers, mojibake),
}


def normalising(subject: Subject, bundle: Path) -> Subject:
    """The same model, whose texts are put right before it reads them."""
    spec = subject.spec.model_copy(update={"normalisation": RULES})
    return replace(subject, spec=spec, tokenizer=Tokenizer.from_file(bundle / spec.file, spec=spec))


def sampled(records: list[Any], most: int, seed: int) -> list[Any]:
    """So many of the records, drawn by the seed, in their order."""
    chosen = sorted(np.random.default_rng(seed).permutation(len(records))[:most].tolist())
    return [records[place] for place in chosen]


def tallied(subject: Subject, head: str, records: list[Any]) -> tuple[Tally, dict[str, Any]]:
    """The answers to records counted, and their first score."""
    exam = exam_of(subject.head(None, head), records)
    found = list(answered(subject, exam.prepared(subject, records)))
    tally = exam.tally(records, [one.answer for one in found])
    return tally, measured(tally, np.array([one.tokens for one in found], dtype=np.int64))


def main() -> None:
    """Score, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("model_store/drlongformer-mini/3"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    plain = Subject.load(given.bundle, threads=given.threads)
    readers = {"as it stands": plain, "normalised": normalising(plain, given.bundle)}
    folder = DataFolder(given.data, policies=POLICIES)
    told: dict[str, Any] = {"bundle": plain.provenance["bundle"], "seed": given.seed}
    for name in given.sets.split(","):
        folder.source(name)
        head = SETS[name]
        path = given.data / name / "dev.jsonl"
        records = sampled(list(records_of(path, plain.head(None, head), OwnFiles(test=path))), given.documents, given.seed)
        for damage, steps in DAMAGES.items():
            damaged = records
            for step in steps:
                damaged = [rewritten(record, step) for record in damaged]
            scored = {way: tallied(subject, head, damaged) for way, subject in readers.items()}
            groups = [record.group for record in damaged]
            gain = difference(scored["normalised"][0], scored["as it stands"][0], groups, draws=1000, seed=given.seed)
            found = {way: round(scores[gain["of"]], 4) for way, (_, scores) in scored.items()}
            told[f"{name}/{damage}"] = {"documents": len(records), "score": gain["of"], **found, "gain": gain}
            low, high = gain["interval"]
            interval = f"({low:+.4f} to {high:+.4f})"
            print(f"{name:>14} {damage:>9} {gain['of']} {found} gain {gain['value']:+.4f} {interval}", flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
