"""What may be changed on a running session: checked as a whole before any of it is done."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any

from engine.config import from_mapping, known
from engine.errors import ConfigError, InputError
from engine.expressions import EXPRESSIONS, expression
from engine.parsing.runs import decode
from engine.types import AU_NAMES, GAINS, LAYOUT_PARTS, MOST_GAIN, MOST_STRENGTH, Controls, Mode
from engine.worker.interface import BundleInfo, DriverKind, SessionSpec

MOST_SMOOTHING = 4.0
MOST_DONORS = 4
MOST_DIRECTIONS = 64
MOST_OUTPUT = 4096
_KEYS = (
    "controls", "smoothing", "source", "recalibrate", "driver", "expression", "bundle", "mode", "donors",
    "self_check",
)  # fmt: skip
_AMOUNTS = {"au_offsets": AU_NAMES, "layout": LAYOUT_PARTS}
_CONTROLS = tuple(field.name for field in dataclasses.fields(Controls))
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Change:
    """A checked change; None stays as it is. controls: only those that were named, each a field of Controls.
    expression: name and intensity."""

    controls: Mapping[str, Any] = field(default_factory=dict)
    smoothing: float | None = None
    source: str | None = None
    driver: DriverKind | None = None
    recalibrate: bool = False
    expression: tuple[str, float] | None = None
    bundle: str | None = None
    mode: Mode | None = None
    donors: tuple[str, ...] | None = None
    self_check: bool | None = None


def parse(change: object, *, driver_pixels: bool = False) -> Change:
    """What `Worker.change` was given, checked. driver_pixels: the operator allows them.

    Raises ConfigError, naming the part, for anything else than what the interface states.
    """
    parts = _mapping("change", change)
    for key in parts:
        _named(key, _KEYS, "change")
    recalibrate = _switch("recalibrate", parts.get("recalibrate", False))
    return Change(
        controls=_controls(parts["controls"], driver_pixels) if "controls" in parts else {},
        smoothing=_number("smoothing", parts["smoothing"], 0.0, MOST_SMOOTHING)
        if "smoothing" in parts
        else None,
        source=_text("source", parts["source"]) if "source" in parts else None,
        driver=_driver(parts["driver"]) if "driver" in parts else None,
        recalibrate=recalibrate,
        expression=_expression(parts["expression"]) if "expression" in parts else None,
        bundle=_text("bundle", parts["bundle"]) if "bundle" in parts else None,
        mode=_mode(parts["mode"]) if "mode" in parts else None,
        donors=_donors(parts["donors"]) if "donors" in parts else None,
        self_check=_switch("self_check", parts["self_check"]) if "self_check" in parts else None,
    )


def checked(spec: SessionSpec, *, driver_pixels: bool = False) -> SessionSpec:
    """A spec whose parts are right, each by itself, and its own. Raises ConfigError."""
    parts = {"controls": spec.controls, "smoothing": spec.smoothing, "donors": spec.donors}
    if spec.expression is not None:
        parts["expression"] = dict(zip(("name", "intensity"), spec.expression))
    change = parse(parts, driver_pixels=driver_pixels)
    return merged(dataclasses.replace(spec, controls={}), change)


def settled(spec: SessionSpec, bundles: Sequence[BundleInfo], *, edit: bool = False) -> SessionSpec:
    """A spec with bundle and mode named, as they are offered. edit: the operator allows it. Raises ConfigError."""
    offered = {bundle.name: bundle for bundle in bundles}
    bundle = offered[known(spec.bundle, offered, "bundle")] if spec.bundle else bundles[0]
    mode = spec.mode or bundle.modes[0]
    if mode is Mode.EDIT and not edit:
        raise ConfigError(
            "mode: the operator has not allowed edits; start the server with --edit to use them"
        )
    if mode not in bundle.modes:
        modes = " and ".join(mode.value for mode in bundle.modes)
        raise ConfigError(
            f"mode: got {mode.value}, but {bundle.name} offers {modes}; ask for the mode with it"
        )
    if mode is Mode.EDIT and spec.driver is not DriverKind.CAMERA:
        raise ConfigError(
            f"mode: the {spec.driver.value} has no picture of its own to edit; start the camera"
        )
    if bundle.own is not None and spec.driver is DriverKind.TRACKER:
        raise ConfigError(
            f"driver: a tracker follows faces, and a whole body drives {bundle.name}; start the camera"
        )
    return dataclasses.replace(spec, bundle=bundle.name, mode=mode)


def merged(spec: SessionSpec, change: Change) -> SessionSpec:
    """What a session is set to after a change: opening one with it makes all changes so far at once. Controls that
    the change does not name stay; au_offsets, layout and directions are replaced as a whole."""
    return dataclasses.replace(
        spec,
        controls=MappingProxyType({**spec.controls, **change.controls}),
        smoothing=spec.smoothing if change.smoothing is None else change.smoothing,
        source=change.source or spec.source,
        driver=change.driver or spec.driver,
        expression=change.expression or spec.expression,
        bundle=change.bundle or spec.bundle,
        mode=change.mode or spec.mode,
        donors=spec.donors if change.donors is None else change.donors,
        self_check=spec.self_check if change.self_check is None else change.self_check,
        self_checks=spec.self_checks + (change.self_check is True),
    )


def controls_of(spec: SessionSpec, *, driver_pixels: bool = False) -> Controls:
    """The controls in force, the named expression among the AU offsets. driver_pixels: the operator asked for them,
    so they are on until they are switched off; no other driver than a camera has any."""
    wanted = {"driver_pixels": driver_pixels, **spec.controls}
    wanted["driver_pixels"] &= spec.driver is DriverKind.CAMERA
    if spec.expression is not None:
        wanted["au_offsets"] = _added(wanted.get("au_offsets", {}), expression(*spec.expression))
    return Controls(**wanted)


def _added(offsets: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """Their sum, within what an offset may be."""
    return {
        name: min(1.0, offsets.get(name, 0.0) + more.get(name, 0.0))
        for name in AU_NAMES
        if name in offsets or name in more
    }


def _controls(value: object, driver_pixels: bool) -> Mapping[str, Any]:
    given = _mapping("controls", value)
    checked: dict[str, Any] = {}
    for name, setting in given.items():
        _named(name, _CONTROLS, "controls")
        if name in GAINS:
            checked[name] = _number(name, setting, 0.0, MOST_GAIN)
        elif name == "painted":
            checked[name] = _painted(setting)
        elif name in _AMOUNTS:
            checked[name] = _amounts(name, setting)
        elif name == "directions":
            checked[name] = _directions(setting)
        elif name == "output_size":
            checked[name] = round(_number(name, setting, 0, MOST_OUTPUT))
        elif isinstance(setting, bool):
            checked[name] = setting
        else:
            raise ConfigError(f"{name}: got {_brief(setting)}, expected true or false")
    if checked.get("driver_pixels") and not driver_pixels:
        raise ConfigError(
            "driver_pixels: the operator has not allowed them; start the server with them to use them"
        )
    from_mapping(Controls, checked, "controls")
    return checked


def _painted(value: object) -> tuple[tuple[int, int], ...]:
    """Runs of classes that can be shown; none take away what was painted."""
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"painted: got {_brief(value)}, expected a list of runs")
    if not value:
        return ()
    try:
        decode(value)
    except InputError as error:
        raise ConfigError(str(error)) from error
    return tuple((run[0], run[1]) for run in value)


def _amounts(what: str, value: object) -> Mapping[str, float]:
    return {
        _named(name, _AMOUNTS[what], what): _number(f"{what} {name}", amount, -1.0, 1.0)
        for name, amount in _mapping(what, value).items()
    }


def _directions(value: object) -> Mapping[str, float]:
    """Whatever their names: a bundle that is changed to may have others, and what it does not have changes nothing."""
    given = _mapping("directions", value)
    if len(given) > MOST_DIRECTIONS:
        raise ConfigError(f"directions: got {len(given)}, expected at most {MOST_DIRECTIONS}")
    return {
        _text("directions", name): _number(
            f"directions {_brief(name)}", strength, -MOST_STRENGTH, MOST_STRENGTH
        )
        for name, strength in given.items()
    }


def _driver(value: object) -> DriverKind:
    if isinstance(value, DriverKind):
        return value
    return DriverKind(_named(value, [kind.value for kind in DriverKind], "driver"))


def _mode(value: object) -> Mode:
    if isinstance(value, Mode):
        return value
    return Mode(_named(value, [mode.value for mode in Mode], "mode"))


def _expression(value: object) -> tuple[str, float]:
    given = _mapping("expression", value)
    for name in given:
        _named(name, ("name", "intensity"), "expression")
    name = _named(given.get("name"), tuple(EXPRESSIONS), "expression")
    return name, _number("expression intensity", given.get("intensity", 1.0), 0.0, 1.0)


def _donors(value: object) -> tuple[str, ...]:
    """Each once, in their order."""
    if not isinstance(value, (list, tuple)) or len(value) > MOST_DONORS:
        raise ConfigError(f"donors: got {_brief(value)}, expected at most {MOST_DONORS} ids of sources")
    return tuple(dict.fromkeys(_text("donors", donor) for donor in value))


def _mapping(what: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what}: got {_brief(value)}, expected names with values")
    return value


def _switch(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{what}: got {_brief(value)}, expected true or false")
    return value


def _named(name: object, choices: tuple[str, ...] | list[str], what: str) -> str:
    return known(_text(what, name), choices, what)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise ConfigError(f"{what}: got {_brief(value)}, expected a name")
    return value


def _number(what: str, value: object, low: float, high: float) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]  # NaN and huge whole numbers fail here too
        raise ConfigError(f"{what}: got {_brief(value)}, expected a number in {low:g} .. {high:g}")
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ConfigError(f"{what}: got {_brief(value)}, expected a number in {low:g} .. {high:g}")
    return number


def _brief(value: object) -> str:
    """The value in a few words, however large or deep it is."""
    try:
        return reprlib.repr(value)
    except Exception:  # a number of too many digits, say
        return f"a {type(value).__name__}"
