"""The security page holds no claim without a test, and names no test that is not there.

What is a claim is decided by form, so that nobody has to judge: every row, list item and paragraph outside of the chapters that
say what is *not* claimed. A paragraph that ends in a colon introduces others. nginx's lines that the page shows are tried here.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtests import proxy
from loadtests.proxy import Proxy
from loadtests.server import free_port
from tests.api.test_audit import ask, audited, lines
from tests.certificates import certify
from tests.loadtests.test_proxy import CANARY, Replica, before_one, needs_nginx, nginx

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"\[(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)\]")
CLAIMING_NOTHING = {
    "Security, for those who audit it",
    "How to read this page",
    "Assets and actors",
    "Requirements of law and reference documents",
    "The operator's part",
    "Known limits",
    "Not tested",
    "Not a medical device",
    "Sources",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A row, list item or paragraph, and the (file, function) pairs that it names."""

    chapter: str
    words: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        return REFERENCE.findall(self.words)


def chapters(page: str) -> Iterator[tuple[str, str]]:
    """Titles and what stands below each up to the next, without code."""
    parts = re.split(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def blocks(text: str) -> Iterator[str]:
    """Rows without their headings, list items, paragraphs."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("|"):
            yield from paragraph.splitlines()[2:]
        elif paragraph.startswith("* "):
            yield from re.split(r"\n(?=\* )", paragraph)
        elif paragraph:
            yield paragraph


def claims(page: str) -> list[Claim]:
    return [
        Claim(chapter=chapter, words=block)
        for chapter, text in chapters(page)
        if chapter not in CLAIMING_NOTHING
        for block in blocks(text)
        if block.startswith("|") or not block.endswith(":")
    ]


@functools.cache
def functions(file: str) -> frozenset[str]:
    """What pytest finds in a file: the functions at its top."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module(body=[], type_ignores=[])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_claim_names_a_test() -> None:
    found = claims(PAGE)
    assert len(found) > 100
    assert [claim for claim in found if not claim.tests] == []


def test_every_test_that_is_named_is_there() -> None:
    named = {pair for _, text in chapters(PAGE) for pair in REFERENCE.findall(text)}
    assert len(named) > 80
    assert sorted((file, name) for file, name in named if name not in functions(file)) == []
    assert len(REFERENCE.findall(PAGE)) == PAGE.count("::test_") - PAGE.count("::test_[")  # none is written in another way


@pytest.mark.parametrize(
    "written",
    [
        "| what | test |\n|---|---|\n| Nothing is kept. | |",
        "* One [tests/a.py::test_a]\n* Nothing is kept.",
        "Nothing is kept.",
        "Nothing is kept [tests/a.py].",
        "As follows:\n\nNothing is kept.",
    ],
)
def test_a_claim_without_a_test_is_seen(written: str) -> None:
    found = claims(f"# Title\n\n## Keys\n\n{written}\n\n## Sources\n\nA book.\n")
    assert len([claim for claim in found if not claim.tests]) == 1


def test_the_page_has_the_chapters_of_an_audit() -> None:
    titles = [title for title, _ in chapters(PAGE)]
    assert len(titles) == len(set(titles))
    assert set(titles) >= CLAIMING_NOTHING | {
        "Data flows",
        "What is stored",
        "Keys",
        "TLS, client certificates, named users",
        "Logs and retention",
        "Threat model",
        "GDPR (RGPD)",
        "CNIL: health data warehouses",
        "PGSSI-S",
        "HDS",
    }


def shaken(port: int, version: str) -> str:
    """What openssl says of a handshake in one version of TLS, weak ones allowed on its side."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "DEFAULT@SECLEVEL=0"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=30)
    return done.stdout + done.stderr


@needs_nginx
async def test_the_proxy_speaks_tls_of_two_versions_alone() -> None:
    async with before_one(Replica(200)) as before:
        client = before.client()
        assert (await client.ask("/embed", b"{}")).headers["strict-transport-security"] == "max-age=31536000"
        await client.close()
        said = [await asyncio.to_thread(shaken, before.port, version) for version in ("-tls1_2", "-tls1_3", "-tls1_1", "-tls1")]
    assert "New, TLSv1.2, Cipher" in said[0]
    assert "New, TLSv1.3, Cipher" in said[1]
    assert all("alert protocol version" in each for each in said[2:])
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "deploy").rglob("*.conf")]
    told = [versions for text in texts for versions in re.findall(r"^\s*ssl_protocols (.*);$", text, re.MULTILINE)]
    assert told == ["TLSv1.2 TLSv1.3"] * 2  # OpenSSL may refuse older ones by itself: so that it is not it alone


def demand_certificates(folder: Path) -> None:
    """Do to a configuration what the page says."""
    told = dict(re.findall(r"^```nginx\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
    assert told.keys() == {"listen.conf", "upstream.conf", "nginx.conf"}
    for name in ("listen.conf", "upstream.conf"):
        (folder / name).write_text((folder / name).read_text(encoding="utf-8") + told[name], encoding="utf-8")
    main = (folder / "nginx.conf").read_text(encoding="utf-8")
    assert main.count('proxy_set_header X-Remote-User "";') == 1
    main = main.replace('proxy_set_header X-Remote-User "";', told["nginx.conf"])
    (folder / "nginx.conf").write_text(main, encoding="utf-8")


@contextlib.asynccontextmanager
async def demanding(folder: Path, replica: Replica) -> AsyncIterator[Proxy]:
    """The shipped nginx with the lines of the page, before one replica."""
    assert nginx is not None
    async with await asyncio.start_server(replica, "127.0.0.1", 0) as server:
        port = free_port()
        proxy.configure(folder, port=port, replicas=[server.sockets[0].getsockname()[1]])
        certify(folder / "tls" / "users", "/CN=users of the hospital")
        demand_certificates(folder)
        with (folder / "nginx.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *proxy.command(nginx, folder, "-g", "daemon off;"), stdout=log, stderr=log
            )
        try:
            running = Proxy(process=process, port=port, folder=folder)
            await proxy._listening(running)
            yield running
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@needs_nginx
async def test_the_lines_of_the_page_demand_certificates_and_name_their_holder(tmp_path: Path) -> None:
    replica, folder = Replica(200), tmp_path / "nginx"
    async with demanding(folder, replica) as before:
        certify(tmp_path / "martin", "/O=Hospital/CN=dr.martin", authority=folder / "tls" / "users")
        certify(tmp_path / "blank", "/O=Hospital/CN=dr.martin, dr.durand", authority=folder / "tls" / "users")
        certify(tmp_path / "stranger", "/O=Hospital/CN=dr.martin")
        statuses = []
        for holder in ("martin", "blank", "stranger", None):
            client = before.client()
            assert client.tls is not None
            if holder is not None:
                client.tls.load_cert_chain(tmp_path / f"{holder}.crt", tmp_path / f"{holder}.key")
            statuses.append((await client.ask("/embed", b"{}", {"X-Remote-User": CANARY})).status)
            await client.close()
    assert statuses == [200, 200, 400, 400]
    named, nameless = replica.heads
    assert "X-Remote-User: dr.martin\r\n" in named
    assert "X-Remote-User" not in nameless
    assert CANARY not in named + nameless


async def test_a_whole_subject_is_no_name_for_the_audit(tmp_path: Path) -> None:
    service = audited(tmp_path)
    await ask(service, {"headers": {"X-User": "CN=dr.martin,O=Hospital"}}, {"headers": {"X-User": "dr.martin"}})
    assert [line["user"] for line in lines(tmp_path)] == ["?", "dr.martin"]
