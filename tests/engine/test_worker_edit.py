"""Several bundles and two modes in one worker: what is offered, what leaves in an edit, and what never does."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError, InputError, WorkerError
from engine.types import U8, Mode, Outcome, Source
from engine.worker import messages
from engine.worker.interface import (
    BundleInfo,
    Delivery,
    DriverKind,
    SessionSpec,
    State,
    WorkerConfig,
    bundle_name,
)
from engine.worker.local import LocalWorker
from tests.engine.worker_tools import (
    WAIT_S,
    Desk,
    FakeTools,
    Faults,
    Gate,
    desk,
    driver_frame,
    ground_of,
    shows_driver,
    value_of,
    wait_for_state,
)

BUNDLES = ("mesh_flow", "both", "donors")


@pytest.fixture
def editing() -> Iterator[Desk]:
    """A worker of three bundles whose operator allows edits; no session yet."""
    with desk(bundles=BUNDLES, edit=True, side=256) as one:
        yield one


def size_of(delivery: Delivery) -> tuple[int, int]:
    return delivery.planes.shape[1], delivery.planes.shape[0] * 2 // 3


def chroma(delivery: Delivery) -> U8:
    height, width = size_of(delivery)[1], size_of(delivery)[0]
    return delivery.planes[height:].reshape(2, height // 2, width // 2)


def edited(delivery: Delivery) -> bool:
    """The spot is grey where the driver's frame is green: it is no frame of the driver's."""
    return int(np.abs(chroma(delivery)[:, :4, :4].astype(int) - 128).max()) < 6


def until_made(desk: Desk, number: int, value: int = 50) -> list[Delivery]:
    """Posts until the change of this number shows: the pictures from now on, it last."""
    seen: list[Delivery] = []
    until = time.monotonic() + WAIT_S
    while not seen or seen[-1].changes < number:
        assert time.monotonic() < until
        desk.post(value)
        with contextlib.suppress(queue.Empty):
            seen.append(desk.left.get(timeout=0.05))
    return seen


def plain_grey(delivery: Delivery) -> bool:
    return not shows_driver(delivery) and np.ptp(delivery.planes[: size_of(delivery)[1]]) == 0


def test_what_is_offered_is_told_and_edits_only_where_they_are_allowed(editing: Desk) -> None:
    """Names, modes and sources, the first bundle first; without the operator's word there is no edit."""
    assert [(info.name, info.modes, set(info.takes_source)) for info in editing.worker.bundles()] == [
        ("mesh_flow", (Mode.PUPPET,), {Mode.PUPPET}),
        ("both", (Mode.PUPPET, Mode.EDIT), {Mode.PUPPET}),
        ("donors", (Mode.EDIT,), {Mode.EDIT}),
    ]
    with desk(bundles=("both",)) as strict:
        assert strict.worker.bundles()[0].modes == (Mode.PUPPET,)
        with pytest.raises(ConfigError, match="operator has not allowed edits"):
            strict.open(mode=Mode.EDIT)
        strict.open()
        with pytest.raises(ConfigError, match="operator has not allowed edits"):
            strict.change({"mode": "edit"})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"bundle": "bith"}, "did you mean 'both'"),
        ({"bundle": "donors", "mode": Mode.PUPPET}, "got puppet, but donors offers edit"),
        ({"mode": Mode.EDIT}, "got edit, but mesh_flow offers puppet"),
        ({"bundle": "both", "mode": Mode.EDIT, "driver": DriverKind.DEMO}, "demo has no picture"),
        ({"donors": ("a",) * 9}, "at most 4"),
    ],
)
def test_a_session_asks_for_what_is_offered(editing: Desk, spec: dict[str, Any], said: str) -> None:
    """Another bundle, mode or driver is refused in a line, when it is opened and when it is changed."""
    with pytest.raises(ConfigError, match=said):
        editing.open(**spec)
    editing.open("two")
    change = {
        key: value.value if hasattr(value, "value") else list(value) if isinstance(value, tuple) else value
        for key, value in spec.items()
    }
    with pytest.raises(ConfigError, match=said):
        editing.change(change, "two")
    assert editing.change({}, "two") == 1


