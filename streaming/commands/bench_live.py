"""`marotte bench-live`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.commands import add_accept, add_backend, progress_bar, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = "measure calls in a browser: its own, and through the engine (extra dev)"
    parser = sub_command(commands, "bench-live", _bench_live, text)
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), metavar="DIR", help="where the figures go (default: bench)"
    )
    parser.add_argument(
        "--driver", type=Path, metavar="D", help="what the camera shows (default: the sample)"
    )
    parser.add_argument("--codec", choices=("vp8", "h264"), help="only this one (default: both)")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="length of the long call")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="turns of each kind of call")
    parser.add_argument("--bundle", default="mesh_flow", metavar="B", help="generator (default: mesh_flow)")
    add_accept(parser)
    parser.add_argument(
        "--edit", action="store_true", help="calls in which the camera's own picture is edited"
    )
    parser.add_argument(
        "--sound", action="store_true", help="how far sound and picture are apart, by flashes and beeps"
    )
    add_backend(parser)


def _bench_live(options: argparse.Namespace) -> None:
    worker = {
        "bundles": [options.bundle],
        "accept": options.accept,
        "edit": options.edit,
        "backend": options.backend,
        "cache": options.cache,
    }
    if options.sound:
        _bench_sound(options, worker)
        return
    from streaming.bench.run import CODECS, Plan, run_live_bench

    with progress_bar("bench-live") as progress:
        bench = run_live_bench(
            options.out,
            driver=options.driver,
            plan=Plan((options.codec,) if options.codec else CODECS, options.seconds, options.rounds),
            worker=worker,
            progress=progress,
        )
    print(bench)
    print(f"{options.out / 'live.json'} and {options.out / 'live.svg'} are written")


def _bench_sound(options: argparse.Namespace, worker: dict[str, Any]) -> None:
    from streaming.bench.skew import run_skew_bench

    with progress_bar("bench-live --sound") as progress:
        bench = run_skew_bench(
            options.out,
            driver=options.driver,
            seconds=options.seconds,
            codec=options.codec or "h264",
            worker=worker,
            progress=progress,
        )
    print(bench)
    print(f"{options.out / 'sound.json'} is written")
