"""The secret by which a user knows the plans that were built under this account on this machine."""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
from collections.abc import Iterable
from typing import Final

from engine.errors import PlanCacheError
from engine.plans import lock
from engine.plans.folder import PrivateFolder, Untrusted

NAME: Final = "secret"
BYTES: Final = 32
_LOCK: Final = "secret.lock"

_log = logging.getLogger("marotte.plans")


def read_secret(folder: PrivateFolder) -> bytes:
    """The folder's secret, made where it is missing; of several processes that start at once, all get the same.

    One that anybody else could have written or read is thrown away, and with it everything that it vouched for: no
    plan has its HMAC any more. Raises PlanCacheError where none can be kept.
    """
    with contextlib.suppress(OSError, Untrusted):
        return _read(folder)
    try:
        with lock.held(folder, _LOCK):
            return _read_or_make(folder)
    except (OSError, Untrusted) as error:
        where = f"{folder.path} keeps no secret ({error})"
        raise PlanCacheError(
            f"{where}; free some space there, or name another folder with --cache"
        ) from error


def _read_or_make(folder: PrivateFolder) -> bytes:
    try:
        return _read(folder)
    except FileNotFoundError:
        pass
    except (OSError, Untrusted) as error:
        _log.warning("the secret in %s is thrown away: %s; plans are built again", folder.path, error)
        folder.remove(NAME)
    folder.write(NAME, secrets.token_bytes(BYTES))
    return _read(folder)


def _read(folder: PrivateFolder) -> bytes:
    found = folder.read(NAME, BYTES)
    if len(found) != BYTES:
        raise Untrusted(f"it has {len(found)} bytes, expected {BYTES}")
    return found


def sign(secret: bytes, parts: Iterable[bytes | memoryview]) -> bytes:
    """HMAC-SHA256 of the parts, one after the other."""
    code = hmac.new(secret, digestmod="sha256")
    for part in parts:
        code.update(part)
    return code.digest()
