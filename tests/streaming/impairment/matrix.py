"""The rows of the impairment matrix, what each is held to, and the table of what came of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.streaming.impairment.lane import Impairment
from tests.streaming.impairment.near import Seen, frozen
from tests.streaming.impairment.relay import Relay

WAY = Impairment(delay_s=0.01)
"""What every row begins with: 20 ms there and back."""
BURST = 3.0
FIRST_S = 2.0
BEGINNING_S = 1.0
"""After the first picture, which is not looked at for pictures that stand."""
LATEST_S = 0.25
MOST_BITS = 2_625_000
"""What 640x480 is sent with at most: a wider way is not filled."""
SETTLED_DOWN_S, SETTLED_UP_S, OVER_S = 5.0, 20.0, 5.0
TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """name: as it stands in the table. schedule: of both directions alike. freezes: the most of the time that the
    picture may stand, None where that is not held. first: whether the first picture's time is."""

    name: str
    schedule: tuple[tuple[float, Impairment], ...]
    seconds: float = 20.0
    freezes: float | None = None
    first: bool = True


def _row(name: str, freezes: float | None = None, **what: float) -> Row:
    way = replace(WAY, **what)
    return Row(name, ((0.0, way),), freezes=freezes, first=way.loss <= 0.05 and way.delay_s < 0.2)


def _steps(name: str, *at: tuple[float, float], seconds: float) -> Row:
    return Row(name, tuple((since, replace(WAY, bits=bits)) for since, bits in at), seconds, first=False)


ROWS = (
    _row("nothing", 0.02),
    *(_row(f"loss {loss:.0%}", most, loss=loss) for loss, most in ((0.01, 0.02), (0.05, 0.10), (0.10, None))),
    *(
        _row(f"loss {loss:.0%} in bursts of {BURST:g}", most, loss=loss, burst=BURST)
        for loss, most in ((0.01, 0.02), (0.05, 0.10), (0.10, None))
    ),
    *(_row(f"delay {1000 * delay:g} ms", 0.02, delay_s=delay) for delay in (0.05, 0.15, 0.3)),
    *(_row(f"jitter {1000 * jitter:g} ms", 0.02, jitter_s=jitter) for jitter in (0.02, 0.05)),
    _row("1 % out of order", 0.02, reorder=0.01),
    _row("delay 50 ms, jitter 20 ms, loss 1 %", None, delay_s=0.05, jitter_s=0.02, loss=0.01),
    *(_row(f"{bits / 1e6:g} Mb/s", None, bits=bits) for bits in (0.5e6, 1e6, 2e6, 4e6)),
    _steps("4, 1, 4 Mb/s", (0, 4e6), (10, 1e6), (25, 4e6), seconds=52),
    _steps("2, 0.5, 1 Mb/s", (0, 2e6), (10, 0.5e6), (25, 1e6), seconds=52),
)


@dataclass(frozen=True, slots=True)
class Result:
    """failed: what of the row does not hold, in words; empty where all does."""

    row: Row
    cells: tuple[str, ...]
    failed: tuple[str, ...]


HEAD = (
    "way", "first s", "pictures/s", "stands %", "age p50/p99/max ms", "key frames", "encoders",
    "down kb/s", "up kb/s", "load", "held",
)  # fmt: skip


def judge(row: Row, seen: Seen, relay: Relay) -> Result:
    """What came of one row."""
    failed = [seen.failed] if seen.failed else []
    if seen.first_s is None or not seen.shown_s:
        return Result(row, ("-",) * (len(HEAD) - 2), ("no picture",))
    if row.first and seen.first_s > FIRST_S:
        failed.append(f"first picture after {seen.first_s:.1f} s")
    since = BEGINNING_S
    stands = frozen(seen.shown_s, since, row.seconds)
    if row.freezes is not None and stands > row.freezes:
        failed.append(f"stands {stands:.1%}")
    ages = sorted(seen.ages)
    if ages and ages[-1] > LATEST_S:
        failed.append(f"a picture {1000 * ages[-1]:.0f} ms old")
    failed += _rates_off(row, relay)
    rates = ["/".join(f"{value / 1000:.0f}" for value in _rates(row, relay, way)) for way in ("down", "up")]
    cells = (
        f"{seen.first_s:.1f}",
        f"{len([at for at in seen.shown_s if at >= since]) / (row.seconds - since):.1f}",
        f"{100 * stands:.1f}",
        "/".join(f"{1000 * ages[int(part * (len(ages) - 1))]:.0f}" for part in (0.5, 0.99, 1.0))
        if ages
        else "-",
        str(seen.keys),
        str(seen.opened),
        *rates,
        f"{os.getloadavg()[0]:.0f}",
    )
    return Result(row, cells, tuple(failed))


def _windows(row: Row) -> list[tuple[float, float, float]]:
    """(since, until, bits) in which what comes out is to be near a limit."""
    limited = [(since, way.bits) for since, way in row.schedule if way.bits is not None]
    found = []
    for number, (since, bits) in enumerate(limited):
        before = limited[number - 1][1] if number else MOST_BITS
        settled = SETTLED_UP_S if number and bits > before else SETTLED_DOWN_S
        until = limited[number + 1][0] if number + 1 < len(limited) else row.seconds
        if number or len(limited) == 1:
            found.append((since + settled, min(until, since + settled + OVER_S), min(bits, MOST_BITS)))
    return found


def _rates(row: Row, relay: Relay, way: str) -> list[float]:
    windows = _windows(row)
    if not windows:
        return [relay.rate(way, row.seconds / 2, row.seconds)]
    return [relay.rate(way, since, until) for since, until, _ in windows]


def _rates_off(row: Row, relay: Relay) -> list[str]:
    """Of what the server sends; the other way is the client's own doing."""
    found = []
    for (_, _, bits), rate in zip(_windows(row), _rates(row, relay, "down"), strict=False):
        if abs(rate - bits) > TOLERANCE * bits:
            found.append(f"{rate / 1000:.0f} kb/s of {bits / 1000:.0f}")
    return found


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "| " + " | ".join(["---"] * len(HEAD)) + " |"]
    for result in results:
        held = "yes" if not result.failed else "no: " + "; ".join(result.failed)
        lines.append("| " + " | ".join((result.row.name, *result.cells, held)) + " |")
    return "\n".join(lines)
