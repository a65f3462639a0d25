"""Consent that ends while somebody is shown, over a real connection: the face leaves the picture, whoever ended it, and
the session says why. How soon is measured on a quiet machine (mark full); the fade itself has a clock of its own in
test_outlet_withheld.py."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from engine.consent import ConsentError, Kind
from engine.types import U8
from streaming.consent_watch import ConsentWatch
from streaming.consents import Consents
from tests.streaming.calls import Browser, Call, Camera, FakeWorker, call, plain, source_info

SOURCE, OTHER = "a" * 64, "b" * 64
HUE = (200, 60, 40)
WITHIN_S = 2.0


def coloured(planes: U8) -> bool:
    """Whether the middle of a picture has a colour, as the portrait has and the grey has not."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    chroma = planes[height:].reshape(2, height // 2, width // 2).astype(int) - 128
    return bool(np.abs(chroma[:, height // 8 : height // 4, width // 8 : width // 4]).mean() > 8)


def allow(consents: Consents, source: str, expires: datetime | None = None) -> str:
    return consents.store.attest(
        [source], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.", expires=expires
    ).id


@asynccontextmanager
async def shown(consents: Consents) -> AsyncIterator[Call]:
    """A call that shows the portrait, by a worker that shows it whatever happens."""
    still, other = source_info(SOURCE, HUE), source_info(OTHER, (40, 60, 200))
    worker = FakeWorker(still, other)
    worker.making = lambda session, rgb, stamp: still.still.copy()
    worker.start()
    found = {SOURCE: still, OTHER: other}
    try:
        camera = Camera(lambda number: plain((90, 90, 90)))
        async with call(worker, still, camera, sources=found.get, consents=consents) as made:
            watching = asyncio.ensure_future(ConsentWatch(lambda: [made.peer.session], consents).watch())
            await made.browser.until(lambda: coloured(made.browser.pictures[-1]))
            yield made
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    finally:
        worker.close()


async def gone(browser: Browser) -> float:
    """When the first picture without the face came; every one that follows is without it too."""
    await browser.until(lambda: not coloured(browser.pictures[-1]))
    at, count = time.monotonic(), len(browser.pictures)
    await browser.until(lambda: len(browser.pictures) > count + 3)
    assert not any(coloured(picture) for picture in browser.pictures[count:])
    return at


async def by_command(record: str) -> None:
    """`marotte consent revoke`, in a process of its own."""
    words = (sys.executable, "-m", "marotte", "consent", "revoke", record, "--why", "asked for")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def _revoked(consents: Consents, end: Callable[[str], Awaitable[None]]) -> float:
    """Seconds from the end of consent until the face was gone."""
    record = allow(consents, SOURCE)
    async with shown(consents) as made:
        browser = made.browser
        assert browser.report("withheld") is None
        await end(record)
        ended_s = time.monotonic()
        took_s = await gone(browser) - ended_s
        await browser.until(lambda: "was revoked" in (browser.report("withheld") or ""))
        assert "next step" in browser.report("withheld")
        await browser.say(seq=5, change={"source": OTHER})
        await browser.until(lambda: any(one["ack"] == 5 and "error" in one for one in browser.heard("ack")))
        allow(consents, OTHER)
        made.worker.making = lambda session, rgb, stamp: None
        await browser.say(seq=6, change={"source": OTHER})
        await browser.until(lambda: any(one["ack"] == 6 and "changes" in one for one in browser.heard("ack")))
    return took_s


def test_consent_that_is_revoked_elsewhere_ends_the_picture(real_consent: Path) -> None:
    """By the command line, in another process: grey with the badge, the reason in the report, and a change to another
    portrait only with that one's own record."""
    asyncio.run(_revoked(Consents(), by_command))


@pytest.mark.full
def test_the_face_is_gone_within_two_seconds(real_consent: Path) -> None:
    """Measured at the browser's end of a real connection."""
    consents = Consents()

    async def end(record: str) -> None:
        await asyncio.to_thread(consents.store.revoke, record, "asked for")

    took_s = asyncio.run(_revoked(consents, end))
    print(f"gone after {took_s:.2f} s")
    assert took_s < WITHIN_S


def test_consent_that_runs_out_ends_the_picture(real_consent: Path) -> None:
    """At its time, though nobody did anything."""
    consents = Consents()
    allow(consents, SOURCE, datetime.now(UTC) + timedelta(seconds=4))

    async def run() -> None:
        async with shown(consents) as made:
            await gone(made.browser)
            await made.browser.until(lambda: "expired" in (made.browser.report("withheld") or ""))

    asyncio.run(run())


def test_nobody_is_shown_without_consent(real_consent: Path) -> None:
    """The offer itself is refused."""

    async def run() -> None:
        async with shown(Consents()):
            pytest.fail("was opened")

    with pytest.raises(ConsentError, match="next step"):
        asyncio.run(run())
