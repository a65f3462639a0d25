"""Small bundles whose graphs are closed forms, so that what is shown can be told in advance.

GANimation's: with a the AUs of its input, named by number,

    colour = (2 a12 - 1, 2 a26 - 1, 2 a01 - 1) on every pixel      attention = clip(1 - a12 - a26 - a01, 0, 1)

or the attention that was asked for; with a45 above POISON the colour is NaN.

GeoGAN's, with mean() over a picture in -1..1:

    donor: flow_0 = the picture's grey at half size, mask_0 = 1 - flow_0
    transfer: flow = (dx, dy), mask = as asked for, residual = TINT * mean(flow_0) + TINT * mean(image)
    removal: image_out = clip(image + LIFT * mask, -1, 1)

MaskGAN's, whose picture is the layout itself in colours, darker or lighter by the style's picture:

    style: gamma = mean(image), beta = mean(labels) / 18
    generator: image = (palette[labels] / 127.5 - 1 + mean(gamma)) / 2, NaN where the layout has the class `poison`
    parser: logits whose largest is the class round(grey / 10)
    mask_vae: hair becomes a hat, all else stays
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.parsing.classes import CELEBAMASK, Part
from engine.types import AU_NAMES

POISON = 0.95
TINT = 0.25
LIFT = 0.5
OPSET, IR = 17, 8
_FLOAT, _BYTE = TensorProto.FLOAT, TensorProto.UINT8
_RANGES: dict[str, list[float] | None] = {
    "aus": [0, 1], "colour": [-1, 1], "attention": [0, 1], "mask": [0, 1], "image_out": [-1, 1], "labels": [0, 18],
}  # fmt: skip


class _Graph:
    """A graph under construction: nodes in order, constants by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def picture(self, port: str, output: str) -> str:
        """uint8 (1, S, S, 3) to float32 (1, 3, S, S) in -1..1."""
        self.add("Cast", [port], f"{output}_cast", to=_FLOAT)
        self.add("Transpose", [f"{output}_cast"], f"{output}_chw", perm=[0, 3, 1, 2])
        self.add("Mul", [f"{output}_chw", self.constant(f"{output}_scale", 2 / 255)], f"{output}_scaled")
        return self.add("Sub", [f"{output}_scaled", self.constant(f"{output}_one", 1.0)], output)

    def one_hot(self, port: str, output: str) -> str:
        """uint8 (1, S, S) to float32 (1, 19, S, S)."""
        self.add("Cast", [port], f"{output}_cast", to=TensorProto.INT32)
        axis = self.constant(f"{output}_axis", [1], np.int64)
        self.add("Unsqueeze", [f"{output}_cast", axis], f"{output}_row")
        every = np.arange(len(Part)).reshape(1, -1, 1, 1)
        self.add(
            "Equal", [f"{output}_row", self.constant(f"{output}_classes", every, np.int32)], f"{output}_is"
        )
        return self.add("Cast", [f"{output}_is"], output, to=_FLOAT)

    def mean(self, name: str, output: str) -> str:
        """The mean over all of it, (1, 1, 1, 1)."""
        return self.add("ReduceMean", [name], output, axes=[1, 2, 3], keepdims=1)

    def spread(self, name: str, output: str, shape: Sequence[int]) -> str:
        """(1, C) or (1, C, 1, 1) over every pixel."""
        flat = self.constant(f"{output}_flat", [1, shape[1], 1, 1], np.int64)
        self.add("Reshape", [name, flat], f"{output}_flattened")
        size = self.constant(f"{output}_shape", shape, np.int64)
        return self.add("Expand", [f"{output}_flattened", size], output)

    def model(self, inputs: Mapping[str, tuple[int, list[int]]], outputs: Mapping[str, list[int]]) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "closed_form",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, _FLOAT, shape) for name, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model)
        return model


