"""Changes are checked as a whole, and add up."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.types import Controls, Mode
from engine.worker.changes import Change, checked, controls_of, merged, parse
from engine.worker.interface import DriverKind, SessionSpec
from engine.worker.messages import pack, read_spec, spec_fields, unpack


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contols": {}}, "did you mean 'controls'"),
        ({"controls": {"moth": 1}}, "did you mean 'mouth'"),
        ({"controls": {"au_offsets": {"AU99": 0.1}}}, "au_offsets: got 'AU99'"),
        ({"controls": {"au_offsets": [1]}}, r"au_offsets: got \[1\], expected names with values"),
        ({"controls": {"au_offsets": {"AU12": 1.5}}}, r"AU12: got 1.5, expected a number in -1 .. 1"),
        ({"controls": {"au_offsets": {"AU12": True}}}, "AU12: got True"),
        ({"controls": {"mouth": math.nan}}, r"mouth: got nan, expected a number in 0 .. 4"),
        ({"controls": {"mouth": math.inf}}, "mouth: got inf"),
        ({"controls": {"mouth": True}}, "mouth: got True"),
        ({"controls": {"mouth": "2"}}, "mouth: got '2'"),
        ({"controls": {"mouth": 10**400}}, "mouth: got 1000"),
        ({"controls": {"mouth": 10**5000}}, "mouth: got a"),
        ({"controls": {"mouth": deep(50_000)}}, "mouth: got"),
        ({"controls": {"absolute_mouth": 1}}, "absolute_mouth: got 1, expected true or false"),
        ({"controls": {"driver_pixels": True}}, "driver_pixels: the operator has not allowed them"),
        ({"controls": deep(50_000)}, "controls: got"),
        ({"controls": None}, "controls: got None"),
        ({"smoothing": -0.1}, r"smoothing: got -0.1, expected a number in 0 .. 4"),
        ({"smoothing": False}, "smoothing: got False"),
        ({"smoothing": None}, "smoothing: got None"),
        ({"source": ""}, "source: got ''"),
        ({"source": 5}, "source: got 5"),
        ({"source": "x" * 100_000}, "source: got 'xxx"),
        ({"recalibrate": 1}, "recalibrate: got 1, expected true"),
        ({"driver": "camra"}, "did you mean 'camera'"),
        ({"driver": None}, "driver: got None"),
        ({"mode": "edti"}, "did you mean 'edit'"),
        ({"mode": 1}, "mode: got 1"),
        ({"bundle": ""}, "bundle: got ''"),
        ({"expression": "fear"}, "expression: got 'fear', expected names with values"),
        ({"expression": {"name": "feer"}}, "did you mean 'fear'"),
        ({"expression": {"intensity": 1}}, "expression: got None, expected a name"),
        (
            {"expression": {"name": "fear", "intensity": 1.2}},
            r"intensity: got 1.2, expected a number in 0 .. 1",
        ),
        ({"expression": {"name": "fear", "strength": 1}}, "expression: got 'strength'"),
        ({"donors": "abc"}, "donors: got 'abc', expected at most 4 ids"),
        ({"donors": list("abcde")}, "expected at most 4 ids"),
        ({"donors": [1]}, "donors: got 1, expected a name"),
        ({"controls": {"remove": 1}}, "remove: got 1, expected true or false"),
        ({5: 1}, "change: got 5"),
        ({"k" * 100_000: 1}, "change: got 'kkk"),
        ([], r"change: got \[\]"),
        (None, "change: got None"),
    ],
)
def test_a_wrong_part_is_named_in_one_short_line(change: Any, said: str) -> None:
    """Whatever a page sends: the part, what it got and what was expected, however large or deep the value is."""
    with pytest.raises(ConfigError, match=said) as caught:
        parse(change)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_whole_change_is_read() -> None:
    """Every key of the interface, as JSON brings it."""
    text = (
        '{"controls": {"mouth": 2, "au_offsets": {"AU12": 0.5}, "absolute_gaze": false}, "smoothing": 0,'
        ' "source": "abc", "recalibrate": true, "driver": "demo", "expression": {"name": "fear", "intensity": 0.5},'
        ' "bundle": "small", "mode": "edit", "donors": ["d", "e", "d"]}'
    )
    assert parse(json.loads(text)) == Change(
        {"mouth": 2.0, "au_offsets": {"AU12": 0.5}, "absolute_gaze": False}, 0.0, "abc", DriverKind.DEMO, True,
        ("fear", 0.5), "small", Mode.EDIT, ("d", "e"),
    )  # fmt: skip
    assert parse({}) == Change()


def test_changes_add_up_to_a_spec_that_makes_them_all_at_once() -> None:
    """What a replacement is opened with has everything that was ever set, and no more."""
    spec = checked(SessionSpec("a", controls={"pose": 0.5}))
    for change in (
        {"controls": {"mouth": 2, "au_offsets": {"AU12": 0.5}}},
        {"smoothing": 3},
        {"controls": {"mouth": 1, "au_offsets": {"AU01": -1}}, "source": "b"},
        {"driver": "demo", "recalibrate": True},
    ):
        spec = merged(spec, parse(change))
    assert (spec.source, spec.driver, spec.smoothing) == ("b", DriverKind.DEMO, 3.0)
    assert controls_of(spec) == Controls(pose=0.5, mouth=1.0, au_offsets={"AU01": -1.0})
    assert checked(spec) == spec


def test_a_spec_is_checked_like_a_change() -> None:
    """A session is not opened with what could not be set on it."""
    with pytest.raises(ConfigError, match="mouth: got 9"):
        checked(SessionSpec("a", controls={"mouth": 9}))
    with pytest.raises(ConfigError, match="smoothing: got nan"):
        checked(SessionSpec("a", smoothing=math.nan))


def test_a_named_expression_is_added_to_the_sliders() -> None:
    """As strong as asked, within what an offset may be, until it is the neutral one."""
    spec = checked(SessionSpec("a", controls={"au_offsets": {"AU12": 0.8, "AU01": -0.5}}))
    spec = merged(spec, parse({"expression": {"name": "happiness", "intensity": 0.5}}))
    assert controls_of(spec).au_offsets == {"AU01": -0.5, "AU06": 0.5, "AU12": 1.0}
    assert checked(spec) == spec
    spec = merged(spec, parse({"expression": {"name": "neutral"}}))
    assert controls_of(spec).au_offsets == {"AU01": -0.5, "AU12": 0.8}


def test_driver_pixels_need_the_operators_word_and_a_camera() -> None:
    """They are on when the operator asked for them, can be switched off, and never come from the scripted driver."""
    spec = SessionSpec("a")
    assert not controls_of(spec).driver_pixels
    assert controls_of(spec, driver_pixels=True).driver_pixels
    off = merged(spec, parse({"controls": {"driver_pixels": False}}))
    assert not controls_of(off, driver_pixels=True).driver_pixels
    on = merged(off, parse({"controls": {"driver_pixels": True}}, driver_pixels=True))
    assert controls_of(on, driver_pixels=True).driver_pixels
    demo = dataclasses.replace(on, driver=DriverKind.DEMO)
    assert not controls_of(demo, driver_pixels=True).driver_pixels


def test_layouts_and_what_is_painted_travel_as_plain_numbers() -> None:
    """From the page to a session in another process and into controls; a wrong part is told."""
    runs = [[255, 1000], [13, 24]]
    change = parse({"controls": {"layout": {"hair": 0.5}, "painted": runs, "donor_style": True}})
    spec = merged(SessionSpec("one"), change)
    travelled = read_spec(unpack(pack("open", **spec_fields(spec))))
    for one in (spec, checked(travelled)):
        controls = controls_of(one)
        assert (controls.layout, controls.donor_style) == ({"hair": 0.5}, True)
        assert controls.painted == ((255, 1000), (13, 24))
    assert controls_of(merged(spec, parse({"controls": {"painted": []}}))).painted == ()
    for wrong, said in (
        ({"layout": {"hiar": 1}}, "did you mean 'hair'"),
        ({"layout": {"hair": 2}}, "expected a number in -1 .. 1"),
        ({"painted": [[13, 24]]}, "runs of 24 pixels"),
        ({"painted": "all"}, "expected a list of runs"),
        ({"project": 1}, "expected true or false"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse({"controls": wrong})
