"""Plans of a whole bundle: each graph batched, lowered, compiled, and written with what it was made of."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.bundle import FRAME, Bundle, GraphInfo
from engine.errors import BundleError
from engine.free_batch import is_free, settled
from engine.plans.probe import make_probe
from engine.plans.request import BATCHES, WORKSPACE_BYTES, Built, Flavour, PlanRequest, Precision, Progress
from engine.plans.structure import structure
from export.batch import batched
from export.place import check_place, placed, write
from export.precision import lower
from export.quantise import Calibration
from export.tensorrt.api import Toolkit, load
from export.tensorrt.build import build
from export.tensorrt.calibration import cases
from export.tensorrt.timing import TimingCache

LIST: Final = "plans.json"
"""What a folder of plans holds: per file the graph, its hashes, precision, batches and versions."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What plans are asked for. graphs: names, all of the bundle's when empty. strip: without weights, for refit.
    calibration: a folder of cases (export/tensorrt/calibration.py), which int8 and fp8 need."""

    precision: Precision = "fp16"
    batches: tuple[int, ...] = BATCHES
    flavour: Flavour = "tensorrt"
    workspace_bytes: int = WORKSPACE_BYTES
    refit: bool = False
    strip: bool = False
    graphs: tuple[str, ...] = ()
    calibration: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One plan. lowered: the graph that TensorRT was given."""

    graph: GraphInfo
    batches: tuple[int, ...]
    lowered: bytes
    built: Built


def prepared(
    graph: bytes,
    name: str,
    precision: Precision,
    batches: Sequence[int],
    calibration: Calibration | None = None,
) -> bytes:
    """A bundle's graph as a builder takes it: its batch free where there are several sizes, its types of the precision.

    calibration: of single items; needed by int8 and fp8. Raises BundleError for a graph that cannot be batched or
    lowered, ConfigError for what was asked wrongly.
    """
    sizes = tuple(batches)
    try:
        if name.startswith(FRAME) and is_free(
            graph
        ):  # written for any number, and with sides that are free as well
            model = onnx.load_from_string(graph if len(sizes) > 1 else settled(graph, sizes[0]))
        else:
            model = onnx.load_from_string(
                settled(graph, 1)
            )  # one that is free in the file, too, is freed anew
            if sizes != (1,):
                model = batched(model, None if len(sizes) > 1 else sizes[0])
        if calibration is not None:
            calibration = (_repeated(case, sizes[0]) for case in calibration)
        data: bytes = lower(model, precision, calibration=calibration).SerializeToString(deterministic=True)
    except BundleError as error:
        advice = "" if sizes == (1,) else "; a graph that takes one item only is built with --batches 1"
        raise BundleError(f"graph {name}: {error}{advice}") from error
    return data


def _repeated(case: Mapping[str, NDArray[Any]], count: int) -> Mapping[str, NDArray[Any]]:
    """A case of one item as one of a graph whose least batch is `count`."""
    return {port: np.repeat(array, count, axis=0) if count > 1 else array for port, array in case.items()}


def make_plans(
    bundle: Bundle,
    wanted: Wanted,
    *,
    progress: Callable[[str], Progress] | None = None,
    cancel: threading.Event | None = None,
    timing: TimingCache | None = None,
    toolkit: Toolkit | None = None,
) -> Iterator[Made]:
    """Builds one plan after the other. progress: gives a listener for the graph of that name. Raises MarotteError."""
    toolkit = load(wanted.flavour) if toolkit is None else toolkit
    for name in wanted.graphs or tuple(bundle.manifest.graphs):
        alone = name.startswith(FRAME) and name not in bundle.batched  # written before they took several
        batches = (1,) if alone else wanted.batches
        found = None if wanted.calibration is None else cases(wanted.calibration, name)
        lowered = prepared(bundle.data(name), name, wanted.precision, batches, found)
        request = PlanRequest(
            lowered,
            name,
            wanted.precision,
            batches,
            wanted.workspace_bytes,
            wanted.refit or wanted.strip,
            wanted.flavour,
        )
        listener = None if progress is None else progress(name)
        built = build(
            request, progress=listener, cancel=cancel, timing=timing, strip=wanted.strip, toolkit=toolkit
        )
        yield Made(bundle.info(name), batches, lowered, built)


def write_plans(out: Path, bundle: Bundle, wanted: Wanted, made: Sequence[Made]) -> None:
    """The folder of a bundle's plans, whole or not at all; one that stands there is replaced. With refit, the stored
    question of each plan lies beside it. Raises PlanError and BundleError."""
    names = [Path(made_one.graph.file).stem for made_one in made]
    table = {}
    with placed(out) as folder:
        for name, one in zip(names, made, strict=True):
            file = f"{name}.{wanted.precision}.{wanted.flavour}.plan"
            write(folder / file, one.built.plan)
            table[file] = _entry(wanted, one)
            if wanted.refit or wanted.strip:
                probe = make_probe(
                    settled(bundle.data(one.graph.name), 1), name, wanted.precision, _ranges(one.graph)
                )
                write(folder / f"{name}.{wanted.precision}.probe", probe.store())
        text = json.dumps({"bundle": bundle.manifest.title, "plans": table}, indent=1, ensure_ascii=False)
        write(folder / LIST, text.encode() + b"\n")


def check_out(out: Path) -> None:
    """Raises BundleError where a folder of plans cannot be put: before anything is built."""
    check_place(out, LIST, frozenset({".plan", ".probe"}))


def _entry(wanted: Wanted, made: Made) -> dict[str, object]:
    """What a plan was made of: enough to know it again, and to know which weights fit into it."""
    return {
        "graph": made.graph.name,
        "graph_sha256": made.graph.sha256,
        "structure": structure(made.lowered),
        "precision": wanted.precision,
        "batches": list(made.batches),
        "refit": wanted.refit or wanted.strip,
        "stripped": wanted.strip,
        "versions": dict(made.built.versions),
        "bytes": len(made.built.plan),
        "sha256": hashlib.sha256(made.built.plan).hexdigest(),
        "warnings": list(made.built.log),
    }


def _ranges(graph: GraphInfo) -> dict[str, tuple[float, float]]:
    return {port.name: port.range for port in graph.inputs if port.range is not None}
