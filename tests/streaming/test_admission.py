"""Who is let in: closed arithmetic on given loads, and what the server's door makes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import ConfigError
from streaming.admission import RESOURCES, SETTLE_S, UNKNOWN, Cost, Headroom, Load, Running
from streaming.config import ServeConfig
from streaming.load import LoadMeter, Seen, Work, Worked
from streaming.measured import NoRecorder
from streaming.reception import Reception
from streaming.refusals import RefusedError

VGA = 640 * 480
COST = Cost(0.2, 0.1, VGA)
CALM = Load(0.0, 4.0, 4.0, 0.0, 0.0, 0.001)


def running(
    count: int, cost: Cost = COST, kept: float | None = 1.0, bundle: str = "b"
) -> tuple[Running, ...]:
    return tuple(Running(bundle, cost, kept, 60.0) for _ in range(count))


def load(count: int, cores: float = 4.0, free: float | None = None, **others: Any) -> Load:
    """`count` sessions, each of which uses .45 of a core: 1.5 times its work."""
    used = 0.45 * count
    loop = {"loop": 0.02 * count, "lag_s": 0.001}
    others = loop | {"running": running(count)} | others
    return Load(0.0, cores, cores - used if free is None else free, used, **others)


def known(at: Load) -> Headroom:
    """A headroom that has seen this load for long."""
    headroom = Headroom()
    for _ in range(30):
        headroom.look(at)
    return headroom


def test_the_first_session_is_always_let_in() -> None:
    """Whatever else the machine does: a server that serves nobody is of no use."""
    headroom = Headroom()
    assert headroom.ask("b", VGA, 0.0).admitted
    headroom = known(load(0, free=0.0, lag_s=2.0, loop=1.0))
    assert headroom.ask("b", VGA, 0.0).admitted
    assert headroom.ask("b", VGA, 0.1).short == "loop"


def test_a_session_costs_what_those_like_it_were_measured_to_cost() -> None:
    """Work times what the processors use for it; the part that rises with the picture rises with it; a bundle that
    nobody ran yet is taken for the dearest."""
    headroom = known(load(2))
    assert headroom.predicted("b", VGA) == pytest.approx(0.45)
    assert headroom.predicted("b", 2 * VGA) == pytest.approx(1.5 * (0.2 + 0.2))
    cheap = running(1, Cost(0.02, 0.01, VGA), bundle="c")
    headroom = known(load(2, running=running(2) + cheap))
    assert 0 < headroom.predicted("c", VGA) < 0.2 * headroom.predicted("unseen", VGA)
    assert headroom.predicted("unseen", VGA) == pytest.approx(headroom.predicted("b", VGA))
    assert Headroom().predicted("b", UNKNOWN.pixels) == pytest.approx(1.5 * 0.45)


def test_as_many_come_in_as_fit() -> None:
    """Processors of which a tenth stays free hold eight sessions of .45, all asked for at once: those that are
    not measured yet count as predicted, once each."""
    headroom = known(load(1, cores=4.1))
    admitted = [headroom.ask("b", VGA, 0.0).admitted for _ in range(16)]
    assert admitted == [True] * 7 + [False] * 9
    headroom.look(load(8, cores=4.1))
    assert not headroom.ask("b", VGA, SETTLE_S + 0.1).admitted


@pytest.mark.parametrize(
    ("short", "others"),
    [
        ("cpu", {"free": 0.5}),
        ("loop", {"loop": 0.8}),
        ("loop", {"lag_s": 0.2}),
        ("generator", {"running": running(2, Cost(0.2, 0.1, VGA, 0.4))}),
        ("rate", {"running": running(1) + running(1, kept=0.8)}),
    ],
)
def test_what_is_short_is_said(short: str, others: dict[str, Any]) -> None:
    """One line for people, the resource for the metrics, and when to come again; with room of it, it is let in."""
    verdict = known(load(2, **others)).ask("b", VGA, 0.0)
    assert (verdict.short, verdict.admitted) == (short, False)
    assert verdict.text.startswith("no room for another session: ")
    assert "\n" not in verdict.text
    assert 1 <= verdict.wait_s <= 10
    assert known(load(2)).ask("b", VGA, 0.0).admitted


def test_the_door_does_not_flap() -> None:
    """After a refusal more has to be free than it takes otherwise, until a while has passed without one."""
    edge = 0.45 + 0.1 * 4 + 0.02
    headroom = known(load(2, free=edge))
    assert headroom.would("b", VGA, 0.0).admitted
    headroom.look(load(2, free=edge - 0.04))
    assert not headroom.ask("b", VGA, 0.0).admitted
    headroom.look(load(2, free=edge))
    assert [headroom.ask("b", VGA, at).admitted for at in (1.0, 3.0, 5.0)] == [False] * 3
    headroom.look(load(2, free=edge + 0.3))
    assert headroom.ask("b", VGA, 5.1).admitted


def test_one_that_never_opened_holds_no_place() -> None:
    """An offer that fails leaves the room to the next one; one that opened counts until it is measured."""
    headroom = known(load(7))
    assert headroom.ask("b", VGA, 0.0).admitted
    assert not headroom.would("b", VGA, 0.0).admitted
    headroom.forget("b")
    assert headroom.would("b", VGA, 0.0).admitted
    assert headroom.ask("b", VGA, 0.0).admitted
    assert headroom.left(0.0)["cpu"] < headroom.left(SETTLE_S + 0.1)["cpu"]


def test_what_is_left_is_a_share() -> None:
    """0 to 1 of each resource, all of it before anything was measured, whatever odd was measured."""
    assert Headroom().left(0.0) == dict.fromkeys(RESOURCES, 1.0)
    for odd in (replace(CALM, free=-1.0), replace(CALM, free=9.0), replace(CALM, loop=3.0, free=None)):
        assert all(0.0 <= share <= 1.0 for share in known(odd).left(0.0).values())


def test_a_sessions_work_is_what_it_did_meanwhile() -> None:
    """Between two looks, by the second: waiting is no work, a shared graph's time is shared out among those whose
    faces were in it, and what was kept says nothing where nobody watches."""
    loads: list[Load] = []
    work = Work()
    meter = LoadMeter(lambda: [Seen("s", "b", VGA, quiet, 0.0, work.told())], loads.append)
    quiet = False
    meter.look(100.0)
    for _ in range(20):
        work.received()
        work.left({"track": 0.01, "wait": 5.0, "gather": 0.003, "render": 0.02, "paste": 0.005}, 2)
        work.encoded(0.004)
    (one,) = meter.look(102.0).running
    assert one.cost.fixed_s == pytest.approx(20 * (0.01 + 0.01) / 2)
    assert one.cost.pixel_s == pytest.approx(20 * (0.005 + 0.004) / 2)
    assert one.cost.shared_s == pytest.approx(20 * 0.01 / 2)
    assert one.kept == 1.0
    quiet = True
    assert meter.look(103.0).running[0].kept is None
    assert Worked().seconds == {}


class Recorded(NoRecorder):
    def __init__(self) -> None:
        self.turned_away: list[str] = []
        self.shares: dict[str, float] = {}

    def headroom(self, resource: str, share: float) -> None:
        self.shares[resource] = share

    def session_refused(self, reason: str) -> None:
        self.turned_away.append(reason)


def reception(policy: str, recorder: Recorded, at: float = 0.0) -> Reception:
    found = Reception(policy, recorder, tuple, clock=lambda: at)
    for _ in range(30):
        found.looked(load(2, free=0.0))
    return found


def test_the_door_answers_503_and_counts_why() -> None:
    """With Retry-After; the share that is left is told; by count alone the same load turns nobody away."""
    recorder = Recorded()
    with pytest.raises(RefusedError) as refused:
        reception("measured", recorder).admit("b", VGA)
    assert (refused.value.status, refused.value.reason) == (503, "headroom")
    assert refused.value.wait_s >= 1
    assert recorder.turned_away == ["cpu"]
    assert recorder.shares["cpu"] == 0.0
    assert "processors" in reception("measured", recorder).why_not()
    for policy in ("count", "off"):
        reception(policy, recorder).admit("b", VGA)
        assert reception(policy, recorder).why_not() == ""


def test_nobody_comes_in_while_it_drains() -> None:
    """Not the first one either; the time can only become shorter; Retry-After is what is left of it."""
    recorder = Recorded()
    found = Reception("off", recorder, tuple, clock=lambda: 5.0)
    assert found.ends_in_s is None
    found.drain(20.0)
    found.drain(30.0)
    assert found.ends_in_s == 20.0
    with pytest.raises(RefusedError) as refused:
        found.admit("b", VGA)
    assert (refused.value.status, refused.value.wait_s, refused.value.reason) == (503, 20, "draining")
    assert recorder.turned_away == ["draining"]
    assert found.why_not().startswith("draining")


def test_the_load_is_measured_while_the_application_runs() -> None:
    """Once a second, by the loop itself; the loop's share and the processors are plausible numbers."""
    loads: list[Load] = []

    async def go() -> None:
        task = asyncio.create_task(LoadMeter(tuple, loads.append).run())
        until = asyncio.get_running_loop().time() + 10
        while not loads and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(go())
    assert loads[0].cores > 0
    assert loads[0].lag_s >= 0
    assert 0 <= loads[0].loop <= 1.5


@pytest.mark.parametrize(("field", "value"), [("admission", "mesured"), ("drain_s", -1.0), ("drain_s", 9e9)])
def test_wrong_settings_are_told(field: str, value: Any) -> None:
    """Before anything is started; a policy with the nearest name."""
    with pytest.raises(ConfigError, match="measured" if field == "admission" else "drain_s"):
        ServeConfig(**{field: value})
