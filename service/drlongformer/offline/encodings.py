"""How the bytes of a file are read: as told, or found out, with a word about what was found.

UTF-8 proves itself: hardly any other text is valid UTF-8 by chance. What is not is looked at by `charset-normalizer`, among
the encodings that French hospitals export: Windows-1252 (which reads Latin-1 too), Mac, DOS and UTF-16. A file that is UTF-8
but for a few bytes stays UTF-8, and its bad records are told one by one; JSON lines, which are UTF-8 by definition, stay so as
long as there is one letter with an accent in it.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from charset_normalizer import from_bytes

from drlongformer.errors import RunError

AUTO: Final = "auto"
UTF8: Final = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""
CANDIDATES: Final = ("cp1252", "mac_roman", "cp850", "utf_16")
CHUNK_BYTES: Final = 1 << 20
SAMPLE_BYTES: Final = 1 << 16
FRENCH: Final = re.compile("[àâäçéèêëîïôöùûüÿœæÀÂÇÉÈÊËÎÏÔÙÛŒÆ«»’…–€°\u00a0\n ]")
UNREADABLE: Final = re.compile("[\udc80-\udcff]")
"""A byte that the encoding does not have, as `errors="surrogateescape"` shows it."""
LETTER: Final = re.compile("[^\x00-\x7f\udc80-\udcff]")
"""What takes several bytes in UTF-8, with such bytes around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """encoding: None where none could be told. bad_byte: the place of the first byte that is not UTF-8, None where all are."""

    encoding: str | None
    bad_byte: int | None = None


def check(encoding: str) -> str:
    """The encoding's name as Python has it, or `auto`. Raises RunError."""
    if encoding == AUTO:
        return AUTO
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError:
        raise RunError(f"{encoding!r} is no encoding of texts; say utf-8, cp1252 or auto") from None
    return UTF8 if name == "utf-8" else name


def worded(encoding: str) -> str:
    """The encoding as people are told of it: Python's name of what reads UTF-8 would claim a byte order mark of every file."""
    return "utf-8" if encoding == UTF8 else encoding


def detect(file: BinaryIO, *, json_lines: bool = False) -> Detected:
    """Look at a file from its beginning to its end, or to the first byte that is not UTF-8.

    json_lines: whether it is to be UTF-8; it is then looked at as far as its first letter beyond ASCII, if there is any.
    """
    start = file.read(2)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return Detected(encoding="utf-16", bad_byte=0)
    decoder, chunk, before, letters = codecs.getincrementaldecoder("utf-8")(), start, 0, False
    while True:
        pending = len(decoder.getstate()[0])
        try:
            letters |= not decoder.decode(chunk, final=not chunk).isascii()
        except UnicodeDecodeError as error:
            bad = before - pending + error.start
            around = max(0, error.start - SAMPLE_BYTES)
            sample = error.object[around:] + file.read(SAMPLE_BYTES)
            if json_lines and (letters or _has_letters(sample, file)):
                return Detected(encoding=UTF8, bad_byte=bad)
            return Detected(encoding=_among_candidates(sample[: 2 * SAMPLE_BYTES]), bad_byte=bad)
        if not chunk:
            return Detected(encoding=UTF8)
        before += len(chunk)
        chunk = file.read(CHUNK_BYTES)


def _has_letters(begun: bytes, rest: BinaryIO) -> bool:
    """Whether UTF-8 beyond ASCII stands in these bytes, or in what follows them."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    chunk = begun
    while chunk:
        if LETTER.search(decoder.decode(chunk)) is not None:
            return True
        chunk = rest.read(CHUNK_BYTES)
    return False


def decoded(content: bytes, encoding: str) -> str:
    """A whole text, line ends as they stand; what the encoding cannot read matches UNREADABLE."""
    return content.decode(encoding, errors="surrogateescape")


def _among_candidates(sample: bytes) -> str | None:
    """The most likely encoding of bytes that are not all UTF-8."""
    shown = sample.decode("utf-8", errors="surrogateescape")
    bad = len(UNREADABLE.findall(shown))
    if len(LETTER.findall(shown)) >= bad:
        return UTF8
    matches = list(from_bytes(sample, cp_isolation=list(CANDIDATES)))
    # On short texts the library's own order mixes DOS with Windows; accents that French has decide, then that order.
    return max(matches, key=lambda match: len(FRENCH.findall(str(match)))).encoding if matches else None
