"""A real Chromium before a real service: skipped where Playwright or Debian's `chromium` is absent.

Playwright keeps an event loop running in the thread it was started in, which async tests elsewhere could not stand: whatever
touches it, the tests of this folder included, runs in a thread of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest

from tests.playground.looking import Opened, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
START_SECONDS = 200.0

T = TypeVar("T")

_thread = ThreadPoolExecutor(1, thread_name_prefix="browser")


def there(work: Callable[[], T]) -> T:
    """Do it in the browser's thread."""
    return _thread.submit(work).result()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests that have a page run where pages live."""
    if not {"page", "pages"} & pyfuncitem.funcargs.keys():
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    there(lambda: pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a process of the service answers with the embedded model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(ROOT / "service"), *sys.path])
    told = {"PYTHONPATH": path, "OMP_NUM_THREADS": "2", "DRLONGFORMER_SERVER__DRAIN_SECONDS": "0"}
    command = [sys.executable, "-c", "from drlongformer.cli import app; app()", "serve", "--port", port]
    with (tmp_path_factory.mktemp("service") / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | told, stdout=log, stderr=log)
        try:
            _until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                process.kill()


def _until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service ended"
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the service was not ready within {START_SECONDS:g} s")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright (pip install playwright)")
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt-get install chromium)")

    def launch() -> tuple[Any, Browser]:
        playwright = api.sync_playwright().start()
        return playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])

    playwright, browser = there(launch)
    yield browser
    there(browser.close)
    there(playwright.stop)


@pytest.fixture
def pages(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens pages of their own; in the end each is told what no page may ever do."""
    made: list[Opened] = []

    def open_(address: str, **options: Any) -> Opened:
        made.append(opened(browser, address, **options))
        return made[-1]

    yield open_
    for one in made:
        there(one.check)
        there(one.close)


@pytest.fixture(scope="session")
def visited(browser: Browser, address: str) -> Iterator[Opened]:
    """The page of the embedded model's service, in French, opened once: opening costs more than most tests."""
    one = there(lambda: opened(browser, address))
    yield one
    there(one.close)


@pytest.fixture
def page(visited: Opened) -> Iterator[Opened]:
    """The page as others left it; after each test it is looked at for what no page may ever do."""
    there(visited.forget)
    yield visited
    there(visited.check)
