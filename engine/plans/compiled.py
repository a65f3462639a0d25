"""Plans that a backend compiles by itself, kept as all others are: under this user's HMAC, for this very machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from engine.errors import PlanCacheError, PlanError
from engine.plans.cache import PlanCache, plans_folder
from engine.plans.key import Target, key_of
from engine.plans.policy import current
from engine.plans.request import Built, PlanRequest

_TRIES: Final = 2
_log = logging.getLogger("marotte.plans")


class KeptCompiled:
    """What one graph was compiled to. graph: an ONNX file, in the precision that it is run in. target: the machine and
    what compiles. compile: gives the plan, and raises PlanError where there is none."""

    def __init__(self, graph: bytes, name: str, target: Target, compile: Callable[[], bytes]) -> None:
        policy = current()
        self._name, self._compile = name, compile
        self._versions = {"compiler": target.tensorrt}
        self._key = key_of(PlanRequest(graph, name, "fp32", (1,), flavour="rtx"), target)
        self._cache = PlanCache(policy.folder or plans_folder(), policy.most_bytes)
        self._fresh = False

    def tries(self) -> Iterator[bytes]:
        """The plan that is there, or one that is compiled now; once more a new one where the first was refused. Nothing
        where none can be compiled."""
        for _ in range(_TRIES):
            if self._fresh:
                return
            try:
                kept = self._cache.obtain(self._key, self._built)
                plan, self._fresh = kept.plan, kept.fresh
            except PlanCacheError as error:
                _log.warning("%s; %s is compiled again at the next start", str(error), self._name)
                return
            except PlanError as error:
                _log.warning("%s is compiled at every start: %s", self._name, str(error))
                return
            yield plan

    def refuse(self, reason: str) -> None:
        """The runtime does not take it."""
        try:
            self._cache.remove(self._key, reason)
        except PlanCacheError as error:
            _log.warning("%s", str(error))

    def _built(self) -> Built:
        return Built(self._compile(), self._versions)
