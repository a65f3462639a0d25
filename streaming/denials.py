"""The deny-list as a server goes by it: asked where a source comes in, and again as long as it is shown.

A bundle's own person is asked for by its portrait. What was found is kept until the list changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final

import cv2
import numpy as np

from engine.denied import REFUSED, Denied, DeniedError, Entry
from engine.denied.hashing import BYTES, hashes_of
from engine.errors import StateError
from engine.types import U8
from engine.worker.interface import SourceInfo

_KEPT: Final = 64


class Denials:
    """Of one server. For any thread; it blocks for as long as a look at a folder takes. denied: None is this
    installation's list. find: finds a source, or a bundle's person, by its id. pictures_of: SHA-256 of each
    photo of a source of several."""

    def __init__(self, denied: Denied | None = None) -> None:
        self.denied = denied or Denied()
        self.find: Callable[[str], SourceInfo | None] = lambda source: None
        self.pictures_of: Callable[[str], tuple[str, ...]] = lambda source: ()
        self._lock = threading.Lock()
        self._hashes: OrderedDict[str, tuple[U8, ...]] = OrderedDict()
        self._entries: tuple[Entry, ...] = ()
        self._found: dict[tuple[str, ...], bool] = {}

    def check(self, source: SourceInfo, sums: Iterable[str] = ()) -> None:
        """Before it is kept. sums: SHA-256 of each of its pictures. Raises DeniedError or StateError."""
        if self._known(source, (source.id, *sums)):
            raise DeniedError(f"{source.name}: {REFUSED}")

    def why_not(self, source: SourceInfo) -> str | None:
        """Why it may not be shown (any more), as the end of a sentence; None where it may. Never raises: a list that
        cannot be read denies everything."""
        sums = (source.id, *self.pictures_of(source.id))
        try:
            entries = self.denied.all()
            with self._lock:
                if entries is not self._entries:
                    self._entries, self._found = entries, {}
                found = self._found.get(sums)
            if found is None:
                found = bool(entries) and self._known(source, sums)
                with self._lock:
                    if entries is self._entries:
                        self._found[sums] = found
        except StateError as error:
            return str(error)
        return REFUSED if found else None

    def faults(self, sources: Collection[str]) -> dict[str, str]:
        """Which of these may not be shown, each with the reason."""
        known = ((source, self.find(source)) for source in sources)
        return {source: why for source, info in known if info is not None and (why := self.why_not(info))}

    def _known(self, source: SourceInfo, sums: tuple[str, ...]) -> bool:
        """By any of its bytes, or by the look of any of its pictures."""
        return any(self.denied.known(hashes, sums=sums) is not None for hashes in self._hashes_of(source))

    def _hashes_of(self, source: SourceInfo) -> tuple[U8, ...]:
        """Of its still, then of each of its pictures."""
        with self._lock:
            if source.id in self._hashes:
                self._hashes.move_to_end(source.id)
                return self._hashes[source.id]
        looks = (np.frombuffer(one.looks, np.uint8).reshape(-1, BYTES) for one in source.pictures)
        hashes = (hashes_of(picture_of(source)), *looks)
        with self._lock:
            self._hashes[source.id] = hashes
            while len(self._hashes) > _KEPT:
                self._hashes.popitem(last=False)
        return hashes


def picture_of(source: SourceInfo) -> U8:
    """What it shows, uint8 (H, W, 3)."""
    return np.asarray(cv2.cvtColor(source.still, cv2.COLOR_YUV2RGB_I420), np.uint8)
