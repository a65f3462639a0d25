"""Whether a generator can do what it is asked for, told in the same words before it is opened and after."""

from __future__ import annotations

from collections.abc import Set

from engine.errors import ConfigError
from engine.types import Mode


def check_mode(name: str, offered: Set[Mode], mode: Mode) -> None:
    """Raises ConfigError for a mode that the generator `name` has not."""
    if mode not in offered:
        modes = ", ".join(sorted(one.value for one in offered))
        asking = "; ask for it by --mode edit" if offered == {Mode.EDIT} else ""
        raise ConfigError(f"{name}: got mode {mode.value!r}, expected one of {modes}{asking}")


def check_no_source(name: str, mode: Mode, *, given: bool, takes: bool) -> None:
    """Raises ConfigError for the donor of an edit that takes none."""
    if mode is Mode.EDIT and given and not takes:
        raise ConfigError(f"{name}: got a donor, expected none: it edits the driver's face")
