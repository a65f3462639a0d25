"""The person that a bundle holds as a source, read in a process of its own: `python -m streaming.own_person BUNDLE`.

The network's side opens no graph. Standard output carries the bytes of the source, as engine.worker.pictures joins
them; an error is the last line of standard error.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2

from engine.errors import BundleError, MarotteError
from engine.generators import own_person
from engine.several import ENROLLED
from engine.types import U8
from engine.worker.pictures import Picture, parted, with_pictures
from streaming.uploads import Upload

WITHIN_S: Final = 120.0


def upload_of(bundle: Path, name: str, accept: frozenset[str] = frozenset()) -> Upload:
    """What a bundle holds, as somebody would have sent it. accept: acceptances that the bundle asks for. Blocks for
    seconds. Raises BundleError where it cannot be read, and DecodeError."""
    command = [sys.executable, "-m", "streaming.own_person", str(bundle), *sorted(accept)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"bundle {bundle.name}: its person was not read within {WITHIN_S:g} s") from error
    found = parted(done.stdout, name) if done.returncode == 0 else None
    if found is None:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BundleError(
            f"bundle {bundle.name}: its person cannot be read ({said[-1] if said else 'no word'})"
        )
    told = tuple((one.name, hashlib.sha256(one.data).hexdigest()) for one in found.pictures)
    return Upload(done.stdout, name, told, tuple(sorted(found.accept - {ENROLLED})), bundle=bundle)


def packed(pictures: Sequence[U8], names: Sequence[str], accept: frozenset[str]) -> bytes:
    """Pictures (H, W, 3) as the bytes of one source, to the last value."""
    coded = []
    for rgb, name in zip(pictures, names):
        done, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        if not done:
            raise BundleError(f"{name} could not be written as PNG")
        coded.append(Picture(name, data.tobytes()))
    return with_pictures(coded, accept)


def main(words: Sequence[str]) -> int:
    """words: the bundle's folder, and acceptances."""
    try:
        own = own_person(Path(words[0]), accept=frozenset(words[1:]))
        data = packed(own.pictures, own.names, own.accept | {ENROLLED})
    except MarotteError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(data)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
