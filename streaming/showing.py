"""What a session shows, what a change turns it to, as far as whoever is shown allows it, and what is logged of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine.consent import Record
from engine.errors import ConfigError
from engine.types import Mode
from engine.worker.changes import parse
from engine.worker.interface import BundleInfo, SessionSpec, SourceInfo, held_by
from streaming.consents import Consents
from streaming.logged import SessionLines
from streaming.outlet import Outlet
from streaming.withholding import Needs, Withholding

_ASKS_CONSENT = frozenset({"source", "bundle", "mode", "donors"})
"""Changes that turn to other people."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a session's pictures are made of. bundle: empty in pass-through, mode None. source: of a puppet, its id, or
    what the person that the bundle holds is called; an edit's is the driver. donors: their ids."""

    bundle: str
    mode: Mode | None
    source: str | None
    donors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a change that may be followed leads to. to_others: whether it turns to other people."""

    still: SourceInfo
    needs: Needs
    to_others: bool


def hold_donors(hold: Callable[[Collection[str]], bool], ids: tuple[str, ...]) -> None:
    """hold: as donors of streaming.session.Session. Raises ConfigError where one is not there any more."""
    if not hold(ids):
        raise ConfigError("donors: not all of them are there any more; send the pictures again")


class Showing:
    """Of one session, on its event loop.

    lines: what is logged of it. spec: settled. still, sources, donors and consents: as Session has them. use: one of
    engine.consent.SCOPES. outlet: None before there is one.
    """

    def __init__(
        self,
        lines: SessionLines,
        spec: SessionSpec,
        still: SourceInfo,
        *,
        bundles: Callable[[], tuple[BundleInfo, ...]],
        sources: Callable[[str], SourceInfo | None],
        donors: Callable[[Collection[str]], bool],
        consents: Consents | None,
        use: str,
        outlet: Callable[[], Outlet | None],
    ) -> None:
        """Raises ConsentError where nobody's consent to it holds."""
        self.still = still
        """The source that is named now."""
        self.bundle, self.mode = "", Mode.PUPPET
        self._lines = lines
        self._bundles, self._sources, self._outlet = bundles, sources, outlet
        self._donors, self._given = donors, spec.donors
        self._needs = Needs(spec.bundle, spec.mode or Mode.PUPPET, still.id, spec.donors)
        self._withholding = Withholding(consents, use, self._needs, bundles, outlet)

    def begin(self) -> None:
        """What it was opened with is shown from now on."""
        self.bundle, self.mode = self._needs.bundle, self._needs.mode

    @property
    def shown(self) -> Shown:
        """What it is made of now."""
        source = None if self.mode is Mode.EDIT else self._moved()
        return Shown(self.bundle, self.mode, source, self._given)

    def _moved(self) -> str:
        """Whom a puppet shows."""
        own = held_by(self.bundle)
        return self.still.id if self._sources(own) is None else own

    async def log_start(self, driver: str) -> None:
        """Before anything of it leaves: what cannot be logged is not begun. Raises StateError."""
        facts = self._facts()
        records = await asyncio.to_thread(self.records)
        await self._lines.started(driver, consent=[one.id for one in records], **facts)

    def _facts(self) -> dict[str, Any]:
        bundle = next((one for one in self._bundles() if one.name == self._needs.bundle), None)
        return {"mode": self._needs.mode.value, "bundle": bundle, "sources": self._withholding.needed}

    # --- changes ---------------------------------------------------------------------------------------

    def looked_up(self, change: Mapping[str, Any]) -> Turn:
        """What it would lead to. Raises ConfigError, and ConsentError where it may not be shown."""
        still = self._named(change.get("source"))
        donors = parse({"donors": change["donors"]}).donors if "donors" in change else None
        if donors is not None:
            hold_donors(self._donors, donors)
        to_others = bool(change.keys() & _ASKS_CONSENT)
        needs = Needs(*self._kind_by(change), still.id, self._given if donors is None else donors)
        if to_others:
            self._withholding.check(needs)
        return Turn(still, needs, to_others)

    def _named(self, source: object) -> SourceInfo:
        """The source that a change names, or the present one."""
        if source is None:
            return self.still
        found = self._sources(source) if isinstance(source, str) else None
        if found is None:
            raise ConfigError("source: not one that was accepted; send the picture first")
        return found

    def _kind_by(self, change: Mapping[str, Any]) -> tuple[str, Mode]:
        """Bundle and mode after a change. Raises ConfigError."""
        try:
            return change.get("bundle", self.bundle), Mode(change.get("mode", self.mode))
        except ValueError as error:
            raise ConfigError(f"mode: got {str(change['mode'])[:40]!r}, expected puppet or edit") from error

    def turn(self, to: Turn, number: int) -> bool:
        """The worker took the change and gave it this number; whether it is another bundle or mode. Whatever it leads
        to, nothing of another leaves after its answer."""
        self.still, self._given = to.still, to.needs.donors
        if to.to_others:
            self._needs = to.needs
            self._withholding.turn(to.needs, number)
        kind = to.needs.bundle, to.needs.mode
        turned = kind != (self.bundle, self.mode) and self._outlet() is not None
        if turned:
            self.bundle, self.mode = kind
            self.anew(number)
        if to.to_others:
            self._lines.shows(**self._facts())
        return turned

    def anew(self, number: int) -> None:
        """Nothing that was made before the change of this number leaves any more."""
        outlet = self._outlet()
        if outlet is not None:
            outlet.turn(self.bundle, self.mode, self.still, number)

    # --- consent ---------------------------------------------------------------------------------------

    @property
    def in_use(self) -> frozenset[str]:
        """See Session.in_use."""
        return self._withholding.in_use

    @property
    def withheld(self) -> str:
        """Why plain grey stands in place of its picture; empty where it does not."""
        return self._withholding.why

    def records(self) -> tuple[Record, ...]:
        """Those by which whoever it shows is shown. Blocks."""
        return self._withholding.records()

    def withhold(self, asked: Collection[str], faults: Mapping[str, str]) -> bool:
        """As Withholding.hear; whether its picture is withheld from now on, and was not before."""
        before = self.withheld
        self._withholding.hear(asked, faults)
        told = bool(self.withheld and not before)
        if told:
            self._lines.withheld()
        return told
