"""Single bits of a bundle flipped, one at a time, anywhere in its files: each time the bundle is refused.

Files are chosen evenly, not by size, so that the small ones are met too.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from drlongformer import bundle
from drlongformer.errors import BundleError
from loadtests.bench import Bench
from loadtests.report import Report


async def run(bench: Bench) -> Report:
    """Flip, verify, mend."""
    return await asyncio.to_thread(_run, bench)


def _run(bench: Bench) -> Report:
    report, random, flips = Report(scenario="bitflips"), bench.random, bench.many(1000, 30)
    [name] = bundle.names(bench.store)
    source = bundle.find(bench.store, name)
    with tempfile.TemporaryDirectory() as store:
        folder = Path(store) / name / source.name
        shutil.copytree(source, folder)
        files = sorted(path.name for path in folder.iterdir())
        tried, refused = Counter[str](), Counter[str]()
        for _ in range(flips):
            file = files[int(random.integers(len(files)))]
            place, bit = int(random.integers((folder / file).stat().st_size)), int(random.integers(8))
            flip(folder / file, place, bit)
            tried[file] += 1
            refused[file] += _refused(folder)
            flip(folder / file, place, bit)
        whole = not _refused(folder)
    report.rows = [{"file": file, "flips": tried[file], "refused": refused[file]} for file in files]
    report.hold("every flip is refused", tried == refused, f"{refused.total()} of {tried.total()}")
    report.hold("without a flip the bundle is whole", whole)
    return report


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit where it is."""
    with path.open("r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))


def _refused(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except BundleError:
        return True
    return False
