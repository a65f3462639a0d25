"""Time per stage on this machine, beside a figure for the speed of its core, and beside what its graphs need at least.

One thread; CPU time of the process, so that other work on the machine counts little and a hidden thread counts in full;
on a GPU the device's own events. `run_bench` measures, `compare` reads two earlier results, `run_versus` measures two
backends or bundles by turns.
"""

from engine.bench.clocks import REFERENCE_REMAP_MS, cpu_clock, remap_seconds, resident_mb
from engine.bench.files import compare
from engine.bench.run import EVERY, FRAMES, Bench, run_bench
from engine.bench.session import STAGES, Request
from engine.bench.versus import Versus, live_pair, run_versus

__all__ = [
    "EVERY", "FRAMES", "REFERENCE_REMAP_MS", "STAGES", "Bench", "Request", "Versus", "compare", "cpu_clock",
    "live_pair", "remap_seconds", "resident_mb", "run_bench", "run_versus",
]  # fmt: skip
