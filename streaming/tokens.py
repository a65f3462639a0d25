"""Tokens that say what they are for and until when: signed, so that nothing is kept of them but what was taken back.

    mrt1.PAYLOAD.SIGNATURE

PAYLOAD is JSON without spaces and with its keys in order, in base64url without padding: `exp` and `iat` in whole
seconds since 1970, `id`, and `scopes`, in order and each once. SIGNATURE is the HMAC-SHA256 of `mrt1.PAYLOAD`, written
alike. A token has one spelling: what was not written as here is refused before it is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from engine.config import known
from engine.errors import ConfigError, InputError, StateError

PREFIX: Final = "mrt1."
MOST_LETTERS: Final = 1024
MOST_SCOPES: Final = 16
MOST_S: Final = 366 * 86400.0
ROOM_STREAM: Final = "--"
"""Between a room's name and the rest of a stream's that belongs to it."""
SKEW_S: Final = 30.0
"""How far another machine's clock, by which a token was issued, may be off."""
LEAST_KEY: Final = 16
MOST_REVOKED: Final = 4096

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_NAMED: Final = {"publish": False, "view": False, "room": True}
"""Kinds that a name may follow, and whether it has to."""
_COVERS: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset({"admin", "api", "metrics", "publish", "view", "room"}),
    "api": frozenset({"api", "publish", "view"}),
}
KINDS: Final = ("admin", "api", "metrics", "publish", "room", "view")


class TokenError(InputError):
    """A token that lets nobody in. ours: it was signed with the key, and is not in force."""

    def __init__(self, message: str, *, ours: bool = False) -> None:
        super().__init__(message)
        self.ours = ours


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a token is for: a kind of KINDS, and with publish, view and room the name of a stream or room. Without a
    name publish and view are for every stream. api is for publish and view too, admin for everything."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def covers(self, asked: Scope) -> bool:
        """Whether it is enough where `asked` is needed."""
        if self.kind == asked.kind:
            return self.name in ("", asked.name)
        if self.kind == "room" and asked.kind in ("publish", "view"):
            return asked.name.startswith(self.name + ROOM_STREAM)
        return asked.kind in _COVERS.get(self.kind, ())


def scope_of(text: str) -> Scope:
    """Raises ConfigError."""
    kind, colon, name = text.partition(":") if isinstance(text, str) else (text, "", "")
    known(kind, KINDS, "scope")
    if (colon and kind not in _NAMED) or (not colon and _NAMED.get(kind, False)):
        expected = f"{kind}:NAME" if kind in _NAMED else kind
        raise ConfigError(f"scope: got {text[:80]!r}, expected {expected}")
    if colon and not _NAME.fullmatch(name):
        raise ConfigError(f"scope: got {text[:80]!r}; a name is 1 to 64 of a-z, 0-9 and -")
    if kind == "room" and (ROOM_STREAM in name or name.endswith("-")):
        raise ConfigError(f"scope: got {text[:80]!r}; a room's name has single - between letters or figures")
    return Scope(kind, name)


@dataclass(frozen=True, slots=True)
class Token:
    """What was read of one. issued_s, expires_s: since 1970."""

    id: str
    scopes: tuple[Scope, ...]
    issued_s: float
    expires_s: float

    def allows(self, asked: Scope) -> bool:
        """Whether one of its scopes is enough."""
        return any(scope.covers(asked) for scope in self.scopes)


OWN: Final = Token("own", (Scope("admin"),), 0.0, math.inf)
"""What the server's own token stands for: everything, as long as it runs."""


def key_of(secret: str | bytes) -> bytes:
    """The key that signs, from the server's own token or from what a key file holds. Raises ConfigError for less than
    LEAST_KEY bytes."""
    given = secret.encode() if isinstance(secret, str) else secret
    if len(given) < LEAST_KEY:
        raise ConfigError(
            f"token key: expected at least {LEAST_KEY} bytes, got {len(given)}; make one with: openssl rand -base64 32"
        )
    return hmac.digest(given, b"marotte: the key of tokens, 1", hashlib.sha256)


