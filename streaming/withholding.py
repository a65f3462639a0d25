"""Who of a session may be shown: what it needs consent to, and whom plain grey stands for where that has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from engine.consent import Record
from engine.errors import ConsentError
from engine.types import Mode
from engine.worker.interface import BundleInfo, held_by
from streaming.consents import NEXT, Consents
from streaming.outlet import Outlet

_ASK: Final = "; next step: choose another portrait, or ask the operator"
_STEP: Final = "; next step:"


def with_next(why: str) -> str:
    """For the person before the page: why something may not be shown, with the one step that they can take. An
    operator's own, a command, is none of theirs; and only consent is given anew by adding the portrait again."""
    ended = "does not hold" in why or "nobody's consent" in why
    return why.partition(_STEP)[0] + (NEXT if ended else _ASK)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a session shows. source: id of its portrait. donors: of an edit."""

    bundle: str
    mode: Mode
    source: str
    donors: tuple[str, ...] = ()

    def of(self, bundles: tuple[BundleInfo, ...]) -> frozenset[str]:
        """What of it needs consent: ids of sources, and the bundle as `held_by` names it."""
        info = next((one for one in bundles if one.name == self.bundle), None)
        sources = set(self.donors) or {self.source} if self.mode is Mode.EDIT else {self.source}
        if info is not None and (info.own is not None or self.mode not in info.takes_source):
            sources = set()
        return frozenset(sources | {held_by(self.bundle)})


class Withholding:
    """Of one session, on its event loop. consents: None asks for nothing. use: one of engine.consent.SCOPES. outlet:
    None before there is one."""

    def __init__(
        self,
        consents: Consents | None,
        use: str,
        needs: Needs,
        bundles: Callable[[], tuple[BundleInfo, ...]],
        outlet: Callable[[], Outlet | None],
    ) -> None:
        """Raises ConsentError as `check` does."""
        self.consents, self._use = consents, use
        self._bundles, self._outlet = bundles, outlet
        self._needs, self._faults = needs, dict[str, str]()
        self._former, self._until = frozenset[str](), 0
        self.check(needs)

    def check(self, needs: Needs) -> None:
        """That it may be shown. Raises ConsentError with the next step."""
        if self.consents is None:
            return
        faults = self.consents.faults(needs.of(self._bundles()), self._use)
        if faults:
            raise ConsentError(next(iter(faults.values())))

    def turn(self, needs: Needs, number: int) -> None:
        """It shows this from the change of this number on; what it showed before may be seen until then."""
        self._former, self._until = self.in_use, number
        self._needs = needs
        self._bar()

    @property
    def needed(self) -> frozenset[str]:
        """What of what it shows needs consent, whether or not anybody asks for it."""
        return self._needs.of(self._bundles())

    def records(self) -> tuple[Record, ...]:
        """Those by which it is shown; none where nobody asks for them. Blocks."""
        return () if self.consents is None else self.consents.records(self.needed, self._use)

    @property
    def in_use(self) -> frozenset[str]:
        """What needs consent of what is shown, or may still be."""
        if self.consents is None:
            return frozenset()
        outlet = self._outlet()
        late = outlet is not None and outlet.changes < self._until
        return self.needed | (self._former if late else frozenset())

    @property
    def why(self) -> str:
        """Why plain grey stands in place of the picture; empty where it does not."""
        return next((self._faults[one] for one in sorted(self.in_use) if one in self._faults), "")

    def hear(self, asked: Collection[str], faults: Mapping[str, str]) -> None:
        """What was found when the consent to these was asked for: whoever is at fault is not shown from now on, and
        whoever is not may be again."""
        self._faults = {one: why for one, why in self._faults.items() if one not in asked} | dict(faults)
        self._bar()

    def _bar(self) -> None:
        outlet = self._outlet()
        if outlet is None:
            return
        shown, barred = self.in_use, set(self._faults)
        if held_by(self._needs.bundle) in barred:
            barred |= {*shown, self._needs.source}
        elif self._needs.mode is Mode.EDIT:
            barred &= shown
        outlet.withhold(barred)
