"""The key by which this installation signs: consent records, session statements, the session log's ends.

Ed25519 (RFC 8032) over the UTF-8 bytes of a canonical JSON text: keys sorted, no spaces, no ASCII escapes. Whoever has
the public key can check a signature; what it proves is that this installation wrote the text, not that it is true.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from engine.errors import StateError
from engine.media.wording import one_line

FILE: Final = "operator.pem"
_MOST_BYTES: Final = 4096


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object that is signed and hashed. Raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


class Signer:
    """Signs with this installation's key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()
        """The public key, 64 hex digits."""
        self.id = hashlib.sha256(bytes.fromhex(self.public)).hexdigest()[:16]
        """The key's short name: the first 16 hex digits of the public key's SHA-256."""

    def sign(self, value: Mapping[str, Any]) -> str:
        """The signature of `canonical(value)`, 128 hex digits."""
        signature: bytes = self._key.sign(canonical(value))
        return signature.hex()


def signed_by(public: str, signature: str, value: Mapping[str, Any]) -> bool:
    """Whether the holder of this public key (hex) signed `canonical(value)`; False too for what is no key, no signature
    or no JSON."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(signature), canonical(value)
        )
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=8)
def operator(folder: Path) -> Signer:
    """This installation's key, in `folder`/operator.pem of mode 0600; made where there is none. Blocks.

    Raises StateError where it cannot be read or kept: a damaged key is never replaced, for what it signed would lose
    its proof.
    """
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return Signer(_read(path))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StateError(
            f"the key of this installation, {one_line(path)}, cannot be used ({why}): repair it, or move it away to "
            "get a new one, which does not vouch for what the old one signed"
        ) from error


def _make(path: Path) -> None:
    """Of several processes that start at once, the first one's stays."""
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(file, key)
        os.fsync(file)
    finally:
        os.close(file)
    try:
        os.link(part, path)  # fails where another was faster, and is never seen half written
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _read(path: Path) -> Ed25519PrivateKey:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if sys.platform != "win32" and (status.st_uid != os.getuid() or status.st_mode & 0o077):
            raise ValueError("others can read or change it: chmod 600")
        key = load_pem_private_key(file.read(_MOST_BYTES), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is no Ed25519 key")
    return key