class Tokens:
    """Issues and reads tokens of one key. For any thread.

    clock: seconds since 1970, of the wall: tokens are made on one machine and read on another.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key, self._clock = key, clock
        self._lock = threading.Lock()
        self._revoked: dict[str, float] = {}

    def issue(self, scopes: Iterable[Scope], for_s: float) -> tuple[str, Token]:
        """A new one, and what stands in it. Raises ConfigError for no scope, too many, or a time that is not 1 s to
        MOST_S."""
        asked = tuple(sorted(set(scopes)))
        if not 1 <= len(asked) <= MOST_SCOPES:
            raise ConfigError(f"scope: got {len(asked)}, expected 1 .. {MOST_SCOPES}")
        if not 1.0 <= for_s <= MOST_S:
            raise ConfigError(f"for: got {for_s:g} s, expected 1 s .. {MOST_S / 86400:g} days")
        issued_s = math.floor(self._clock())
        token = Token(secrets.token_urlsafe(9), asked, issued_s, issued_s + math.ceil(for_s))
        return self._written(token), token

    def read(self, text: str) -> Token:
        """What a token says. Raises TokenError where it is not one of this key's, not yet or no more in force, or was
        taken back. Takes the same time whichever letter of a signature is wrong."""
        if len(text) > MOST_LETTERS or not text.startswith(PREFIX) or not text.isascii():
            raise TokenError("token: it is none of this server's")
        signed, _, signature = text.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode()):
            raise TokenError("token: it is none of this server's")
        token = _read(signed[len(PREFIX) :])
        now_s = self._clock()
        if token.issued_s > now_s + SKEW_S or token.expires_s - token.issued_s > MOST_S + 1:
            raise TokenError(
                "token: it is not in force yet; set the clock of the machine that made it", ours=True
            )
        if token.expires_s <= now_s - SKEW_S:
            raise TokenError("token: it has expired; ask for a new one", ours=True)
        with self._lock:
            if token.id in self._revoked:
                raise TokenError("token: it was taken back; ask for a new one", ours=True)
        return token

    def revoke(self, token_id: str) -> None:
        """Refuse it from now on, for as long as this process runs. Raises InputError for what is no id,
        StateError where as many as are remembered were taken back."""
        if not _ID.fullmatch(token_id):
            raise InputError("token: expected an id, as it was told when it was issued")
        now_s = self._clock()
        with self._lock:
            self._revoked = {one: until for one, until in self._revoked.items() if until > now_s}
            if len(self._revoked) >= MOST_REVOKED and token_id not in self._revoked:
                raise StateError(
                    f"{MOST_REVOKED} tokens were taken back, and no more are remembered; start the server with another "
                    "key, which ends them all"
                )
            self._revoked[token_id] = now_s + MOST_S + SKEW_S

    def _written(self, token: Token) -> str:
        signed = PREFIX + _payload(token)
        text = f"{signed}.{self._signature(signed)}"
        if len(text) > MOST_LETTERS:
            raise ConfigError(f"scope: too many, the token would have {len(text)} letters of {MOST_LETTERS}")
        return text

    def _signature(self, signed: str) -> str:
        return _packed(hmac.digest(self._key, signed.encode("ascii"), hashlib.sha256))


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _payload(token: Token) -> str:
    told = {
        "exp": int(token.expires_s),
        "iat": int(token.issued_s),
        "id": token.id,
        "scopes": [str(scope) for scope in token.scopes],
    }
    return _packed(json.dumps(told, separators=(",", ":"), sort_keys=True).encode("ascii"))


def _read(payload: str) -> Token:
    """Of one that was signed with the key; another program may have it too."""
    try:
        told: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        sound = set(told) == {"exp", "iat", "id", "scopes"} and all(
            type(told[at]) is int for at in ("exp", "iat")
        )
        if not sound or not isinstance(told["id"], str) or not _ID.fullmatch(told["id"]):
            raise ValueError("fields")
        scopes = tuple(scope_of(text) for text in told["scopes"])
        token = Token(told["id"], scopes, float(told["iat"]), float(told["exp"]))
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        OverflowError,
        binascii.Error,
        ConfigError,
    ) as error:
        raise TokenError("token: it is signed, and no token; make one with: marotte token") from error
    if not 1 <= len(scopes) <= MOST_SCOPES or _payload(token) != payload:
        raise TokenError("token: it is signed, and not spelled as tokens are; make one with: marotte token")
    return token