def test_a_bundle_that_only_edits_is_not_opened_without_leave() -> None:
    """The start fails, and says which option would allow it."""
    from engine.worker.offers import offer
    from tests.engine.worker_tools import FakeGenerator

    edits = FakeGenerator(Faults(), "donors", modes=frozenset({Mode.EDIT}))
    with pytest.raises(ConfigError, match="--edit"):
        offer("mesh_flow", edits, edit=False)


def test_bundles_are_named_once() -> None:
    """A folder's name is what sessions ask for, so that two of one name cannot be told apart."""
    assert bundle_name("some/where/mine") == "mine"
    assert WorkerConfig(bundles="mesh_flow").bundles == ("mesh_flow",)  # type: ignore[arg-type]
    for bundles in ((), ("mesh_flow", "./mesh_flow")):
        with pytest.raises(ConfigError, match="bundles"):
            WorkerConfig(bundles=bundles)


@pytest.mark.parametrize(
    ("frame", "leaves"),
    [((200, 150), (200, 150)), ((201, 151), (200, 150)), ((640, 480), (256, 192)), ((90, 300), (76, 256))],
)
def test_an_edited_picture_has_the_drivers_size(
    editing: Desk, frame: tuple[int, int], leaves: tuple[int, int]
) -> None:
    """Fitted to the worker's side and even, whatever the camera turns to in mid-call."""
    editing.open(bundle="both", mode=Mode.EDIT)
    for size, expected in (((128, 96), (128, 96)), (frame, leaves), ((128, 96), (128, 96))):
        delivery = editing.step(50, rgb=driver_frame(50, size))
        assert size_of(delivery) == expected
        assert (delivery.mode, delivery.bundle) == (Mode.EDIT, "both")
        assert edited(delivery)
        assert shows_driver(delivery), "around the spot it is the driver's own picture"


def fail(what: object) -> None:
    raise RuntimeError("broke")


@pytest.mark.parametrize(
    "fault",
    [
        {"track": fail},
        {"faces": lambda face: ()},
        {"inputs": fail},
        {"run": fail},
        {"patch": fail},
    ],
    ids=["tracker", "face lost", "inputs", "runner", "patch"],
)
def test_an_edit_never_shows_the_driver_as_he_is(editing: Desk, fault: dict[str, Any]) -> None:
    """Grey before the first edit, then the last edited picture, then a card of it in which nothing can be seen."""
    editing.open(bundle="both", mode=Mode.EDIT)
    vars(editing.faults).update(fault)
    before = editing.step(50, pts=-9000)
    assert before.report.outcome is Outcome.WAITING
    assert plain_grey(before)
    vars(editing.faults).update(vars(Faults()))
    last = editing.step(50)
    assert last.report.outcome is Outcome.GENERATED
    vars(editing.faults).update(fault)
    held = editing.step(60)
    assert (held.report.outcome, value_of(held)) == (Outcome.HELD, 50)
    assert edited(held)
    card = editing.step(70, pts=300_000)
    assert card.report.outcome is Outcome.FADED
    luma = card.planes[: size_of(card)[1]].astype(int)
    assert np.abs(np.diff(luma, axis=1)).max() < 8
    assert np.abs(np.diff(luma, axis=0)).max() < 8


