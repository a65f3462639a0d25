"""Fixtures of the browser tests; tests/streaming/browser.py says how they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import Opened

LIVE_SERVER = Path(__file__).with_name("live_server.py")
UNHURRIED = ("offers=6000", "uploads=6000", "posts=6000", "everyone=60000")
"""Rates of a server that many tests ask one after the other."""


def server_command() -> tuple[str, ...]:
    """Starts tests/streaming/live_server.py, as ServerProcess takes it."""
    return sys.executable, str(LIVE_SERVER)


@pytest.fixture(scope="session")
def chromium() -> None:
    """A browser that can be driven; skips, with the reason, where there is none."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
    from playwright.sync_api import sync_playwright

    from streaming.bench.chromium import find_chromium

    if find_chromium() is not None:
        return
    with sync_playwright() as playwright:
        if not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("no Chromium or Chrome is installed; marotte doctor tells how to get one")


@pytest.fixture(scope="session")
def camera(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Path]]:
    """Fake cameras' files by clip and options, each made once in a run; gone at its end, for they are large."""
    from streaming.bench.clip import camera_clip

    folder = tmp_path_factory.mktemp("cameras")

    def make(name: str | Path | None, **options: Any) -> Path:
        driver = name
        if name is None:
            request.getfixturevalue("models")
        elif isinstance(name, str):
            below = name if "/" in name else f"drivers/{name}"
            driver = request.getfixturevalue("faces_root") / below
        return camera_clip(driver, folder, **options)

    yield make
    for path in folder.glob("*.y4m"):
        path.unlink()


class House:
    """A server whose tools fail on request (see faults.py), for all tests of a run that take it as it comes; each
    start costs seconds. `server` is the one that runs now, and ready. folder: of the faults' files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = self._served(0)

    def end(self) -> None:
        """As when the server is ended under its pages."""
        self.server.close()

    def start_again(self) -> None:
        """At the same address, with the same token."""
        self.server = self._served(self.server.about["port"])

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Inside, the tools fail in this way."""
        switch = self.folder / name
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()

    def _served(self, port: int) -> ServerProcess:
        from streaming.bench.run import wait_until_ready
        from streaming.bench.server import ServerProcess

        tools = {"tools": "tests.streaming.faults:FaultyTools", "tools_with": {"folder": str(self.folder)}}
        token = {"token": "a token that every server of the house has"}
        server = ServerProcess(tools | token | {"port": port, "rates": UNHURRIED}, server_command())
        server.__enter__()
        try:
            wait_until_ready(server)
        except BaseException:
            server.close()
            raise
        return server


@pytest.fixture(scope="session")
def house(models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The server that tests share; one that ends it starts it again."""
    house = House(tmp_path_factory.mktemp("faults"))
    yield house
    house.end()


@pytest.fixture
def serving(models: None) -> Callable[..., AbstractContextManager[ServerProcess]]:
    """Opens a real server, in a process of its own and with a real worker, as a context."""
    from streaming.bench.server import ServerProcess

    def serve(**options: Any) -> ServerProcess:
        return ServerProcess({"rates": UNHURRIED} | options, server_command())

    return serve


@pytest.fixture
def pages(chromium: None) -> Callable[..., AbstractContextManager[Opened]]:
    """Opens a real Chromium whose camera is a file, as a context."""
    from tests.streaming.browser import open_pages

    return open_pages
