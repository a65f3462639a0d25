"""Which hardware encoders work on this machine: each is really opened and given pictures, in a process of its own with
a time limit, so that a broken driver takes nothing down with it.

`python -m streaming.hardware NAME` is that process: it prints one line of JSON.
"""

from __future__ import annotations

import glob
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import ConfigError

if TYPE_CHECKING:
    import av

AUTO, SOFTWARE = "auto", "software"
NAMES = ("nvenc", "vaapi", "videotoolbox")
ENCODERS = (AUTO, SOFTWARE, *NAMES)
"""What ServeConfig.encoder may be."""
PROBE_S = 20.0
"""A driver that has not encoded a picture by then does not answer."""
SIZE = (640, 480)

_DEVICES = {"nvenc": ("/dev/nvidia[0-9]*", "NVIDIA device"), "vaapi": ("/dev/dri/renderD*", "render device")}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """detail: what encodes, or why it does not, in few words."""

    name: str
    works: bool
    detail: str


Run = Callable[[Sequence[str], float], tuple[int, str, str]]


def probe(name: str, run: Run | None = None) -> Probe:
    """Whether a hardware encoder works. run: starts a command with a time limit in seconds and returns its exit code,
    output and errors; raises subprocess.TimeoutExpired."""
    if reason := _absent(name):
        return Probe(name, False, reason)
    try:
        code, out, err = (run or _run)([sys.executable, "-m", "streaming.hardware", name], PROBE_S)
    except subprocess.TimeoutExpired:
        return Probe(name, False, f"its driver has not answered within {PROBE_S:g} s")
    except OSError as error:
        return Probe(name, False, f"no process could be started to try it ({error.strerror or error})")
    if code < 0:
        return Probe(name, False, f"its driver crashed (signal {-code})")
    try:
        told = json.loads(out.strip().splitlines()[-1])
        return Probe(name, bool(told["works"]), str(told["detail"]))
    except (ValueError, LookupError, TypeError):
        said = " ".join((err or out).split())[-200:]
        return Probe(
            name, False, f"the process that tried it ended with {code} ({said or 'it says nothing'})"
        )


def probe_all(run: Run | None = None) -> tuple[Probe, ...]:
    """All of them, in the order in which they are used."""
    return tuple(probe(name, run) for name in NAMES)


def chosen(wish: str, run: Run | None = None) -> str:
    """What is to encode H.264: "software" or a name of NAMES. wish: as ServeConfig.encoder. It is logged, with the
    reason of each that is not used. Raises ConfigError where one is asked for by name and does not work."""
    if wish == SOFTWARE:
        return SOFTWARE
    for found in probe_all(run) if wish == AUTO else (probe(wish, run),):
        if found.works:
            _log.info("H.264 is encoded by %s: %s", found.name, found.detail)
            return found.name
        if wish != AUTO:
            raise ConfigError(
                f"encoder: {found.name} does not work here: {found.detail}; use auto or software"
            )
        _log.info("encoder %s is not used: %s", found.name, found.detail)
    return SOFTWARE


def _absent(name: str) -> str:
    """Why there is nothing to try, or nothing."""
    import av

    from streaming.codecs import HARDWARE

    if name not in HARDWARE:
        raise ConfigError(f"encoder: got {name!r}, expected one of {', '.join(ENCODERS)}")
    if HARDWARE[name].ffmpeg not in av.codecs_available:
        return f"this build of FFmpeg has no {HARDWARE[name].ffmpeg}"
    pattern, what = _DEVICES.get(name, ("", ""))
    if sys.platform == "linux" and pattern and not glob.glob(pattern):
        return f"no {what} ({pattern})"
    return ""


def _run(command: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode, done.stdout, done.stderr


def tried(name: str) -> Probe:
    """Open it here and now, and encode two pictures. Only for a process of its own: drivers may crash."""
    import av.logging

    from streaming.codecs import HARDWARE, X264
    from streaming.encoders import Coder
    from streaming.measured import NoRecorder

    kind = HARDWARE[name]
    coder = Coder(kind, "probe", NoRecorder())
    logging.disable(logging.CRITICAL)
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture() as told:
        sizes = [len(coder.encode(_picture(number), number == 0)) for number in range(2)]
    if coder.name == X264.ffmpeg:
        return Probe(name, False, "; ".join([*(text.strip() for _, _, text in told[:2]), coder.failure]))
    if not all(sizes):
        return Probe(name, False, f"{kind.ffmpeg} holds its pictures back")
    return Probe(name, True, f"{kind.ffmpeg}, {1000 * (coder.encode_s or 0):.1f} ms for {SIZE[0]}x{SIZE[1]}")


def _picture(number: int) -> av.VideoFrame:
    import av
    import numpy as np
    from aiortc.mediastreams import VIDEO_TIME_BASE

    width, height = SIZE
    planes = np.full((height * 3 // 2, width), 100 + 20 * number, np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts, frame.time_base = number * 3000, VIDEO_TIME_BASE
    return frame


if __name__ == "__main__":
    found = tried(sys.argv[1])
    print(json.dumps({"works": found.works, "detail": found.detail}))
