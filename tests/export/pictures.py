"""What a viewer would see of a system's graphs, at the crop's own resolution, whatever computes them.

For comparing a graph with another arrangement of itself: each system names, by graph, the picture that its outputs
make, in grey levels 0..255 and not yet rounded to whole ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from engine.backends import open_graph

Array = NDArray[Any]


class Run:
    """Computes a graph by name. `models` are the graphs; what each is given is kept where `found` is."""

    def __init__(self, models: Mapping[str, onnx.ModelProto], backend: str = "onnxruntime") -> None:
        self.models = models
        self.found: dict[str, list[Any]] | None = None
        self._opened = {
            name: open_graph(Path(f"{name}.onnx"), backend, data=model.SerializeToString())
            for name, model in models.items()
        }

    def __call__(self, name: str, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        if self.found is not None:
            self.found[name].append(dict(arrays))
        found = self._opened[name].run({port: np.ascontiguousarray(array) for port, array in arrays.items()})
        return {port: array.copy() for port, array in found.items()}

    def side(self, name: str) -> int:
        """Of the picture that a graph takes first, uint8 (1, S, S, 3)."""
        return int(self.models[name].graph.input[0].type.tensor_type.shape.dim[1].dim_value)


def psnr(one: Array, other: Array) -> float:
    """In dB, of pictures in 0..255; infinite where they are the same, -infinite where one is not finite."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    if not np.isfinite(error):
        return -np.inf
    return np.inf if error == 0 else 10 * float(np.log10(255.0**2 / error))


def runner(models: Mapping[str, onnx.ModelProto], backend: str = "onnxruntime") -> Run:
    """Runs graphs by name, each opened once."""
    return Run(models, backend)


def recorded(system: str, models: Mapping[str, onnx.ModelProto], crops: list[Array]) -> dict[str, list[Any]]:
    """A calibration set: by graph, what it is given while the pictures of these crops are made."""
    run = runner(models)
    run.found = {name: [] for name in models}
    for seed, image in enumerate(crops):
        SHOWN[system](run, image, crops[(seed + 1) % len(crops)], seed)
    return run.found


def _ganimation(run: Run, image: Array, other: Array, seed: int) -> dict[str, Array]:
    """The crop with other action units; `other` is not looked at."""
    aus = np.random.default_rng(seed).uniform(0.0, 1.0, (1, 17)).astype(np.float32)
    found = run("generator", {"image": image, "aus": aus})
    attention, colour = found["attention"], found["colour"]
    return {"generator": _grey(attention * _signed(image) + (1 - attention) * colour)}


def _geogan(run: Run, image: Array, other: Array, seed: int) -> dict[str, Array]:
    """The attribute of `other` on the crop, by the donor's graph and the transfer's; and the crop without it."""
    shares = run("donor", {"image": other})
    found = run("transfer", {"image": image, "donor": other, **shares})
    mask = found["mask"]
    laid = _signed(image) * (1 - mask) + (_warped(_signed(other), found["flow"]) + found["residual"]) * mask
    return {
        "transfer": _grey(laid),
        "removal": _grey(run("removal", {"image": image, "mask": mask})["image_out"]),
    }


def _liquid_warping(run: Run, image: Array, other: Array, seed: int) -> dict[str, Array]:
    """Two sources, drawn anew because no crop is a port, on the second crop's background, a little turned."""
    size = int(run.models["background"].graph.input[0].type.tensor_type.shape.dim[2].dim_value)
    condition = np.random.default_rng(seed).uniform(-1.0, 1.0, (1, 3, 1, 1)).astype(np.float32)
    flat = np.broadcast_to(condition, (1, 3, size, size))
    photos = [_signed(drawn(size, 2 * seed + place)) for place in range(2)]
    made = [run("source", {"filled": photo, "condition": flat}) for photo in photos]
    projected = {port: np.stack([one[port] for one in made], 1) for port in made[0]}
    line = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    x, y = np.meshgrid(line, line)
    there = np.where(
        (x**2 + y**2 < 0.6)[..., None], np.stack((0.9 * x, 0.9 * y + 0.05), -1), np.float32(-2.0)
    )
    flow = np.broadcast_to(there.astype(np.float32), (1, 2, size, size, 2))
    found = run("generator", {"target": np.concatenate((photos[0], flat), 1), "flow": flow, **projected})
    known = np.ones((1, 1, size, size), np.float32)
    behind = run("background", {"image": np.concatenate((photos[1], known), 1)})["background"]
    mask = found["mask"]
    return {
        "background": _grey(behind),
        "generator": _grey(mask * behind + (1 - mask) * found["colour"]),
    }


