"""Bytes that two readers could take for different requests are refused and the connection closed; over raw sockets."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from drlongformer.api.connection import CHUNK_BYTES, FREE_CHUNKS
from drlongformer.settings import Limits, Server, Settings
from tests.api.bad_bytes import FORMS, HEAD, LOOSE, SMUGGLED
from tests.api.serving import Running, running, until_closed, wait_until
from tests.api.test_server import Service

LIMIT = 1_500_000
SETTINGS = Settings(
    server=Server(drain_seconds=0.0, stop_seconds=1, idle_seconds=1),
    limits=Limits(max_body_bytes=LIMIT, header_seconds=2, body_seconds=2),
)


@pytest.fixture
def service() -> Service:
    return Service(SETTINGS.limits)


@pytest.fixture
def peer(service: Service) -> Iterator[Running]:
    with running(service.app, settings=SETTINGS, lifecycle=service.lifecycle, refused=service.refused) as server:
        yield server


def refused(answer: bytes, status: int) -> str:
    """What the one answer to these bytes says."""
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1  # what was smuggled behind it was not read
    assert b"connection: close" in answer.lower()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["detail"])


@pytest.mark.parametrize("form", FORMS)
def test_a_body_whose_length_can_be_read_in_two_ways_is_refused(form: str, service: Service, peer: Running) -> None:
    refused(peer.exchange(HEAD + FORMS[form]), 400)
    wait_until(lambda: service.counts() == {"400": 1})


@pytest.mark.parametrize("form", LOOSE)
def test_other_loose_spellings_are_refused(form: str, peer: Running) -> None:
    refused(peer.exchange(LOOSE[form]), 400)


@pytest.mark.parametrize("digits", [7, 19, 20, 21, 30, 31, 400, 4000])
def test_a_length_of_any_number_of_digits_over_the_limit_is_refused_at_once(
    digits: int, service: Service, peer: Running
) -> None:
    started = time.monotonic()
    with peer.connect() as client:
        client.sendall(HEAD + b"Content-Length: " + b"9" * digits + b"\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
    assert time.monotonic() - started < 1.5
    told = refused(answer, 413)
    assert f"the limit is {LIMIT}" in told
    assert ("9" * digits in told) == (digits <= 30)
    assert f"{digits} digits" in told or digits <= 30
    assert service.counts() == {"413": 1}


@pytest.mark.parametrize("size", [b"%x" % (LIMIT + 1), b"f" * 19, b"F" * 20])
def test_a_chunk_that_announces_too_much_is_refused_at_once(size: bytes, service: Service, peer: Running) -> None:
    started = time.monotonic()
    with peer.connect() as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
        told = refused(until_closed(client), 413)
    assert time.monotonic() - started < 1.5
    assert re.findall(r"\d+", told) == [str(LIMIT)]  # none of the digits that came
    wait_until(lambda: service.counts() == {"413": 1})
    assert service.refusals() == {"body_too_large": 1}


GOOD = HEAD + b"Content-Length: 3\r\n\r\nabc"
LAST = HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.parametrize("sent", [b"\r\n" + LAST, GOOD + b"\r\n" + LAST, b"\r\n" + GOOD + b"\r\n" + GOOD + b"\r\n" + LAST])
def test_one_empty_line_before_a_request_is_passed_over(sent: bytes, service: Service, peer: Running) -> None:
    answer = peer.exchange(sent)
    requests = sent.count(b"POST ")
    assert answer.count(b"HTTP/1.1 200 ") == answer.count(b"HTTP/1.1 ") == requests
    wait_until(lambda: service.counts() == {"200": requests})


def test_an_empty_line_may_come_in_two_halves(peer: Running) -> None:
    with peer.connect() as client:
        for part in (b"\r", b"\n", LAST):
            client.sendall(part)
            time.sleep(0.1)
        assert until_closed(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "before", [b"\r\n\r\n", b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n\n", b"\r\n ", b"\0\r\n", b"0\r\n\r\n"]
)
def test_nothing_else_is_passed_over(before: bytes, peer: Running) -> None:
    refused(peer.exchange(before + LAST), 400)
    answer = peer.exchange(GOOD + before + LAST)
    assert (answer.count(b"HTTP/1.1 200 "), answer.count(b"HTTP/1.1 400 "), answer.count(b"HTTP/1.1 ")) == (1, 1, 2)


@pytest.mark.parametrize("form", FORMS)
def test_behind_an_empty_line_a_body_is_read_as_strictly(form: str, peer: Running) -> None:
    refused(peer.exchange(b"\r\n" + HEAD + FORMS[form]), 400)


def test_an_empty_line_alone_is_no_request_and_keeps_no_connection(service: Service, peer: Running) -> None:
    assert peer.exchange(b"\r\n") == b""
    assert service.counts() == {}


def test_a_million_chunks_are_refused_after_the_first_thousand(service: Service, peer: Running) -> None:
    started = time.monotonic()
    answer = peer.exchange(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000_000)
    assert time.monotonic() - started < 5
    if answer:  # who still writes may be cut off before it reads
        assert f"the limit is {FREE_CHUNKS}" in refused(answer, 413)
    wait_until(lambda: service.counts() == {"413": 1})


def test_chunks_of_a_sound_size_are_read_however_many(service: Service, peer: Running) -> None:
    chunk = b"%x\r\n%s\r\n" % (CHUNK_BYTES, b"x" * CHUNK_BYTES)
    count = LIMIT // CHUNK_BYTES
    assert count > FREE_CHUNKS + 100
    sent = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * count + b"0\r\n\r\n"
    assert peer.exchange(sent).endswith(str(count * CHUNK_BYTES).encode())
    wait_until(lambda: service.counts() == {"200": 1})


def test_pipelined_requests_are_answered_in_order_and_end_at_the_first_that_is_not_http(
    service: Service, peer: Running
) -> None:
    good = [HEAD + b"Content-Length: %d\r\n\r\n%s" % (size, b"x" * size) for size in (1, 22, 333)]
    answer = peer.exchange(b"".join(good) + HEAD + b"Content-Length: 1, 2\r\n\r\nabc" + SMUGGLED)
    places = [answer.index(b"\r\n\r\n" + size) for size in (b"1", b"22", b"333")]
    assert places == sorted(places)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert answer.count(b"HTTP/1.1 ") == 4
    wait_until(lambda: service.counts() == {"200": 3, "400": 1})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]:8000", "localhost."])
def test_this_machine_may_be_asked_by_its_own_names(host: str, peer: Running) -> None:
    sent = f"POST /size HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    assert peer.exchange(sent.encode()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "a:b:c"]
)
def test_a_foreign_host_is_misdirected(host: str, service: Service, peer: Running) -> None:
    sent = f"POST /size HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx"
    told = refused(peer.exchange(sent.encode()), 421)
    assert "evil" not in told
    assert "ALLOWED_HOSTS" in told
    wait_until(lambda: service.counts() == {"421": 1})
    assert service.refusals() == {"foreign_host": 1}


def test_a_probe_of_http_1_0_needs_no_host(peer: Running) -> None:
    assert peer.exchange(b"POST /size HTTP/1.0\r\nContent-Length: 1\r\n\r\nx").startswith(b"HTTP/1.1 200 ")


def test_a_foreign_host_in_the_target_counts_too(peer: Running) -> None:
    sent = b"POST http://evil.example/size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
    refused(peer.exchange(sent), 421)


def shut_down_after(path: str, peer: Running) -> bytes:
    """A whole request, then the end of the peer's side; what comes back."""
    with peer.connect() as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n30".encode())
        client.shutdown(1)
        return until_closed(client)


def test_a_peer_that_shuts_down_its_side_has_left_and_nothing_is_counted_as_answered(service: Service, peer: Running) -> None:
    assert shut_down_after("/wait", peer) == b""
    wait_until(lambda: service.counts() == {"499": 1})
    assert service.refusals() == {}
    assert service.departures() == {"receive": 1}


def test_an_answer_that_is_quicker_than_the_shutdown_is_counted_as_what_was_sent(service: Service, peer: Running) -> None:
    status = "200" if shut_down_after("/size", peer) else "499"
    wait_until(lambda: service.counts() == {status: 1})
    assert service.refusals() == {}


def test_a_peer_that_leaves_before_its_body_is_whole_is_a_departure_and_no_refusal(service: Service, peer: Running) -> None:
    with peer.connect() as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\nabc")
    wait_until(lambda: service.counts() == {"499": 1})
    assert service.refusals() == {}
    assert service.departures() == {"receive": 1}
