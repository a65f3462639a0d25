"""What was sent for an enrolment, looked at in a process of its own: `python -m streaming.enrolment_probe FILES`.

A line of JSON tells what the files are, or why they cannot be used; nothing but the first frame of each is decoded.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av

from engine import errors
from engine.errors import DecodeError, InputError, MarotteError, TooLargeError
from engine.media import open_media
from engine.media.container import open_container
from streaming.enrolment_child import without_secrets
from streaming.enrolment_kinds import LEAST_SECONDS, MOST_SECONDS, Kind, clip_limits, photo_limits

WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """One file. seconds: None for a photo."""

    name: str
    seconds: float | None


def probe(files: Sequence[Path], within_s: float = WITHIN_S) -> list[Found]:
    """What the files are. Blocks. Raises InputError and what reading them raises."""
    command = [sys.executable, "-m", "streaming.enrolment_probe", *map(str, files)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, env=without_secrets()
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{files[0].name}: it took longer than {within_s:g} s to look at; send less"
        ) from error
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise DecodeError(f"{files[0].name} cannot be read: it ended what looked at it") from error
    if "refused" in said:
        kind, message = said["refused"]
        raise getattr(errors, kind)(message)
    return [Found(name, seconds) for name, seconds in said["files"]]


def check_kind(kind: Kind, found: Sequence[Found]) -> None:
    """Raises InputError where the system does not take such files, or not so many, or so long ones."""
    clips = [one for one in found if one.seconds is not None]
    takes = [f"{kind.clips} clip"] if kind.clips else []
    takes += [f"up to {kind.photos} photos"] if kind.photos else []
    if not found or (clips and len(found) > kind.clips) or (not clips and len(found) > kind.photos):
        photos = len(found) - len(clips)
        raise InputError(
            f"got {len(clips)} clips and {photos} photos; {kind.title} takes {' or '.join(takes)}"
        )
    for one in clips:
        if one.seconds is not None and one.seconds < LEAST_SECONDS:
            raise InputError(f"{one.name} is {one.seconds:.1f} s long; expected {LEAST_SECONDS:g} s or more")


def look_at(path: Path) -> Found:
    """In this process."""
    with closing(open_media(path, photo_limits(), clip_limits())) as media:
        if media.still:
            for _ in media:  # a photo is decoded by and by
                pass
            return Found(path.name, None)
    return Found(path.name, _seconds(path))


def _seconds(path: Path) -> float:
    """From the packets: what recorders write states no length, and what is stated may be wrong."""
    container, file = open_container(path, clip_limits(), None)
    first, last = float("inf"), float("-inf")
    with closing(file), closing(container):
        try:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is None or packet.time_base is None:
                    continue
                at_s = float(packet.pts * packet.time_base)
                first, last = min(first, at_s), max(last, at_s)
                if last - first > MOST_SECONDS:
                    raise TooLargeError(f"{path.name} is longer than {MOST_SECONDS:g} s; send a shorter one")
        except av.FFmpegError:
            pass  # a cut file ends in an error of the demuxer
    return max(0.0, last - first)


def digest(files: Sequence[Path]) -> str:
    """SHA-256 of all of them, one after the other; of one file it is that file's. Raises InputError."""
    found = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    found.update(part)
        except OSError as error:
            raise InputError(f"{path.name} cannot be read ({error.strerror})") from error
    return found.hexdigest()


def main(files: Sequence[str]) -> int:
    """Always 0: what is wrong with the files stands in the line."""
    try:
        found = [look_at(Path(name)) for name in files]
        print(json.dumps({"files": [[one.name, one.seconds] for one in found]}))
    except MarotteError as error:
        print(json.dumps({"refused": [type(error).__name__, str(error)]}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
