"""Accounts at a TURN server that are good for a while, from a secret that it shares with this server.

What coturn calls use-auth-secret, and others after draft-uberti-behave-turn-rest: the name is the time of its end and
whose it is, the password a code of the name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import Final

from engine.errors import ConfigError

GOOD_S: Final = 24 * 3600
"""As long as a call may last: a relay asks for the password again every few minutes."""
LEAST_SECRET: Final = 16


def checked_secret(secret: str) -> str:
    """Raises ConfigError."""
    if len(secret) < LEAST_SECRET or not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"turn_secret: expected at least {LEAST_SECRET} printable ASCII characters")
    return secret


def account(secret: str, now: float | None = None, whose: str = "") -> tuple[str, str]:
    """(username, credential). now: seconds since 1970. whose: what its logs will call it, random where empty."""
    expires = int(time.time() if now is None else now) + GOOD_S
    name = f"{expires}:{whose or secrets.token_hex(6)}"
    code = hmac.digest(secret.encode(), name.encode(), hashlib.sha1)
    return name, base64.b64encode(code).decode()
