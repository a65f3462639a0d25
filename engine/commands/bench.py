"""`marotte bench`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.commands import add_accept, progress_bar, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(commands, "bench", _bench, "measure every stage and graph, beside its floor")
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), metavar="DIR", help="where the figures go (default: bench)"
    )
    parser.add_argument("--driver", type=Path, metavar="D", help="clip that drives (default: the sample)")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument("--mode", default="puppet", metavar="M", help="puppet (default) or edit")
    parser.add_argument("--remove", action="store_true", help="of an edit: take the attribute away")
    parser.add_argument(
        "--frame-graph",
        action="store_true",
        help="whole frames through the bundle's one graph, as GPUs do unasked (marotte export, marotte frame)",
    )
    add_accept(parser)
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two backends or two bundles measured by turns; or two bench folders or files, read",
    )
    parser.add_argument(
        "--mesh",
        action="store_true",
        help="the rasteriser by itself, on meshes of a face's and a body's size",
    )
    parser.add_argument(
        "--watermark", action="store_true", help="the invisible mark by itself: what it costs a picture"
    )
    parser.add_argument(
        "--body",
        action="store_true",
        help="a body by itself: skinning at SMPL's size, a fit to points, and on a --driver clip the tracker as well",
    )
    parser.add_argument(
        "--frames", type=int, default=300, metavar="N", help="frames that are counted, from 25 on (300)"
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="openvino, onnxruntime .., auto, or all: by turns every one that can be used here (default)",
    )


def _bench(options: argparse.Namespace) -> None:
    from engine.bench import EVERY, Request, compare, live_pair, run_bench, run_versus
    from engine.puppet import mode_of

    if options.compare and live_pair(*options.compare) is None:
        print(compare(*map(Path, options.compare)))
        return
    if options.mesh:
        from engine.bench.mesh import RESULT, run_mesh_bench

        print(run_mesh_bench(options.out, options.frames))
        print(f"{options.out / RESULT} is written")
        return
    if options.watermark:
        from engine.bench.watermark import RESULT as WATERMARK_RESULT
        from engine.bench.watermark import run_watermark_bench

        print(run_watermark_bench(options.out, options.frames))
        print(f"{options.out / WATERMARK_RESULT} is written")
        return
    if options.body:
        from engine.bench.body import RESULT as BODY_RESULT
        from engine.bench.body import run_body_bench

        print(
            run_body_bench(
                options.out, options.frames, options.driver, options.backend or "auto", options.cache
            )
        )
        print(f"{options.out / BODY_RESULT} is written")
        return
    request = Request(
        options.bundle,
        mode_of(options.mode),
        frozenset(options.accept),
        options.remove,
        options.backend or ("auto" if options.compare else EVERY),
        options.cache,
        options.frame_graph or None,
    )
    shared = {"driver": options.driver, "frames": options.frames}
    with progress_bar("bench") as progress:
        if options.compare:
            a, b = options.compare
            print(run_versus(a, b, options.out, request, progress=progress, **shared))
            print(f"{options.out / 'compare.json'} is written")
            return
        bench = run_bench(options.out, request, progress=progress, **shared)
    print(bench)
    print(f"{options.out / 'bench.json'} and {options.out / 'bench.png'} are written")
