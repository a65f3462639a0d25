"""The figures of docs/precision.md: what lowering costs a bundle's pictures, and what each entry of the keep list is
worth.

    python -m tests.export.precision_figures SYSTEM GRAPHS [--faces FOLDER] [--count N] [--precision P ...]

GRAPHS: a folder with the system's *.onnx. --faces: portraits, whose faces are found by the tracker; drawn crops
without. Prints the lowest and the mean PSNR in dB between the picture of the float32 graphs and that of the lowered
ones, whole and with one rule of the keep list left out at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from engine.crop import crop_of, cut
from engine.free_batch import settled
from export.keep import RULES, Keep
from export.precision import lower
from export.rounding import rounded
from export.wiring import Wiring
from tests.export.pictures import SHOWN, Array, drawn, psnr, runner


def crops(folder: Path | None, rule: str, size: int, count: int) -> list[Array]:
    """Crops as a network sees them, uint8 (1, S, S, 3)."""
    if folder is None:
        return [drawn(size, seed) for seed in range(count)]
    from engine.errors import InputError
    from engine.puppet import Opening, find_sources

    found: list[Array] = []
    for path in sorted(folder.iterdir()):
        try:
            source = find_sources(path, Opening())[0]
        except InputError:
            continue
        found.append(cut(source.rgb, crop_of(rule, source.face.points, size))[None])
        if len(found) == count:
            break
    return found


def figures(
    system: str, models: dict[str, onnx.ModelProto], given: list[Array], precision: str, keep: Keep
) -> dict[str, tuple[float, float]]:
    """By picture: lowest and mean PSNR."""
    exact = runner(models)
    lowered = runner({name: rounded(lower(model, precision, keep=keep)) for name, model in models.items()})
    found: dict[str, list[float]] = {}
    for seed, image in enumerate(given):
        other = given[(seed + 1) % len(given)]
        expected = SHOWN[system](exact, image, other, seed)
        for name, picture in SHOWN[system](lowered, image, other, seed).items():
            found.setdefault(name, []).append(psnr(expected[name], picture))
    return {name: (min(values), float(np.mean(values))) for name, values in found.items()}


def lines(
    system: str, models: dict[str, onnx.ModelProto], given: list[Array], precision: str
) -> Iterator[str]:
    everything = Keep()
    lists = {"all kept": everything, "nothing kept": Keep(frozenset())}
    lists |= {f"without {rule}": everything.without(rule) for rule in RULES}
    lists |= {f"{rule} alone": Keep(frozenset({rule})) for rule in RULES}
    seen: list[list[set[str]]] = []
    for name, keep in lists.items():
        nodes = [keep.nodes(Wiring(model)) for model in models.values()]
        if nodes in seen:  # the rule marks nothing here, or nothing that another one does not
            continue
        seen.append(nodes)
        found = figures(system, models, given, precision, keep)
        shown = ", ".join(f"{graph} {low:.1f} ({mean:.1f})" for graph, (low, mean) in found.items())
        yield f"{precision} {name:18} {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SHOWN)
    parser.add_argument("graphs", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--crop", default="face")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--precision", nargs="+", default=["fp16", "bf16"])
    options = parser.parse_args()
    paths = sorted(options.graphs.glob("*.onnx"))
    models = {path.stem: onnx.load_from_string(settled(path.read_bytes(), 1)) for path in paths}
    size = next(iter(models.values())).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    given = crops(options.faces, options.crop, size, options.count)
    for precision in options.precision:
        for line in lines(options.system, models, given, precision):
            print(line, flush=True)


if __name__ == "__main__":
    main()