def maskgan_graphs(
    size: int, parser: bool = False, mask_vae: int = 0, poison: int | None = None
) -> dict[str, Any]:
    """The graphs of the closed form. mask_vae: its side, 0 where there is none."""
    labels, picture, numbers = (_BYTE, [1, size, size]), (_BYTE, [1, size, size, 3]), (_FLOAT, [1, 2, 4])
    style = _Graph()
    style.picture("image", "seen")
    style.mean("seen", "level")
    style.add("Cast", ["labels"], "numbered", to=_FLOAT)
    style.add("ReduceMean", ["numbered"], "classes", axes=[1, 2], keepdims=1)
    style.add("Mul", ["classes", style.constant("most", 1 / 18)], "share")
    rows = style.constant("rows", [1, 2, 4], np.int64)
    style.add("Reshape", ["level", style.constant("flat", [1, 1, 1], np.int64)], "level_flat")
    style.add("Expand", ["level_flat", rows], "gamma")
    style.add("Expand", ["share", rows], "beta")
    draw = _Graph()
    draw.one_hot("labels", "planes")
    palette = CELEBAMASK.palette.T.astype(np.float32) / 127.5 - 1.0
    draw.add("Conv", ["planes", draw.constant("palette", palette[:, :, None, None])], "painted")
    draw.add("ReduceMean", ["gamma"], "tone", axes=[1, 2], keepdims=1)
    draw.add("ReduceMean", ["beta"], "rest", axes=[1, 2], keepdims=1)
    draw.add("Mul", ["rest", draw.constant("trace", 1e-9)], "traced")
    draw.add("Add", ["tone", "traced"], "shade")
    draw.add("Reshape", ["shade", draw.constant("flat", [1, 1, 1, 1], np.int64)], "shade_flat")
    draw.add("Add", ["painted", "shade_flat"], "both")
    draw.add("Mul", ["both", draw.constant("half", 0.5)], "drawn")
    select = np.zeros((1, len(Part), 1, 1), np.float32)
    if poison is not None:
        select[0, poison] = -1.0
    draw.add("Conv", ["planes", draw.constant("select", select)], "poisoned")
    draw.add("Sqrt", ["poisoned"], "root")
    draw.add("Add", ["drawn", "root"], "image")
    found = {
        "style": style.model({"labels": labels, "image": picture}, {"gamma": [1, 2, 4], "beta": [1, 2, 4]}),
        "generator": draw.model(
            {"labels": labels, "gamma": numbers, "beta": numbers}, {"image": [1, 3, size, size]}
        ),
    }
    if parser:
        found["parser"] = _parser(size)
    if mask_vae:
        found["mask_vae"] = _mask_vae(mask_vae)
    return found


def _parser(size: int) -> Any:
    graph = _Graph()
    graph.add("Cast", ["image"], "levels", to=_FLOAT)
    graph.add("Transpose", ["levels"], "planes", perm=[0, 3, 1, 2])
    graph.add("ReduceMean", ["planes"], "grey", axes=[1], keepdims=1)
    steps = 10.0 * np.arange(len(Part), dtype=np.float32).reshape(1, -1, 1, 1)
    graph.add("Sub", ["grey", graph.constant("steps", steps)], "apart")
    graph.add("Mul", ["apart", "apart"], "square")
    graph.add("Neg", ["square"], "logits")
    return graph.model({"image": (_BYTE, [1, size, size, 3])}, {"logits": [1, len(Part), size, size]})


def _mask_vae(size: int) -> Any:
    graph = _Graph()
    graph.one_hot("labels", "planes")
    becomes = np.eye(len(Part), dtype=np.float32)
    becomes[:, Part.HAIR] = becomes[:, Part.HAT]
    graph.add("Conv", ["planes", graph.constant("becomes", becomes[:, :, None, None])], "logits")
    return graph.model({"labels": (_BYTE, [1, size, size])}, {"logits": [1, len(Part), size, size]})


def ganimation_graph(size: int, aus: Sequence[str] = AU_NAMES, attention: float | None = None) -> Any:
    """The `generator` of the closed form; attention: the same everywhere, whatever is asked for."""
    graph = _Graph()
    weights = np.zeros((len(aus), 3), np.float32)
    for column, name in enumerate(("AU12", "AU26", "AU01")):
        if name in aus:
            weights[list(aus).index(name), column] = 2.0
    graph.add("MatMul", ["aus", graph.constant("weights", weights)], "doubled")
    graph.add("Sub", ["doubled", graph.constant("one", 1.0)], "raw")
    graph.add("Clip", ["raw", graph.constant("low", -1.0), graph.constant("high", 1.0)], "colours")
    at = list(aus).index("AU45") if "AU45" in aus else 0
    select = np.zeros((len(aus), 1), np.float32)
    select[at] = -1.0
    graph.add("MatMul", ["aus", graph.constant("select", select)], "minus45")
    graph.add("Add", ["minus45", graph.constant("poison", POISON)], "left")
    graph.add("Sqrt", ["left"], "root")  # NaN above POISON
    graph.add("Mul", ["root", graph.constant("nothing", 1e-9)], "speck")
    graph.add("Add", ["colours", "speck"], "marked")
    graph.spread("marked", "spread", [1, 3, size, size])
    graph.picture("image", "seen")
    graph.add("Mul", ["seen", graph.constant("trace", 1e-9)], "traced")
    graph.add("Add", ["spread", "traced"], "colour")
    if attention is None:
        graph.add("MatMul", ["aus", graph.constant("halves", -weights.sum(1, keepdims=True) / 2)], "taken")
        graph.add("Add", ["taken", "one"], "kept")
        graph.add("Clip", ["kept", graph.constant("zero", 0.0), "one"], "share")
    else:
        graph.add("Mul", ["minus45", graph.constant("none", 0.0)], "nil")
        graph.add("Add", ["nil", graph.constant("share_asked", attention)], "share")
    graph.spread("share", "attention", [1, 1, size, size])
    inputs = {"image": (_BYTE, [1, size, size, 3]), "aus": (_FLOAT, [1, len(aus)])}
    return graph.model(inputs, {"colour": [1, 3, size, size], "attention": [1, 1, size, size]})


