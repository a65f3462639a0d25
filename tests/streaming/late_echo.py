"""A server whose echo takes as long as an engine would, and costs nothing: `python late_echo.py OPTIONS`.

Options are those of streaming.bench.server, and `late_s`: a list of seconds, each for five seconds of the call in turn.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from typing import Any

TURN_S = 5.0


def delay(late_s: list[float]) -> None:
    """Have every echo of this process hold frames back, in order, from a thread of its own."""
    from streaming.echo import Echo

    arrived = Echo.arrived
    began_s = time.perf_counter()

    def arrived_late(self: Echo, frame: Any, first_packet_s: float) -> None:
        if not hasattr(self, "late"):
            self.late = deque()
            threading.Thread(target=let_go, args=(self,), daemon=True).start()
        late = late_s[int((time.perf_counter() - began_s) / TURN_S) % len(late_s)]
        self.late.append((time.perf_counter() + late, frame, first_packet_s))

    def let_go(self: Echo) -> None:
        while True:
            if not self.late:
                time.sleep(0.002)
                continue
            due_s, frame, first_packet_s = self.late.popleft()
            time.sleep(max(0.0, due_s - time.perf_counter()))
            arrived(self, frame, first_packet_s)

    Echo.arrived = arrived_late


if __name__ == "__main__":
    from streaming.bench.server import main

    options = json.loads(sys.argv[1])
    delay(options.pop("late_s"))
    raise SystemExit(main([json.dumps(options)]))
