"""Plans on disk: loaded only when this user's own program wrote them, for the very same key."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import PlanCacheError, PlanError
from engine.models import cache_folder
from engine.plans import lock, secret
from engine.plans.folder import PrivateFolder, Untrusted
from engine.plans.key import PlanKey
from engine.plans.request import Built
from engine.schema import strict_json

MOST_BYTES: Final = 8 << 30
"""Of all plans together, unless another bound is given; the least recently used go first."""

_MAGIC: Final = b"marotte plan 2\n"
_LENGTH: Final = 4  # bytes of the header's length, which follows the magic
_MOST_HEADER: Final = 1 << 16
_HMAC: Final = 32
_SUFFIX: Final = ".plan"
_LOCK: Final = ".lock"

_log = logging.getLogger("marotte.plans")


def plans_folder(cache: Path | None = None) -> Path:
    """Where plans lie. cache: root of the models' cache, as in engine.models."""
    return cache_folder(cache) / "plans"


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan and how it was come by. fresh: built just now, not loaded. fault: why it could not be kept, or "". probe:
    as of Built."""

    plan: bytes
    versions: Mapping[str, str]
    fresh: bool
    fault: str = ""
    probe: bytes = b""


class PlanCache:
    """Plans in one folder; any number of threads and processes may use it at once.

    most_bytes: of all plans together. A file that is damaged, somebody else's, or another key's is named in the log,
    deleted, and treated as missing.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        if most_bytes < 1:
            raise PlanError(f"plans: expected room for 1 byte or more, got {most_bytes}")
        self.folder, self.most_bytes = folder, most_bytes

    def load(self, key: PlanKey) -> Built | None:
        """The plan of that very key, None where there is none. Raises PlanCacheError where the folder is unusable."""
        with self._opened() as folder:
            return self._load(folder, secret.read_secret(folder), key)

    def obtain(
        self,
        key: PlanKey,
        build: Callable[[], Built],
        cancel: threading.Event | None = None,
    ) -> Kept:
        """The plan of that key, built where it is missing; of several that ask at once, in any process, one builds.

        A plan that cannot be kept (a full disk, say) is still given. cancel: ends the wait for another builder.
        Raises what `build` does, PlanCacheError where the folder cannot be used.
        """
        with self._opened() as folder:
            key_of_folder = secret.read_secret(folder)
            if found := self._load(folder, key_of_folder, key):
                return Kept(found.plan, found.versions, fresh=False, probe=found.probe)
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(lock.held(folder, key.name() + _LOCK, cancel))
                except (OSError, Untrusted) as error:  # some network file systems have no locks
                    _log.warning("%s cannot be locked (%s): a plan may be built twice", folder.path, error)
                return self._build(folder, key_of_folder, key, build)

    def store(self, key: PlanKey, built: Built) -> None:
        """Keeps a plan. Raises PlanCacheError where it cannot be: a full disk, or larger than all that may be kept."""
        with self._opened() as folder:
            self._store(folder, secret.read_secret(folder), key, built)

    def remove(self, key: PlanKey, reason: str) -> None:
        """Deletes a plan that its runtime refused."""
        with self._opened() as folder:
            self._discard(folder, key.name() + _SUFFIX, reason)

    def kin(self, key: PlanKey) -> Iterator[Built]:
        """Plans of the same graph with other weights, for the same everything else, that were built for refit: those
        that were built first, then those that were refitted themselves; of each the last used one first. One that is
        damaged or somebody else's is deleted as ever. Raises PlanCacheError where the folder cannot be used."""
        with self._opened() as folder:
            key_of_folder = secret.read_secret(folder)
            found = [
                (-state.st_mtime_ns, name)
                for name, state in folder.entries()
                if name.endswith(_SUFFIX) and key.is_kin(name.removesuffix(_SUFFIX))
            ]
            refitted = []
            for _, name in sorted(found):
                if (built := self._load_kin(folder, key_of_folder, name, key)) is None:
                    continue
                if built.refitted:
                    refitted.append(built)
                else:
                    yield built
            yield from refitted

    def others(self, key: PlanKey) -> int:
        """How many plans of the same graph are there for other keys: another GPU, driver, version or precision."""
        start = key.name().partition("-")[0] + "-"
        with self._opened() as folder:
            names = [name for name, _ in folder.entries()]
        return sum(
            name.startswith(start) and name.endswith(_SUFFIX) and name != key.name() + _SUFFIX
            for name in names
        )

    def _opened(self) -> PrivateFolder:
        folder = PrivateFolder(self.folder)
        if folder.emptied:
            _log.warning("%s was open to other users: its plans are thrown away and built again", self.folder)
        return folder

    def _build(
        self, folder: PrivateFolder, key_of_folder: bytes, key: PlanKey, build: Callable[[], Built]
    ) -> Kept:
        if found := self._load(folder, key_of_folder, key):  # another one built it while this one waited
            return Kept(found.plan, found.versions, fresh=False, probe=found.probe)
        self._sweep(folder, key.name())
        built = build()
        try:
            self._store(folder, key_of_folder, key, built)
        except PlanCacheError as error:
            _log.warning("%s", error)
            return Kept(built.plan, built.versions, fresh=True, fault=str(error), probe=built.probe)
        return Kept(built.plan, built.versions, fresh=True, probe=built.probe)

    def _load(self, folder: PrivateFolder, key_of_folder: bytes, key: PlanKey) -> Built | None:
        name = key.name() + _SUFFIX
        try:
            built = _parsed(folder.read(name, self.most_bytes), key_of_folder, key.fits)
        except FileNotFoundError:
            return None
        except (Untrusted, OSError) as error:
            self._discard(folder, name, str(error))
            return None
        folder.touch(name)
        return built

    def _load_kin(self, folder: PrivateFolder, key_of_folder: bytes, name: str, key: PlanKey) -> Built | None:
        try:
            data = folder.read(name, self.most_bytes)
            return _parsed(data, key_of_folder, key.differs_in_weights)
        except FileNotFoundError:
            return None
        except _AnotherKeyError:  # its name begins alike, and it is another driver's, say
            return None
        except (Untrusted, OSError) as error:
            self._discard(folder, name, str(error))
            return None

    def _discard(self, folder: PrivateFolder, name: str, reason: str) -> None:
        _log.warning("plan %s is deleted and built again: %s", folder.path / name, reason)
        folder.remove(name)

    def _store(self, folder: PrivateFolder, key_of_folder: bytes, key: PlanKey, built: Built) -> None:
        header = json.dumps({
            "key": key.facts(), "bytes": len(built.plan), "probe": len(built.probe), "versions": dict(built.versions),
            "structure": built.structure, "refitted": built.refitted, "built": int(time.time()),
        }).encode()  # fmt: skip
        parts: list[bytes | memoryview] = [
            _MAGIC,
            len(header).to_bytes(_LENGTH, "big"),
            header,
            memoryview(built.plan),
            built.probe,
        ]
        whole = sum(map(len, parts)) + _HMAC
        if len(header) > _MOST_HEADER or whole > self.most_bytes:
            raise PlanCacheError(
                f"a plan of {whole} bytes is not kept: at most {self.most_bytes} may be kept in all"
            )
        self._make_room(folder, whole, key.name() + _SUFFIX)
        try:
            folder.write(key.name() + _SUFFIX, *parts, secret.sign(key_of_folder, parts))
        except OSError as error:
            why = error.strerror or str(error)
            raise PlanCacheError(
                f"a plan is not kept in {folder.path} ({why}); free some space there"
            ) from error

    def _make_room(self, folder: PrivateFolder, whole: int, name: str) -> None:
        plans = [
            (state.st_mtime_ns, other, state.st_size)
            for other, state in folder.entries()
            if other.endswith(_SUFFIX) and other != name
        ]
        excess = sum(size for *_, size in plans) + whole - self.most_bytes
        for _, other, size in sorted(plans):
            if excess <= 0:
                return
            _log.info("plan %s makes room: it was used least recently", folder.path / other)
            folder.remove(other)
            excess -= size

    def _sweep(self, folder: PrivateFolder, mine: str) -> None:
        """Takes away what builders left behind that were killed while they wrote."""
        for name, _ in list(folder.entries()):
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            owner = name[1:].partition(".")[0]
            if owner == mine or _idle(folder, owner + _LOCK):
                folder.remove(name)


