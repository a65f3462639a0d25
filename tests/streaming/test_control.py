from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.drivers import mediapipe
from engine.errors import ConfigError, WorkerError
from engine.features.blendshapes import NAMES
from engine.worker.changes import parse
from streaming.control import MOST_BYTES, MOST_PER_S, Control

WORDS = (
    "seq",
    "change",
    "controls",
    "pose",
    "smoothing",
    "source",
    "measure",
    "pause",
    "mute",
    "mirror",
    "stop",
    "ping",
    "driver",
    "face",
    "blendshapes",
)


class Recorded:
    """A call that notes what it was told; changes are checked as a worker does."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.error: Exception | None = None

    def change(self, change: object) -> int:
        if self.error is not None:
            raise self.error
        parse(change)
        self.told.append(change)
        return len(self.told)

    def measure(self, on: bool) -> None:
        self.told.append(("measure", on))

    def pause(self, on: bool) -> None:
        self.told.append(("pause", on))

    def mute(self, on: bool) -> None:
        self.told.append(("mute", on))

    def mirror(self, on: bool) -> None:
        self.told.append(("mirror", on))

    def face(self, told: object) -> None:
        self.told.append(("face", mediapipe.read(told)))

    def stop(self) -> None:
        self.told.append("stop")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def call() -> Recorded:
    return Recorded()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(call: Recorded, clock: Clock) -> Control:
    return Control(call, clock)


def answer(control: Control, message: Any) -> Mapping[str, Any] | None:
    text = control.answer(message if isinstance(message, (str, bytes)) else json.dumps(message))
    return None if text is None else json.loads(text)


def test_a_change_is_answered_with_its_number(control: Control, call: Recorded) -> None:
    """The page can wait for the picture in which its change is in force."""
    change = {"controls": {"mouth": 2.0, "au_offsets": {"AU12": 0.5}}, "smoothing": 0.5}
    assert answer(control, {"seq": 5, "change": change}) == {"ack": 5, "changes": 1}
    assert answer(control, {"seq": 6, "change": {"recalibrate": True}}) == {"ack": 6, "changes": 2}
    assert call.told == [change, {"recalibrate": True}]


def test_switches_pings_and_stop_do_what_they_say(control: Control, call: Recorded) -> None:
    """Measure, pause, mirror and stop need no answer, a ping gets its own number back."""
    assert answer(control, {"measure": True}) is None
    assert answer(control, {"pause": True}) is None
    assert answer(control, {"pause": False}) is None
    assert answer(control, {"mirror": True}) is None
    assert answer(control, {"ping": 12.5}) == {"pong": 12.5}
    assert answer(control, {"stop": True}) is None
    assert call.told == [("measure", True), ("pause", True), ("pause", False), ("mirror", True), "stop"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b'{"stop": true}', "text"),
        ("", "JSON"),
        ("[1", "JSON"),
        ("[]", "object"),
        ("null", "object"),
        ('{"ping": NaN}', "JSON"),
        ('{"ping": 1e999}', "ping"),
        ('{"ping": -Infinity}', "JSON"),
        ('{"ping": "1"}', "ping"),
        ('{"ping": true}', "ping"),
        ('{"ping": ' + "9" * 4000 + "}", "ping"),
        ('{"seq": ' + "9" * 400 + ', "change": {"smoothing": 1}}', "seq"),
        ('{"seq": "1", "change": {}}', "seq"),
        ('{"seq": true, "change": {}}', "seq"),
        ("[" * (MOST_BYTES - 1), "JSON"),
        ('{"change":' * 400, "JSON"),
        ('{"ping": 1}' + " " * MOST_BYTES, "bytes"),
        ('{"ping": "' + "€" * (MOST_BYTES // 2) + '"}', "bytes"),
        ('{"pause": 1}', "pause"),
        ('{"measure": "yes"}', "measure"),
        ('{"mirror": 1}', "mirror"),
        ('{"mirror": null}', "mirror"),
        ('{"paus": true}', "did you mean pause"),
        ('{"\ud800": true}', "unknown name"),
        ('{"' + "x" * 3000 + '": 1}', "unknown name"),
    ],
)
def test_what_cannot_be_followed_gets_one_line(
    control: Control, call: Recorded, message: Any, said: str
) -> None:
    """Bytes, broken and deep JSON, numbers beyond reason and unknown names: an error, and nothing happens."""
    reply = answer(control, message)
    assert reply is not None
    assert reply["ack"] is None
    assert said in reply["error"]
    assert "\n" not in reply["error"]
    assert len(reply["error"]) < 200
    assert not call.told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"controls": {"mouht": 1}}, "mouth"),
        ({"controls": {"mouth": 99}}, "mouth"),
        ({"smothing": 1}, "smoothing"),
        ({"driver": "nobody"}, "driver"),
        ([], "change"),
        (None, "change"),
    ],
)
def test_a_wrong_change_names_its_number_and_the_nearest_name(
    control: Control, change: Any, said: str
) -> None:
    """The page can say which control was refused, and why."""
    reply = answer(control, {"seq": 3, "change": change})
    assert reply is not None
    assert reply["ack"] == 3
    assert said in reply["error"]


@pytest.mark.parametrize("error", [ConfigError("source: unknown"), WorkerError("the worker is away")])
def test_what_the_worker_says_is_passed_on(control: Control, call: Recorded, error: Exception) -> None:
    """An error on purpose is for the page to read."""
    call.error = error
    assert answer(control, {"seq": 1, "change": {"smoothing": 1}}) == {"ack": 1, "error": str(error)}


def test_an_error_that_nobody_meant_is_not_shown(
    control: Control, call: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """The channel goes on, the log has the cause, the page does not."""
    call.error = RuntimeError("/some/path")
    reply = answer(control, {"seq": 1, "change": {"smoothing": 1}})
    assert reply is not None
    assert "/some/path" not in reply["error"]
    assert "/some/path" in caplog.text
    call.error = None
    assert answer(control, {"seq": 2, "change": {"smoothing": 1}}) == {"ack": 2, "changes": 1}


def test_a_flood_gets_one_answer_and_stop_is_heard_in_it(
    control: Control, call: Recorded, clock: Clock
) -> None:
    """More than sixty messages in a second are let fall, but for the one that must never be."""
    replies = [answer(control, {"ping": n}) for n in range(3 * MOST_PER_S)]
    assert [reply for reply in replies if reply and "pong" in reply] == [
        {"pong": n} for n in range(MOST_PER_S)
    ]
    assert len([reply for reply in replies if reply and "error" in reply]) == 1
    assert answer(control, {"pause": True}) is None
    for sly in ({"stop": False, "pause": True}, {"pause": True, "change": {"stop": {}}}, {"pause": '"stop"'}):
        assert answer(control, sly) is None
    assert control.answer('"stop" is no JSON') is None
    assert not call.told
    assert answer(control, {"stop": True}) is None
    assert call.told == ["stop"]
    clock.now += 0.5
    assert sum(answer(control, {"ping": 1}) == {"pong": 1} for _ in range(MOST_PER_S)) == MOST_PER_S // 2


def test_stop_is_heard_whatever_stands_beside_it(control: Control, call: Recorded) -> None:
    """An unknown name in the message does not keep the output going."""
    answer(control, {"stop": True, "why": "because"})
    assert call.told == ["stop"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.binary(max_size=20) | JSON.map(json.dumps))
def test_no_message_raises_and_every_answer_is_small_json(message: str | bytes) -> None:
    """Whatever comes, an answer is none or one JSON object without NaN, below the limit of a message."""
    text = Control(Recorded()).answer(message)
    if text is not None:
        assert len(text) < MOST_BYTES
        assert isinstance(json.loads(text, parse_constant=lambda name: pytest.fail(name)), dict)


def test_a_face_that_the_page_tracked_needs_no_answer() -> None:
    """All scores of one face fit into a message, and a wrong one is answered with what is wrong."""
    call = Recorded()
    control = Control(call)
    whole = dict.fromkeys(NAMES, 0.123)
    assert (
        answer(control, {"face": {"blendshapes": whole, "matrix": [1.0 * (n % 5 == 0) for n in range(16)]}})
        is None
    )
    assert call.told[0][0] == "face"
    assert "scores" in answer(control, {"seq": 3, "face": {"blendshapes": [1]}})["error"]
