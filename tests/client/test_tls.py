"""The client through TLS: which authority it believes, and the certificate that it shows."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from drlongformer import AsyncClient, Client
from drlongformer.client import Unreachable, Untrusted
from tests.certificates import certify
from tests.client.served import serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt install openssl")


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.asynccontextmanager
async def _terminating(context: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """The port at which TLS is spoken for a plain one."""

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    async with await asyncio.start_server(between, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.contextmanager
def _in_a_thread(context: ssl.SSLContext, port: int) -> Iterator[str]:
    """The address of `_terminating`, in an event loop of its own."""
    ready, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    found: list[int] = []

    async def work() -> None:
        async with _terminating(context, port) as at:
            found.append(at)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield f"https://127.0.0.1:{found[0]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
        loop.close()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a host's certificate and a person's, both of that authority; and an authority nobody knows."""
    folder = tmp_path_factory.mktemp("papers")
    certify(folder / "authority", "/CN=authority of the hospital")
    certify(folder / "host", "/CN=service", authority=folder / "authority", name="IP:127.0.0.1")
    certify(folder / "person", "/CN=data team", authority=folder / "authority")
    certify(folder / "stranger", "/CN=another authority")
    return folder


@pytest.fixture(scope="module")
def addresses(papers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The service behind TLS, and behind TLS that asks callers for a certificate."""
    open_to_all, asking = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    for context in (open_to_all, asking):
        context.load_cert_chain(papers / "host.crt", papers / "host.key")
    asking.load_verify_locations(papers / "authority.crt")
    asking.verify_mode = ssl.CERT_REQUIRED
    with serving(tmp_path_factory.mktemp("served")) as (url, _):
        port = urlsplit(url).port
        assert port is not None
        with _in_a_thread(open_to_all, port) as first, _in_a_thread(asking, port) as second:
            yield first, second


def test_the_authority_that_is_named_is_believed_and_no_other(papers: Path, addresses: tuple[str, str]) -> None:
    with Client(addresses[0], ca=papers / "authority.crt") as client:
        assert client.ner("Toux sèche.").results[0].tokens > 2
    for other in (None, papers / "stranger.crt"):
        with Client(addresses[0], ca=other, deadline_seconds=1e6) as client:  # with pauses, it would take a minute
            with pytest.raises(Untrusted, match="CERTIFICATE_VERIFY_FAILED"):
                client.ner("Toux sèche.")
            with pytest.raises(Untrusted):
                client.is_ready()


async def test_the_client_of_an_event_loop_believes_alike(papers: Path, addresses: tuple[str, str]) -> None:
    async with AsyncClient(addresses[0], ca=papers / "authority.crt") as client:
        assert (await client.ner("Toux sèche.")).results[0].tokens > 2
    async with AsyncClient(addresses[0]) as client:
        with pytest.raises(Untrusted):
            await client.ner("Toux sèche.")


def test_a_certificate_of_its_own_is_shown_where_one_is_asked_for(papers: Path, addresses: tuple[str, str]) -> None:
    own = (papers / "person.crt", papers / "person.key")
    with Client(addresses[1], ca=papers / "authority.crt", certificate=own) as client:
        assert client.ner("Toux sèche.").results[0].tokens > 2
    with Client(addresses[1], ca=papers / "authority.crt", retries=0) as client, pytest.raises(Unreachable):
        client.ner("Toux sèche.")
