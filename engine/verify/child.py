"""One file looked at in a process of its own: `python -m engine.verify.child FILE NAME [WINDOWS]` prints a verdict.

For a server, to which anybody may send a file: decoders and the C2PA library read it behind everything else, within
bounds of time and memory, and take nobody's session along where they fail.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

MOST_CPU_S: Final = 240
MOST_MEMORY: Final = 6 << 30
_MOST_WRITTEN: Final = 64 << 20  # caches of compiled kernels
_NICE: Final = 19


def _bounded() -> None:
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError):
        os.nice(_NICE)
    for what, most in ((resource.RLIMIT_CPU, MOST_CPU_S), (resource.RLIMIT_AS, MOST_MEMORY)):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN, _MOST_WRITTEN))


def main(words: list[str]) -> int:
    """words: the file, what it is called, and how many windows are looked at."""
    _bounded()
    from engine.media.limits import Limits
    from engine.verify import Asked, verify

    small = Limits(pixels=4096 * 4096, side=8192)
    asked = Asked(windows=int(words[2]) if len(words) > 2 else Asked().windows, pictures=small, videos=small)
    print(json.dumps(verify(Path(words[0]), asked, name=words[1]).as_dict()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
