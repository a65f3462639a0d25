"""The invisible mark by itself: what marking a picture costs one thread, beside reading and writing its luma once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.bench.clocks import percentiles_ms
from engine.bench.mesh import copy_rate
from engine.bench.run import check_frames
from engine.evaluate.parts import write_json
from engine.types import U8
from engine.versions import versions
from engine.watermark import Payload, open_embedder

RESULT: Final = "watermark.json"
SIZES: Final = ((640, 480), (1280, 720))
LIMITS_MS: Final = (1.5, 4.0)
"""What a live session may spend on a picture of each size."""
_LUMA_LEVELS: Final = (16, 235)


@dataclass(frozen=True, slots=True)
class WatermarkBench:
    """What was measured, as it is in watermark.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        lines = [f"{'size':<12}{'best ms':>9}{'median':>8}{'p95':>8}{'floor':>8}{'limit':>8}{'PSNR dB':>9}"]
        lines += [
            f"{row['size']:<12}{row['best_ms']:>9.3f}{row['median_ms']:>8.3f}{row['p95_ms']:>8.3f}"
            f"{row['floor_ms']:>8.3f}{row['limit_ms']:>8.1f}{row['psnr_db']:>9.2f}"
            for row in self.content["sizes"]
        ]
        return "\n".join(lines)


def picture(size: tuple[int, int]) -> U8:
    """I420 planes whose left half is noise, so that marks are as strong as they become, and whose right half is a slow
    ramp, where they are as weak."""
    width, height = size
    luma = np.linspace(*_LUMA_LEVELS, width, dtype=np.float32)[None].repeat(height, axis=0)
    luma[:, : width // 2] = np.random.default_rng(0).integers(*_LUMA_LEVELS, (height, width // 2))
    grey = np.full((height // 2, width), 128, np.uint8)
    return np.concatenate([luma.astype(np.uint8), grey])


def psnr(marked: U8, plain: U8) -> float:
    """Of two pictures of levels 0 .. 255, in dB. Infinite for equal ones."""
    error = float(np.mean((marked.astype(np.float64) - plain) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def measure(size: tuple[int, int], frames: int) -> tuple[Sequence[float], float]:
    """Seconds of this thread's CPU for each of so many pictures, and the PSNR of luma."""
    plain = picture(size)
    planes, embedder = plain.copy(), open_embedder(size, Payload.of("bench"))
    seconds = []
    for _ in range(frames):
        planes[:] = plain
        started = time.thread_time()
        embedder.embed(planes)
        seconds.append(time.thread_time() - started)
    return seconds, psnr(planes[: size[1]], plain[: size[1]])


def run_watermark_bench(out: Path, frames: int) -> WatermarkBench:
    """Measure, and write `out`/watermark.json. Raises ConfigError for too few frames."""
    check_frames(frames)
    rate = copy_rate()
    rows = []
    for size, limit in zip(SIZES, LIMITS_MS):
        seconds, decibels = measure(size, frames)
        median, p95 = percentiles_ms(seconds)
        rows.append(
            {
                "size": f"{size[0]}x{size[1]}",
                "best_ms": 1000 * min(seconds),
                "median_ms": median,
                "p95_ms": p95,
                "floor_ms": 1000 * 3 * size[0] * size[1] / rate,  # luma and pattern read, luma written
                "limit_ms": limit,
                "psnr_db": decibels,
            }
        )
    bench = WatermarkBench({"frames": frames, "sizes": rows, "versions": versions()})
    write_json(out / RESULT, bench.content)
    return bench