def geogan_graphs(
    size: int, mask: Any = 1.0, flow: tuple[float, float] = (0.0, 0.0), removal: bool = True
) -> dict[str, Any]:
    """The three graphs of the closed form. mask: a number or (S, S). flow: (dx, dy) in grid units."""
    half = size // 2
    features = {"flow_0": [1, 1, half, half], "mask_0": [1, 1, half, half]}
    picture = (_BYTE, [1, size, size, 3])
    donor = _Graph()
    donor.picture("image", "seen")
    donor.add("ReduceMean", ["seen"], "grey", axes=[1], keepdims=1)
    donor.add("AveragePool", ["grey"], "flow_0", kernel_shape=[2, 2], strides=[2, 2])
    donor.add("Sub", [donor.constant("one", 1.0), "flow_0"], "mask_0")
    transfer = _Graph()
    transfer.picture("image", "seen")
    transfer.picture("donor", "given")
    transfer.mean("flow_0", "grey")
    transfer.mean("seen", "own")
    transfer.add("Add", ["grey", "own"], "both")
    transfer.add("Mul", ["both", transfer.constant("tint", TINT)], "tinted")
    transfer.mean("given", "theirs")
    transfer.mean("mask_0", "rest")
    transfer.add("Add", ["theirs", "rest"], "extra")
    transfer.add("Mul", ["extra", transfer.constant("trace", 1e-9)], "traced")
    transfer.add("Add", ["tinted", "traced"], "shade")
    three = transfer.constant("three", [1, 3, size, size], np.int64)
    transfer.add("Expand", ["shade", three], "residual")
    transfer.add("Mul", ["shade", transfer.constant("nothing", 0.0)], "nil")
    flows = np.zeros((1, 2, size, size), np.float32) + np.reshape(flow, (1, 2, 1, 1))
    transfer.add("Add", [transfer.constant("flows", flows), "nil"], "flow")
    masks = np.zeros((1, 1, size, size), np.float32) + np.asarray(mask, np.float32)
    transfer.add("Add", [transfer.constant("masks", masks), "nil"], "mask")
    found = {
        "donor": donor.model({"image": picture}, features),
        "transfer": transfer.model(
            {"image": picture, "donor": picture}
            | {name: (_FLOAT, shape) for name, shape in features.items()},
            {"flow": [1, 2, size, size], "mask": [1, 1, size, size], "residual": [1, 3, size, size]},
        ),
    }
    if removal:
        found["removal"] = _removal(size)
    return found


def _removal(size: int) -> Any:
    graph = _Graph()
    graph.picture("image", "seen")
    graph.add("Mul", ["mask", graph.constant("lift", LIFT)], "lifted")
    graph.add("Add", ["seen", "lifted"], "raised")
    graph.add("Clip", ["raised", graph.constant("low", -1.0), graph.constant("high", 1.0)], "image_out")
    inputs = {"image": (_BYTE, [1, size, size, 3]), "mask": (_FLOAT, [1, 1, size, size])}
    return graph.model(inputs, {"image_out": [1, 3, size, size]})


