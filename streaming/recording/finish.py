"""A recording that has ended is made whole: one file that plays from its beginning, with its tags and its manifest.

A process of its own, behind everything else: `python -m streaming.recording.finish PART WHOLE`, with what is to be said
of it as JSON on standard input. It tells what came of it as one line of JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import av

from engine.errors import MarotteError
from streaming.recording.boxes import cut_to_whole

TAGS: Final = {
    "title": "AI-generated",
    "comment": "AI-generated: made by Marotte from a live session; the person shown did not do or say this.",
}
"""What players show, in the file's own metadata."""
_NICE: Final = 19


def finish(part: Path, whole: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """Make the whole file of its fragments, and sign it; the part is gone then. Returns bytes, signed and unsigned.

    Where the disk has no room for a second copy the fragments become the file as they are: it plays, and is unsigned.
    Raises OSError where even that fails, or no picture was ever written.
    """
    if not cut_to_whole(part):
        raise OSError("no picture was written")
    beside = whole.with_name(f".{whole.stem}.{secrets.token_hex(4)}.mp4")
    signed, unsigned = False, ""
    try:
        _join(part, beside)
        signed, unsigned = _sign(beside, made)
        beside.chmod(0o600)
        os.replace(beside, whole)
        part.unlink()
    except (OSError, av.FFmpegError) as error:
        unsigned = f"it is in fragments still, which play ({getattr(error, 'strerror', None) or error})"
        os.replace(part, whole)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return {"bytes": whole.stat().st_size, "signed": signed, "unsigned": unsigned}


def _join(part: Path, whole: Path) -> None:
    """The same packets behind one index. Raises OSError (av.FFmpegError is one of a full disk's)."""
    with (
        av.open(f"file:{part}", format="mp4") as given,
        av.open(f"file:{whole}", "w", format="mp4", container_options={"movflags": "+faststart"}) as made,
    ):
        streams: dict[int, Any] = {}
        for stream in (*given.streams.video, *given.streams.audio):
            streams[stream.index] = made.add_stream_from_template(stream)
        made.metadata.update(TAGS)
        for packet in given.demux():
            if packet.dts is None:
                continue
            packet.stream = streams[packet.stream.index]
            made.mux(packet)


def _sign(path: Path, made: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether it is signed, and else why not."""
    from engine import provenance

    if not provenance.available():
        return False, "the C2PA library is not installed; run: python -m pip install 'marotte[c2pa]'"
    try:
        told = dict(made) | {"when": datetime.fromisoformat(made["when"])}
        told |= {
            name: tuple(told[name]) for name in ("consent", "marks", "lowered", "others") if name in told
        }
        provenance.sign(path, provenance.Made(kind="recording", **told), signer=provenance.configured())
    except MarotteError as error:
        return False, str(error)
    return True, ""


def main(words: list[str]) -> int:
    """0 when the file is there."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICE)
    part, whole = map(Path, words)
    try:
        told = finish(part, whole, json.loads(sys.stdin.read()))
    except OSError as error:
        print(json.dumps({"failed": f"{error.strerror or error}"}), flush=True)
        return 1
    print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
