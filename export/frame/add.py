"""Frame graphs put into a bundle: written, held against the CPU path on every runtime here, named in its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.bundle import FRAME, MANIFEST, RECORD, Bundle, PortInfo, open_bundle, parse_manifest, read_record
from engine.errors import BundleError
from engine.generators.frame_limits import most_shrink
from engine.generators.frame_opening import SHRINK
from export.frame.parity import FrameReport, measure_frames
from export.frame.writers import write_frames
from export.place import check_bundle_place, placed, write

Tell = Callable[[str], None]


def add_frames(
    folder: Path, out: Path, *, accept: frozenset[str] = frozenset(), tell: Tell | None = None
) -> tuple[Bundle, FrameReport]:
    """A copy of a bundle with its frame graphs, new where it had some, in `out`, whole or not at all; `out` may be the
    bundle itself. accept: names of acceptances that were given. tell: is told of each step.

    Raises BundleError where the system has none, a picture is not that of the CPU path, or nothing can be written.
    """
    check_bundle_place(out)
    bundle = open_bundle(folder, accept)
    with placed(out) as place:
        for info in bundle.manifest.graphs.values():
            write(place / info.file, (bundle.folder / info.file).read_bytes())
        write(place / MANIFEST, (bundle.folder / MANIFEST).read_bytes())
        if (record := read_record(bundle.folder)) is not None:
            write(place / RECORD, record)
        report = complete(place, accept=accept, tell=tell)
        opened = open_bundle(place, accept)
    return Bundle(out, opened.manifest, opened.batched), report


def _write_manifest(folder: Path, table: dict[str, Any]) -> None:
    text = json.dumps(table, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    parse_manifest(text)
    write(folder / MANIFEST, text.encode())


def _port(port: PortInfo) -> dict[str, Any]:
    limits = None if port.range is None else list(port.range)
    return {"name": port.name, "shape": list(port.shape), "dtype": port.dtype, "range": limits}


def complete(folder: Path, *, accept: frozenset[str] = frozenset(), tell: Tell | None = None) -> FrameReport:
    """The same in a folder that is still being written."""
    table = json.loads((folder / MANIFEST).read_text("utf-8"))
    for name in [name for name in table["graphs"] if name.startswith(FRAME)]:
        (folder / table["graphs"].pop(name)["file"]).unlink()
    manifest = parse_manifest(json.dumps(table))
    files = {name: (folder / info.file).read_bytes() for name, info in manifest.graphs.items()}
    if tell is not None:
        tell("writing frame graphs")
    written = write_frames(manifest.system, manifest.graphs, files, manifest.parameters)
    if not written:
        raise BundleError(f"bundle {folder.name}: no frame graph can be written for {manifest.system}")
    for graph in written.values():
        write(folder / f"{graph.name}.onnx", graph.data)
        table["graphs"][graph.name] = {
            "file": f"{graph.name}.onnx",
            "sha256": hashlib.sha256(graph.data).hexdigest(),
            "bytes": len(graph.data),
            "inputs": [_port(port) for port in graph.inputs],
            "outputs": [_port(port) for port in graph.outputs],
        }
    table["parameters"]["facts"][SHRINK] = most_shrink(manifest.parameters.crop.size)
    _write_manifest(folder, table)
    if tell is not None:
        tell("comparing with the CPU path")
    report = measure_frames(open_bundle(folder, accept))
    table["parity"]["frames"] = report.table()
    _write_manifest(folder, table)
    return report
