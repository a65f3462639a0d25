"""What the last line is, signed, beside the log: by it a tail that was cut off is missed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.signing import Signer, canonical, signed_by

FILE: Final = "head.json"
_MOST_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Head:
    """n, hash: of the last line. key: the public key (hex) by which this was signed."""

    n: int
    hash: str
    key: str


def keep(folder: Path, n: int, hash_: str, signer: Signer) -> None:
    """Say that this is the last line. Raises OSError."""
    said = {"n": n, "hash": hash_, "key": signer.public}
    whole = canonical(said | {"signature": signer.sign(said)})
    part = folder / f"{FILE}.part"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if os.write(file, whole) != len(whole):
            raise OSError(28, "the disk took only a part of it")
        os.fsync(file)
    finally:
        os.close(file)
    part.replace(folder / FILE)


def head_of(folder: Path) -> Head | None:
    """None where there is none that is rightly signed by the key that it names. Raises OSError."""
    try:
        with (folder / FILE).open("rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        signature = said.pop("signature")
        head = Head(int(said["n"]), str(said["hash"]), str(said["key"]))
        return head if signed_by(head.key, str(signature), said) else None
    except (
        FileNotFoundError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        return None
