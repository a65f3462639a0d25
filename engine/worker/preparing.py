"""Sources as bundles need them: prepared when a session first asks for them, in the thread that finds sources.

No frame waits for it: a session asks again with its next one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from engine.plug import Prepared
from engine.types import Mode, Source
from engine.worker.offers import OpenBundle
from engine.worker.sources import Cast, Ready

_log = logging.getLogger("marotte.worker")

Made = tuple[Prepared, ...] | Exception
"""What came of preparing the faces of a source."""


class Preparing:
    """For any thread, but for `make` and `work`, which belong to the thread that finds sources. later: has `work`
    called there soon."""

    def __init__(self, bundles: Mapping[str, OpenBundle], later: Callable[[], None]) -> None:
        self._bundles, self._later = bundles, later
        self._lock = threading.Lock()
        self._asked: dict[tuple[int, str, Mode], Callable[[], Made]] = {}
        self._without: dict[tuple[str, Mode], Made] = {}

    def get(self, cast: Cast, bundle: str, mode: Mode) -> tuple[Prepared, ...] | None:
        """What a session in this mode is given: the faces of its source, or its donors' main faces, or where none is
        taken one entry without a source. None where it is still to be made, which is begun then.

        Raises what preparing raised.
        """
        made = [self._made(one, bundle, mode) for one in self._used(cast, bundle, mode)]
        errors = [one for one in made if isinstance(one, Exception)]
        if errors:
            raise errors[0]
        if any(one is None for one in made):
            return None
        faces = [one for one in made if isinstance(one, tuple)]
        if mode is Mode.EDIT:
            return tuple(prepared[0] for prepared in faces)
        return faces[0]

    def make(self, ready: Ready | None, bundle: str, mode: Mode) -> Made:
        """Prepare a source, or what takes none, here and now."""
        sources: tuple[Source | None, ...] = (None,) if ready is None else ready.faces
        if mode is Mode.EDIT:
            sources = sources[:1]  # of a donor the main face
        made: Made
        try:
            made = tuple(self._bundles[bundle].generator.prepare(source, mode) for source in sources)
        except Exception as error:  # whatever it is, it is told to the session that asked
            made = error
        if ready is None:
            self._without[bundle, mode] = made
        else:
            ready.prepared[bundle, mode] = made
            self._tell(ready, bundle, made)
        return made

    def forget(self, bundle: str) -> None:
        """What this bundle was given without a source; it is not offered any more."""
        for mode in Mode:
            self._without.pop((bundle, mode), None)

    def work(self) -> None:
        """Make what was asked for."""
        while True:
            with self._lock:
                key, make = next(iter(self._asked.items()), (None, None))
            if key is None or make is None:
                return
            make()
            with self._lock:
                del self._asked[key]

    def _used(self, cast: Cast, bundle: str, mode: Mode) -> tuple[Ready | None, ...]:
        if mode not in self._bundles[bundle].info.takes_source:
            return (None,)
        if mode is Mode.PUPPET:
            return (cast.source,)
        return cast.donors or (cast.source,)

    def _made(self, ready: Ready | None, bundle: str, mode: Mode) -> Made | None:
        made = self._without.get((bundle, mode)) if ready is None else ready.prepared.get((bundle, mode))
        if made is None:
            key = (id(ready), bundle, mode)  # which lives as long as it is asked for: the callable holds it
            with self._lock:
                new = key not in self._asked
                self._asked.setdefault(key, partial(self.make, ready, bundle, mode))
            if new:
                self._later()
        return made

    def _tell(self, ready: Ready, bundle: str, made: Made) -> None:
        if isinstance(made, Exception):
            _log.warning("%s cannot be used with %s: %s", ready.info.name, bundle, made)
            return
        for prepared in made:
            for note in prepared.notes:
                _log.info("%s with %s: %s", ready.info.name, bundle, note)