def test_a_switch_of_mode_or_bundle_ends_what_was_on_its_way(editing: Desk) -> None:
    """Through every overlap: a picture is of the kind that it names, and kinds never come back out of order."""
    editing.open(bundle="both", mode=Mode.PUPPET)
    wishes = [
        {"mode": "edit"}, {"bundle": "donors"}, {"bundle": "mesh_flow", "mode": "puppet"},
        {"bundle": "both", "mode": "edit"}, {"mode": "puppet"},
    ]  # fmt: skip
    wanted = {0: ("both", Mode.PUPPET)}
    for number in range(120):
        if number % 12 == 5:
            wish = wishes[number // 12 % len(wishes)]
            kind = wanted[max(wanted)]
            kind = (wish.get("bundle", kind[0]), Mode(wish.get("mode", kind[1])))
            wanted[editing.change(wish)] = kind
        editing.post(number)
        time.sleep(0.002)
    seen = until_made(editing, max(wanted), 60)
    assert [delivery.changes for delivery in seen] == sorted(delivery.changes for delivery in seen)
    for delivery in seen:
        assert (delivery.bundle, delivery.mode) == wanted[delivery.changes]
        if delivery.mode is Mode.EDIT:
            assert edited(delivery)
        else:
            assert ground_of(delivery) == 100
            assert not shows_driver(delivery)
    assert {(delivery.bundle, delivery.mode) for delivery in seen} == set(wanted.values())


def test_a_frame_that_was_being_edited_does_not_follow_a_switch(editing: Desk) -> None:
    """What is at work in the runner when the mode changes is finished for nobody."""
    editing.open(bundle="both", mode=Mode.EDIT)
    editing.step(50)
    gate = Gate()
    editing.faults.run = gate
    editing.post(51)
    gate.reached()
    number = editing.change({"mode": "puppet"})
    editing.post(52)
    session = editing.worker._sessions["one"]
    while session._now.mode is not Mode.PUPPET:
        time.sleep(0.001)
    editing.faults.run = lambda batch: None
    gate.open()
    (delivery,) = until_made(editing, number)
    assert delivery.mode is Mode.PUPPET
    assert not shows_driver(delivery)


def test_donors_are_sources_and_change_in_mid_call(editing: Desk) -> None:
    """None: the session's own source. Several act in their order, and each is prepared once."""
    prepared: list[tuple[str, str]] = []
    editing.faults.prepare = lambda name, source, mode: prepared.append(
        (name, "" if source is None else source.name)
    )
    other, third = editing.add(150), editing.add(200)
    assert prepared == [("mesh_flow", "150.png"), ("mesh_flow", "200.png")], "others when they are asked for"
    editing.faults.begun.clear()
    editing.open(bundle="donors")
    for donors in (None, [other.id], [third.id, other.id], []):
        number = 0 if donors is None else editing.change({"donors": donors})
        for delivery in until_made(editing, number):
            assert edited(delivery), "the former donors act until the new ones are prepared"
    assert [begun[1:] for begun in editing.faults.begun] == [
        ("100.png",), ("150.png",), ("200.png", "150.png"), ("100.png",),
    ]  # fmt: skip
    assert sorted(prepared[2:]) == [("donors", f"{grey}.png") for grey in (100, 150, 200)]
    with pytest.raises(ConfigError, match="add it again"):
        editing.change({"donors": ["nobody"]})
    editing.worker.drop_source(other.id)
    until_made(editing, editing.change({"donors": [third.id]}))
    editing.worker.drop_source(third.id)
    editing.worker.close_session("one")
    while editing.worker._sources._shown:
        time.sleep(0.001)
    editing.worker.drop_source(third.id)
    with pytest.raises(WorkerError, match="add it again"):
        editing.open("two", donors=(third.id,))


def test_no_frame_waits_for_a_source_that_is_prepared(editing: Desk) -> None:
    """It is done in the sources' own thread: pictures of this and other sessions go on meanwhile."""
    gate = Gate()
    where: list[str] = []

    def prepare(name: str, source: Source | None, mode: Mode) -> None:
        where.append(threading.current_thread().name)
        gate()

    other = editing.add(150)
    editing.open(bundle="donors")
    editing.open("two")
    until_made(editing, 0)
    editing.faults.prepare = prepare
    number = editing.change({"donors": [other.id]})
    gate.reached()
    for value in (51, 52):
        delivery = editing.step(value)
        assert (delivery.changes, value_of(delivery)) == (0, value)
    assert editing.step(53, "two").report.outcome is Outcome.GENERATED
    gate.open()
    until_made(editing, number)
    assert where == ["marotte-side"]


def test_a_bundle_that_refuses_the_source_shows_what_is_safe_and_says_why(editing: Desk) -> None:
    """Nothing of the former mode stays, and the next wish is followed."""

    def refuse(name: str, source: Source | None, mode: Mode) -> None:
        if mode is Mode.EDIT or name == "both":
            raise InputError("no such face; expected a human one")

    editing.open()
    editing.step(50)
    editing.faults.prepare = refuse
    for wish, safe in (
        ({"bundle": "donors", "mode": "edit"}, plain_grey),
        ({"bundle": "both", "mode": "puppet"}, lambda delivery: not shows_driver(delivery)),
    ):
        number = editing.change(wish)
        (delivery,) = until_made(editing, number)
        assert delivery.report.outcome is Outcome.WAITING
        assert "expected a human one" in str(delivery.report.reason)
        assert (delivery.bundle, delivery.mode.value) == (wish["bundle"], wish["mode"])
        assert safe(delivery)
    editing.faults.prepare = lambda name, source, mode: None
    assert (
        until_made(editing, editing.change({"bundle": "mesh_flow"}))[-1].report.outcome is Outcome.GENERATED
    )


def test_what_a_bundle_says_of_a_source_comes_with_it() -> None:
    """A note is no refusal: whoever sent the picture reads it."""
    with desk(Faults(notes=("an eye is covered",)), bundles=("both",)) as one:
        assert one.add(150).notes == ("an eye is covered",)


def test_a_session_of_one_kind_does_not_hold_up_another(editing: Desk) -> None:
    """Bundles have a runner each: their sessions never share a batch, and run while the other's is busy."""
    gate = Gate()
    editing.open("one")
    editing.open("two", bundle="both", mode=Mode.EDIT)
    editing.step(50, "one"), editing.step(50, "two")
    editing.faults.run = gate
    editing.post(51, "one")
    gate.reached()
    editing.post(52, "one")
    editing.post(53, "two")
    gate.reached()
    while editing.waiting("one") != 52:
        time.sleep(0.001)
    gate.open()
    seen = {(delivery.session, value_of(delivery)) for delivery in (editing.next() for _ in range(3))}
    assert seen == {("one", 51), ("one", 52), ("two", 53)}
    assert editing.faults.batches[-3:] == [1, 1, 1]


def test_every_bundle_is_warmed_up_before_the_worker_is_ready(editing: Desk) -> None:
    """In each of its modes: no frame of a session is the first of its kind."""
    assert {begun[0] for begun in editing.faults.begun} == set(BUNDLES)
    assert len(editing.faults.begun) == 4
    editing.worker.close()
    assert editing.faults.closed.count("runner") == 3


def test_a_worker_whose_second_bundle_fails_says_why() -> None:
    """Nothing of the first is left open."""
    opened = []

    def opening(what: str) -> None:
        opened.append(what)
        if opened.count("generator") == 2:
            raise ConfigError("bundle: it is damaged")

    faults = Faults(opening=opening)
    worker = LocalWorker(WorkerConfig(bundles=("mesh_flow", "both")), FakeTools(faults))
    worker.start()
    wait_for_state(worker, State.FAILED)
    assert worker.status().detail == "bundle: it is damaged"
    worker.close()
    assert faults.closed == ["runner"]


def test_what_crosses_to_the_worker_process_comes_back_as_it_was() -> None:
    """A spec, what is offered, and the kind of a picture."""
    spec = SessionSpec(
        "a",
        controls={"mouth": 2.0},
        bundle="both",
        mode=Mode.EDIT,
        donors=("b", "c"),
        expression=("fear", 0.5),
    )
    crossed = _crossed("open", session="one", **messages.spec_fields(spec))
    assert messages.read_spec(crossed) == spec
    offered = (
        BundleInfo("both", "Both", "ganimation", "CC0-1.0", tuple(Mode), frozenset({Mode.EDIT}), False, True),
        BundleInfo("one", "One", "mesh_flow", "Apache-2.0"),
        BundleInfo(
            "two",
            "Two",
            "stit",
            "CC0-1.0",
            directions=(("smile", -1.0, 1.5),),
            outputs=(64, 32),
            heeds=("motion",),
        ),
    )
    crossed = _crossed("ready", text="", bundles=[messages.bundle_fields(info) for info in offered])
    assert messages.read_bundles(crossed) == offered
    assert messages.read_kind(_crossed("delivered", bundle="both", mode="edit")) == ("both", Mode.EDIT)
    for nonsense in ({"bundle": "both", "mode": "sideways"}, {"bundle": 5, "mode": "edit"}):
        with pytest.raises(WorkerError):
            messages.read_kind(_crossed("delivered", **nonsense))
    with pytest.raises(WorkerError):
        messages.read_bundles(_crossed("ready", bundles=[{"name": "x"}]))


def _crossed(kind: str, **fields: Any) -> messages.Message:
    return messages.unpack(messages.pack(kind, **fields))
