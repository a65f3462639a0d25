"""Whether one more session has room beside those that run, decided by what they are measured to cost.

Nothing is measured here: streaming/load.py does that, once a second. Four things can be short:

    cpu        free processors, against what one more session of the asked bundle and size is predicted to use
    loop       the event loop, one thread for the packets of all sessions
    generator  the graph that the sessions of one bundle share, run by one thread (docs/batching.md)
    rate       a running session's pictures: where one already falls behind its driver there is room for none

A session's cost is its measured work: seconds of stages and of encoding for each second, in two parts, one that rises
with the pixels that leave and one that does not; all of it times what the processors are measured to use for such work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

ENCODE: Final = "encode"
BY_PIXELS: Final = frozenset({"convert", "paste", "planes", ENCODE})
"""Stages whose time rises with the picture. Waiting (wait, queue, gather, fetch, deliver) is no work."""
FIXED: Final = frozenset({"track", "occlusion", "features", "inputs", "render"})
RESOURCES: Final = ("cpu", "loop", "generator", "rate")
POLICIES: Final = ("measured", "count", "off")
"""measured: by headroom, beside the limits. count: by the limits alone; headroom is told. off: it is not measured."""
SETTLE_S: Final = 5.0
"""Until a new session's cost is in what is measured; meanwhile it counts as what was predicted."""

_LEAST_FREE: Final = 0.1  # share of a resource that stays free
_MARGIN: Final = 0.06  # more than that, after a refusal
_KEPT, _KEPT_AGAIN = 0.9, 0.95
_SLOW_LAG_S, _CALM_LAG_S = 0.1, 0.05
_MOST_LOOP = 0.85
_HOLD_S: Final = 3.0
_NEWEST: Final = 0.3
_LEAST_OVERHEAD, _MOST_OVERHEAD = 0.05, 6.0  # below 1 where stages wait for processors that others use


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one session. fixed_s, pixel_s: seconds of work a second, those of FIXED and those of BY_PIXELS at `pixels`.
    shared_s: of them in the bundle's shared graph."""

    fixed_s: float
    pixel_s: float
    pixels: int
    shared_s: float = 0.0

    def at(self, pixels: int) -> float:
        """Seconds of work a second at this size of pictures."""
        return self.fixed_s + self.pixel_s * pixels / max(self.pixels, 1)


UNKNOWN: Final = Cost(0.3, 0.15, 640 * 480)
"""What is taken for a session before any was measured."""


