"""How fast the kernels of earlier builds were, kept on disk: the next build measures only what is new."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import PlanError
from engine.plans import secret
from engine.plans.folder import PrivateFolder, Untrusted
from export.tensorrt.api import Toolkit

if TYPE_CHECKING:
    import tensorrt as trt

_HMAC: Final = 32
_MOST: Final = 1 << 28

_log = logging.getLogger("marotte.plans")


@dataclass(frozen=True, slots=True)
class TimingCache:
    """One file per version of TensorRT in a folder of this user's, under an HMAC: TensorRT reads it without distrust.

    What is missing, damaged or somebody else's counts as empty, and TensorRT itself puts away what was measured on
    another GPU. RTX measures nothing before a plan meets its card, and has no file.
    """

    folder: Path

    def name(self, toolkit: Toolkit) -> str:
        """Of the file."""
        return f"timing-{toolkit.version}.cache"

    def lend(self, toolkit: Toolkit, config: trt.IBuilderConfig) -> None:
        """Gives the builder what is known. Raises PlanError where the folder cannot be used."""
        if toolkit.flavour == "rtx":
            return
        known = self.read(self.name(toolkit))
        cache = config.create_timing_cache(known)
        if cache is None or not config.set_timing_cache(cache, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def keep(self, toolkit: Toolkit, config: trt.IBuilderConfig) -> None:
        """Writes down what this build measured. A disk that refuses costs the next build time, and not this plan."""
        cache = None if toolkit.flavour == "rtx" else config.get_timing_cache()
        if cache is None:
            return
        try:
            self.write(self.name(toolkit), bytes(cache.serialize()))
        except (OSError, PlanError) as error:
            _log.warning(
                "timings cannot be kept in %s (%s): the next build takes as long", self.folder, error
            )

    def read(self, name: str) -> bytes:
        """What is known, b"" where nothing is that can be trusted."""
        with PrivateFolder(self.folder) as folder:
            try:
                found = folder.read(name, _MOST)
            except FileNotFoundError:
                return b""
            except (OSError, Untrusted) as error:
                return self._discard(folder, name, str(error))
            code, data = found[:_HMAC], found[_HMAC:]
            if not hmac.compare_digest(code, secret.sign(secret.read_secret(folder), [data])):
                return self._discard(folder, name, "it is damaged, or somebody else's")
            return data

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all. Raises OSError and PlanError."""
        with PrivateFolder(self.folder) as folder:
            folder.write(name, secret.sign(secret.read_secret(folder), [data]), data)

    def _discard(self, folder: PrivateFolder, name: str, why: str) -> bytes:
        _log.warning("%s is thrown away: %s; kernels are measured again", folder.path / name, why)
        folder.remove(name)
        return b""