def _maskgan(run: Run, image: Array, other: Array, seed: int) -> dict[str, Array]:
    """A layout in the style of the crop; and how sure MaskVAE and the parser are of each class."""
    labels = _layout(seed, image.shape[1])
    style = run("style", {"labels": _layout(seed + 1, image.shape[1]), "image": image})
    found = {"generator": _grey(run("generator", {"labels": labels, **style})["image"])}
    for name, port, given in (("mask_vae", "labels", labels), ("parser", "image", image)):
        found[name] = 255.0 * _likely(run(name, {port: given})["logits"])
    return found


def _layout(seed: int, size: int) -> Array:
    """A label map that nobody drew: patches of the 19 classes, uint8 (1, S, S)."""
    coarse = np.random.default_rng(seed).integers(0, 19, (8, 8), np.uint8)
    return coarse.repeat(size // 8, 0).repeat(size // 8, 1)[None]


def _likely(logits: Array) -> Array:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def _stit(run: Run, image: Array, other: Array, seed: int) -> dict[str, Array]:
    """The picture of the crop's own codes in each size, an edit added that says something where these are nearly
    nothing; and how sure the parser is of each class."""
    codes = run("e4e", {"image": image})["ws"]
    edit = np.random.default_rng(seed).normal(0.0, 1.0, codes.shape).astype(np.float32)
    sizes = [name for name in run.models if name.startswith("synthesis")]
    made = {name: run(name, {"ws": codes + edit})["image"] for name in sizes}
    logits = run("parsing", {"image": _sized(image, run.side("parsing"))})["logits"]
    return made | {"parsing": 255.0 * _likely(logits)}


def _sized(image: Array, side: int) -> Array:
    return np.asarray(cv2.resize(image[0], (side, side), interpolation=cv2.INTER_LINEAR))[None]


SHOWN: dict[str, Callable[[Run, Array, Array, int], dict[str, Array]]] = {
    "ganimation": _ganimation,
    "geogan": _geogan,
    "liquid_warping": _liquid_warping,
    "maskgan": _maskgan,
    "stit": _stit,
}
"""By system: from two crops, uint8 (1, S, S, 3), and a seed to pictures, (1, 3, S, S)."""


def drawn(size: int, seed: int) -> Array:
    """A crop that no camera took: soft shapes with fine noise over them, uint8 (1, S, S, 3)."""
    numbers = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = [
        np.sin(
            2 * np.pi * (numbers.uniform(0.5, 4) * x + numbers.uniform(0.5, 4) * y) + numbers.uniform(0, 6)
        )
        for _ in range(3)
    ]
    picture = 127 + 90 * np.stack(waves, -1) + numbers.normal(0, 6, (size, size, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def _signed(image: Array) -> Array:
    scaled: Array = image.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1.0
    return scaled


def _grey(picture: Array) -> Array:
    return np.clip((picture + 1.0) * 127.5, 0.0, 255.0)


def _warped(picture: Array, flow: Array) -> Array:
    """(1, 3, S, S) sampled at identity + flow, in grid units with the corners aligned, zeros outside."""
    size = picture.shape[-1]
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    x = x + 0.5 * (size - 1) * flow[0, 0]
    y = y + 0.5 * (size - 1) * flow[0, 1]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    padded = np.pad(picture[0], ((0, 0), (1, 2), (1, 2)))
    found = np.zeros_like(picture[0], np.float64)
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
            rows, columns = np.clip(top + down + 1, 0, size + 1), np.clip(left + right + 1, 0, size + 1)
            found += weight * padded[:, rows, columns]
    return found[None]