@dataclass(frozen=True, slots=True)
class Running:
    """One open session, over the last seconds. kept: pictures that left by frames that came, None where that says
    nothing (too few, paused, no camera). age_s: since it was opened."""

    bundle: str
    cost: Cost
    kept: float | None
    age_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """A look at the server. cores: that it may use. free: of them that nobody uses. used: that it uses itself; both
    None where the system does not tell. loop: share of the time in which the event loop works. lag_s: how late it
    runs what is due, 95th percentile."""

    at_s: float
    cores: float
    free: float | None
    used: float | None
    loop: float
    lag_s: float
    running: tuple[Running, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """short: which resource is, empty for a session that is let in. text: one line for people. wait_s: when it may be
    asked again."""

    short: str = ""
    text: str = ""
    wait_s: int = 0

    @property
    def admitted(self) -> bool:
        return not self.short


@dataclass(frozen=True, slots=True)
class _Reserved:
    until_s: float
    bundle: str
    cores: float
    loop: float
    shared: float


class Headroom:
    """Of one server. Not for several threads; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._load: Load | None = None
        self._costs: dict[str, Cost] = {}
        self._overhead = 1.5
        self._reserved: list[_Reserved] = []
        self._shut: dict[str, float] = {}

    def look(self, load: Load) -> None:
        """Take what was measured."""
        self._load = load
        settled = [one for one in load.running if one.age_s >= SETTLE_S]
        for one in settled:
            if one.cost.fixed_s + one.cost.pixel_s > 0:
                self._costs[one.bundle] = _mixed(self._costs.get(one.bundle), one.cost)
        work = sum(one.cost.at(one.cost.pixels) for one in load.running)
        if settled and load.used is not None and work > 0.02:
            measured = min(_MOST_OVERHEAD, max(_LEAST_OVERHEAD, load.used / work))
            self._overhead += _NEWEST * (measured - self._overhead)

    def predicted(self, bundle: str, pixels: int) -> float:
        """Cores that one more session is expected to use."""
        return self._overhead * self._cost(bundle).at(pixels)

    def left(self, now: float) -> Mapping[str, float]:
        """What is left of each resource, 0 .. 1 of it; 1 of all before anything was measured."""
        load = self._load
        if load is None:
            return dict.fromkeys(RESOURCES, 1.0)
        held = self._held(now)
        free = load.cores if load.free is None else load.free
        cpu = (free - sum(one.cores for one in held)) / load.cores
        loop = 1.0 if load.lag_s < _SLOW_LAG_S else 0.0
        loop = min(loop, 1.0 - load.loop - sum(one.loop for one in held))
        bundles = {one.bundle for one in load.running} | {one.bundle for one in held}
        shared = [self._shared(bundle, held) for bundle in bundles]
        kept = [one.kept for one in load.running if one.kept is not None and one.age_s >= SETTLE_S]
        left = {
            "cpu": cpu, "loop": loop, "generator": 1.0 - max(shared, default=0.0), "rate": min(kept, default=1.0)
        }  # fmt: skip
        return {name: min(1.0, max(0.0, share)) for name, share in left.items()}

    def ask(self, bundle: str, pixels: int, now: float) -> Verdict:
        """Whether a session of this bundle may be opened now, whose pictures have so many pixels; one that may counts
        from now on. The first one always may."""
        verdict = self.would(bundle, pixels, now)
        if verdict.admitted:
            load = self._load
            loop = 0.0 if load is None or not load.running else load.loop / len(load.running)
            shared = self._cost(bundle).shared_s
            reserved = _Reserved(now + SETTLE_S, bundle, self.predicted(bundle, pixels), loop, shared)
            self._reserved.append(reserved)
        else:
            self._shut[verdict.short] = now + _HOLD_S
        return verdict

    def would(self, bundle: str, pixels: int, now: float) -> Verdict:
        """As `ask`, with nothing counted and nothing remembered."""
        load, held = self._load, self._held(now)
        if load is None or not (load.running or held):
            return Verdict()
        left, need = self.left(now), self.predicted(bundle, pixels)
        cost = self._cost(bundle)
        after = {
            "rate": left["rate"] - self._bound("rate", _KEPT, _KEPT_AGAIN, now),
            "loop": left["loop"] - load.loop / max(1, len(load.running)) - self._bound(
                "loop", 1 - _MOST_LOOP, 1 - _MOST_LOOP + _MARGIN, now
            ),
            "generator": 1 - self._shared(bundle, held) - cost.shared_s - self._least("generator", now),
            "cpu": left["cpu"] - need / load.cores - self._least("cpu", now),
        }  # fmt: skip
        if load.lag_s >= self._bound("loop", _SLOW_LAG_S, _CALM_LAG_S, now):
            after["loop"] = -1.0
        short = next((name for name, share in after.items() if share < 0), "")
        return Verdict(short, self._said(short, load, need), self._wait_s(held, now)) if short else Verdict()

    def forget(self, bundle: str) -> None:
        """A session that was let in was not opened after all."""
        found = next((one for one in reversed(self._reserved) if one.bundle == bundle), None)
        if found is not None:
            self._reserved.remove(found)

    def _cost(self, bundle: str) -> Cost:
        """Of one that nobody has run yet, the dearest's."""
        known = self._costs.get(bundle)
        return known or max(self._costs.values(), key=lambda cost: cost.at(cost.pixels), default=UNKNOWN)

    def _held(self, now: float) -> list[_Reserved]:
        self._reserved = [one for one in self._reserved if one.until_s > now]
        return self._reserved

    def _shared(self, bundle: str, held: Iterable[_Reserved]) -> float:
        """Of a second, how long the bundle's graph runs."""
        running = self._load.running if self._load is not None else ()
        used = sum(one.cost.shared_s for one in running if one.bundle == bundle)
        return used + sum(one.shared for one in held if one.bundle == bundle)

    def _bound(self, name: str, usual: float, shut: float, now: float) -> float:
        return shut if self._shut.get(name, -math.inf) > now else usual

    def _least(self, name: str, now: float) -> float:
        return self._bound(name, _LEAST_FREE, _LEAST_FREE + _MARGIN, now)

    def _wait_s(self, held: list[_Reserved], now: float) -> int:
        """Until the sessions that have just been let in are measured, where there are any."""
        return math.ceil(max([_HOLD_S, *(one.until_s - now for one in held)]))

    def _said(self, short: str, load: Load, need: float) -> str:
        said = {
            "cpu": f"{load.cores - (load.free or 0.0):.1f} of {load.cores:g} processors are in use, "
            f"and it would take about {need:.1f} more",
            "loop": f"the network's thread works {100 * load.loop:.0f} % of the time, "
            f"and is {1000 * load.lag_s:.0f} ms late",
            "generator": "the generator is in use nearly all the time",
            "rate": "those that run do not keep up with their cameras",
        }  # fmt: skip
        return f"no room for another session: {said[short]}" if short else ""


def _mixed(before: Cost | None, now: Cost) -> Cost:
    """A mean in which the newest counts for _NEWEST."""
    if before is None:
        return now
    old = before.pixel_s * now.pixels / max(before.pixels, 1)
    return Cost(
        before.fixed_s + _NEWEST * (now.fixed_s - before.fixed_s),
        old + _NEWEST * (now.pixel_s - old),
        now.pixels,
        before.shared_s + _NEWEST * (now.shared_s - before.shared_s),
    )
