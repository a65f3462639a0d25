"""Two real servers, as two processes of `marotte serve`: one pulls from the other and pushes to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streaming.listen import bind
from tests.streaming.calls import Camera
from tests.streaming.doorstep import TOKEN, Site
from tests.streaming.remote.test_two_servers import is_up, remotes, tinted
from tests.streaming.whip.house import until
from tests.streaming.whip.test_connections import client

ROOT = Path(__file__).resolve().parents[3]
READY_S = 120.0
AGAIN_S = 90.0


class Served:
    """One process. site: to ask it."""

    def __init__(self, port: int, folder: Path, *options: str) -> None:
        self.site: Any = Site(port, None, None, None, None, None)  # type: ignore[arg-type]
        self.log = folder / f"{port}.log"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(TOKEN, encoding="utf-8")
        command = [
            sys.executable, "marotte.py", "serve", "--port", str(port), "--token-file", str(folder / "token"),
            "--in-process", "--rate", "offers=600", "--admission", "off", *options,
        ]  # fmt: skip
        environment = os.environ | {"MAROTTE_STATE": str(folder / "state"), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        until_s = time.monotonic() + READY_S
        while time.monotonic() < until_s and self.process.poll() is None:
            try:
                if self.site.ask("GET", "/readyz").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.words())

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def close(self, *, at_once: bool = False) -> None:
        if at_once:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(30)


@contextmanager
def served(port: int, folder: Path, *options: str) -> Iterator[Served]:
    one = Served(port, folder, *options)
    try:
        one.wait()
        yield one
    finally:
        one.close()


def free_port() -> int:
    with bind("127.0.0.1", 0) as opened:
        return int(opened.getsockname()[1])


async def publish(far: Served, near: Served, connects: int) -> None:
    """A driver at the far server, until the near one has pulled what it sends, and pushed what it made of it."""
    async with client(far.site, Camera(tinted)) as driver:
        assert (await driver.post("/whip/stage")).status == 201
        await until(lambda: all(is_up(near.site, connects, at) for at in (0, 1)), AGAIN_S)
        await until(lambda: remotes(near.site)[0]["sent"]["fps"], AGAIN_S)
        metrics = near.site.ask("GET", "/metrics").body.decode()
        assert 'marotte_remotes{kind="pull",state="up"} 1.0' in metrics
        assert 'marotte_remotes{kind="push",state="up"} 1.0' in metrics
        assert "marotte_sessions 2.0" in far.site.ask("GET", "/metrics").body.decode()
        lost = 'marotte_remotes_lost_total{kind="pull",reason="lost"} '
        assert f"{lost}{connects - 1}.0" in metrics
        if connects == 1:
            far.close(at_once=True)
            driver.place = ""  # nobody is there to be told of an end


@pytest.mark.full
def test_a_killed_server_is_found_again(models: None, tmp_path: Path) -> None:
    """What it left behind is noticed by silence; when it is back pull and push are too, with no hand at them."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    key = tmp_path / "key"
    key.write_text(TOKEN, encoding="utf-8")
    options = ["--pull", f"{url}/whep/stage", "--pull-token-file", str(key)]
    options += ["--push", f"live={url}/whip/back", "--push-token-file", str(key)]
    with served(free_port(), tmp_path / "near", *options) as near:
        with served(port, tmp_path / "far") as far:
            asyncio.run(publish(far, near, 1))
        asyncio.run(until(lambda: remotes(near.site)[1]["state"] != "up", AGAIN_S))
        with served(port, tmp_path / "far") as far:
            asyncio.run(publish(far, near, 2))
        told = remotes(near.site)
        assert all(one["failures"] >= 1 for one in told)
        assert TOKEN not in near.words()