def _idle(folder: PrivateFolder, name: str) -> bool:
    try:
        return lock.is_free(folder, name)
    except (OSError, Untrusted):
        return False


class _AnotherKeyError(Untrusted):
    """A whole file, of another key than the one that is asked for."""


def _parsed(data: bytes, key_of_folder: bytes, fits: Callable[[Any], bool]) -> Built:
    """fits: whether the facts of its key are those that are asked for. Raises Untrusted. Nothing of the file is looked
    into before its HMAC was found right."""
    view = memoryview(data)
    body, code = view[:-_HMAC], bytes(view[-_HMAC:])
    if not hmac.compare_digest(secret.sign(key_of_folder, [body]), code):
        raise Untrusted("its HMAC is not this user's: it is damaged, or comes from elsewhere")
    start = len(_MAGIC) + _LENGTH
    length = int.from_bytes(body[len(_MAGIC) : start], "big")
    header = _header(bytes(body[start : start + length])) if bytes(body[: len(_MAGIC)]) == _MAGIC else None
    if header is None:
        raise Untrusted("it is of another version of Marotte")
    if not fits(header["key"]):
        raise _AnotherKeyError(
            "it was built for another graph, GPU, driver or version, and bears this one's name"
        )
    rest, size, asked = body[start + length :], header["bytes"], header["probe"]
    if len(rest) != size + asked:
        raise Untrusted(f"its plan has {len(rest) - asked} bytes, expected {size}")
    return Built(
        bytes(rest[:size]),
        header["versions"],
        structure=header["structure"],
        refitted=header["refitted"],
        probe=bytes(rest[size:]),
    )


def _header(text: bytes) -> Mapping[str, Any] | None:
    try:
        header = strict_json(text.decode())
    except ValueError:
        return None
    known = isinstance(header, dict) and isinstance(header.get("versions"), dict)
    return header if known and {"key", "bytes", "probe", "structure", "refitted"} <= header.keys() else None
