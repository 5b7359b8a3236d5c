"""Packed bodies: read exactly as if they had come unpacked, and bounded however far they would grow."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from drlongformer.api.unpacking import FREE_BYTES, MAX_RATIO, content_coding, unpacked
from drlongformer.errors import BodyTooLarge, MalformedBody
from tests.api import services

PACKED = {"Content-Type": "application/json", "Content-Encoding": "gzip"}


async def whole(packed: bytes, max_bytes: int = 1 << 24) -> bytes:
    return b"".join([piece async for piece in unpacked(packed, max_bytes=max_bytes)])


@given(body=st.binary(max_size=5000), level=st.integers(0, 9))
async def test_unpacking_undoes_packing(body: bytes, level: int) -> None:
    assert await whole(gzip.compress(body, level)) == body


async def test_the_limit_of_unpacked_bytes_is_exact() -> None:
    body = random.Random(0).randbytes(700_000)
    assert await whole(gzip.compress(body), len(body)) == body
    with pytest.raises(BodyTooLarge, match=f"more than {len(body) - 1} bytes, the limit"):
        await whole(gzip.compress(body), len(body) - 1)


async def test_what_grows_too_far_is_refused_before_it_is_made() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    made = 0
    with pytest.raises(BodyTooLarge, match=f"more than {MAX_RATIO} times its {len(bomb)} bytes"):  # noqa: PT012
        async for piece in unpacked(bomb, max_bytes=1 << 40):
            made += len(piece)
    assert made <= MAX_RATIO * len(bomb)
    assert await whole(gzip.compress(bytes(FREE_BYTES)))  # the ratio of a small body does not matter


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"{}", "not gzip"),
        (gzip.compress(b"a" * 500)[:-9], "ends early"),
        (gzip.compress(b"a" * 500)[:15], "ends early"),
        (gzip.compress(b"a")[:-5] + b"xxxxx", "not gzip"),
        (gzip.compress(b"a") + b"behind", "6 bytes follow"),
        (gzip.compress(b"a") + gzip.compress(b"b"), "bytes follow"),
    ],
)
async def test_what_is_not_one_whole_gzip_body_is_refused(packed: bytes, words: str) -> None:
    with pytest.raises(MalformedBody, match=words):
        await whole(packed)


@pytest.mark.parametrize(
    ("sent", "coding"),
    [([], "identity"), (["GZIP"], "gzip"), (["x-gzip"], "gzip"), (["gzip", "gzip"], "gzip,gzip"), (["br"], "br")],
)
def test_codings_are_told_apart(sent: list[str], coding: str) -> None:
    assert content_coding(Headers(raw=[(b"content-encoding", each.encode()) for each in sent])) == coding


async def test_a_packed_request_is_answered_as_the_same_unpacked(tmp_path: Path) -> None:
    body = json.dumps({"inputs": "Le patient tousse. " * 20}).encode()
    served = services.service(tmp_path, tree=services.settings(max_body_bytes=max(1024, len(body))))
    async with services.client(served) as client:
        plain = await client.post("/tokenize", content=body, headers={"Content-Type": "application/json"})
        packed = await client.post("/tokenize", content=gzip.compress(body), headers=PACKED)
        too_large = await client.post("/tokenize", content=gzip.compress(b" " * 1000 + body), headers=PACKED)
        unknown = await client.post("/tokenize", content=body, headers={**PACKED, "Content-Encoding": "br"})
    assert plain.json() == packed.json()
    assert (too_large.status_code, unknown.status_code) == (413, 415)
    assert unknown.headers["accept-encoding"] == "gzip"
    assert served.settings.limits.max_body_bytes < len(body) + 1000


@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "canari1931"])
async def test_a_coding_that_is_not_unpacked_is_refused_on_every_surface(tmp_path: Path, coding: str) -> None:
    paths = ("/ner", "/v1/embeddings", "/hf/ner", "/tei/embed", "/v2/models/fake/infer")
    async with services.client(services.service(tmp_path)) as client:
        answers = [await client.post(path, content=b"x" * 9, headers={**PACKED, "Content-Encoding": coding}) for path in paths]
    assert [answer.status_code for answer in answers] == [415] * len(paths)
    assert all("with gzip alone" in answer.text and "canari1931" not in answer.text for answer in answers)
    assert {answer.headers["accept-encoding"] for answer in answers} == {"gzip"}