def write_ganimation(
    folder: Path,
    size: int = 32,
    *,
    aus: Sequence[str] = AU_NAMES,
    attention: float | None = None,
    rule: str = "face",
    modes: Sequence[str] = ("puppet", "edit"),
    mode: str | None = "static",
    units: str | None = None,
    **manifest: Any,
) -> Path:
    """A GANimation bundle in `folder`, which is made. mode: of the extractor, None where none is stated. units: the
    fact, None where there is none. Further arguments replace entries of the manifest."""
    extractor = None if mode is None else {"name": "marotte-geometry", "version": "1", "mode": mode}
    known = [-1.0 if units == "relative" else 0.0, 1.0]
    parameters = _parameters(rule, size, list(aus), extractor, known, modes)
    if units is not None:
        parameters["facts"] = {"units": units}
    graphs = {"generator": ganimation_graph(size, aus, attention)}
    return write_bundle(folder, "ganimation", graphs, parameters, **manifest)


def with_bytes(folder: Path, graph: str, output: str) -> Path:
    """The bundle with an output of one graph as uint8, in the file and in the manifest."""
    path = folder / f"{graph}.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_before" if name == output else name for name in names]
    model.graph.node.append(helper.make_node("Cast", [f"{output}_before"], [output], to=_BYTE))
    next(port for port in model.graph.output if port.name == output).type.tensor_type.elem_type = _BYTE
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["graphs"][graph]
    entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    next(port for port in entry["outputs"] if port["name"] == output)["dtype"] = "uint8"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_geogan(
    folder: Path,
    size: int = 32,
    *,
    mask: Any = 1.0,
    flow: tuple[float, float] = (0.0, 0.0),
    removal: bool = True,
    rule: str = "face",
    **manifest: Any,
) -> Path:
    """A GeoGAN bundle, likewise."""
    parameters = _parameters(rule, size, [], None, None, ["edit"]) | {"facts": {"refinement_weight": 0.1}}
    return write_bundle(folder, "geogan", geogan_graphs(size, mask, flow, removal), parameters, **manifest)


def write_maskgan(
    folder: Path,
    size: int = 64,
    *,
    parser: bool = False,
    mask_vae: int = 0,
    poison: int | None = None,
    rule: str = "celeba-hq",
    modes: Sequence[str] = ("puppet", "edit"),
    classes: str = "celebamask",
    **manifest: Any,
) -> Path:
    """A MaskGAN bundle, likewise. classes: the fact."""
    facts = {"classes": classes, "layers": 2, "width": 4}
    parameters = _parameters(rule, size, [], None, None, modes) | {"facts": facts}
    return write_bundle(
        folder, "maskgan", maskgan_graphs(size, parser, mask_vae, poison), parameters, **manifest
    )


def write_bundle(
    folder: Path, system: str, graphs: Mapping[str, Any], parameters: dict[str, Any], /, **manifest: Any
) -> Path:
    """A bundle of these graphs (onnx.ModelProto), with a manifest that states them truly."""
    folder.mkdir(parents=True)
    entries = {}
    for name, model in graphs.items():
        data = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(data)
        entries[name] = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "inputs": [_port(value) for value in model.graph.input],
            "outputs": [_port(value) for value in model.graph.output],
        }
    errors = {name: _no_errors(model) for name, model in graphs.items()}
    content = {
        "format": 1,
        "system": system,
        "title": "a closed form for tests",
        "licence": "CC0-1.0",
        "commercial": True,
        "acceptance": None,
        "origin": {"weights": "written by a test", "data": "none"},
        "consent": "no face was used",
        "graphs": entries,
        "parameters": parameters,
        "parity": {
            "gate": 1e-4, "weights": "float32", "torch": "2.13", "cases": 1, "rounding": None,
            "runtimes": {"onnxruntime": {"version": "1", "errors": errors}},
        },
    } | manifest  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content), "utf-8")
    return folder


def _parameters(
    rule: str, size: int, aus: list[str], extractor: Any, au_range: Any, modes: Sequence[str]
) -> dict[str, Any]:
    return {
        "crop": {"rule": rule, "size": size},
        "aus": aus,
        "extractor": extractor,
        "au_range": au_range,
        "modes": list(modes),
        "facts": {},
    }


def _port(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dtype = "uint8" if tensor.elem_type == _BYTE else "float32"
    bounds = _RANGES.get(value.name) or ([0, 255] if dtype == "uint8" else None)
    shape = [size.dim_value for size in tensor.shape.dim]
    return {"name": value.name, "shape": shape, "dtype": dtype, "range": bounds}


def _no_errors(model: Any) -> dict[str, Any]:
    return {value.name: {"max": 0.0, "mean": 0.0} for value in model.graph.output}
