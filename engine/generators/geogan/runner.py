"""Executing GeoGAN's graphs for one frame: a transfer per donor, or a removal.

Ports of an entry: `image` (1, S, S, 3) uint8, the face as it is, and either

- for each donor k = 0, 1 ..: `donor@k` like `image` and its features under the names of the graph, `flow_0@k` ..;
  answered by `flow@k`, `mask@k` and `residual@k`. A further donor sees the face with what the ones before it brought;
- or `reference`, a face without the attribute; answered by `image_out` and `where` (1, 1, S, S). The removal network is
  told where the attribute is by that mask: the one with which the reference would receive it, brought into the frame of
  `image` by the flow turned round, as it was in training.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.errors import PortError
from engine.generators.graph_runner import run_graph
from engine.plug import Ports
from engine.types import F32, U8

_GREY = 127.5  # what lies outside of a donor's square, to the network


class DonorGraph:
    """What is computed of a donor alone. For any thread: sources are prepared while frames are generated."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._lock = graph, threading.Lock()

    def features(self, picture: U8) -> Ports:
        """The donor's features by port name, the caller's own. picture: uint8 (1, S, S, 3)."""
        with self._lock:
            return run_graph(self._graph, {"image": picture}, keep=True)

    def close(self) -> None:
        self._graph.close()


class GeoganRunner:
    """Runs entries in turn; an entry that fails does not touch the others. removal: None where a bundle has none."""

    def __init__(self, donor: DonorGraph, transfer: Graph, removal: Graph | None) -> None:
        self._donor, self._transfer, self._removal = donor, transfer, removal
        size = next(port.shape[1] for port in transfer.inputs if port.name == "image")
        if size is None:
            raise PortError("port 'image': its size is free, expected a fixed one; export the bundle again")
        self._y, self._x = np.mgrid[:size, :size].astype(np.float32)
        self._half = 0.5 * (size - 1)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return [self._one(ports) for ports in batch]

    def close(self) -> None:
        for graph in (self._donor, self._transfer, self._removal):
            if graph is not None:
                graph.close()

    def _one(self, ports: Ports) -> Ports | Exception:
        try:
            return self._remove(ports) if "reference" in ports else self._bring(ports)
        except KeyError as error:
            return PortError(f"port {error}: missing, expected one array per port of geogan")
        except Exception as error:  # the frame loop decides; one session's fault must not reach another
            return error

    def _bring(self, ports: Ports) -> Ports:
        image, found = ports["image"], dict[str, NDArray[Any]]()
        count = sum(name.startswith("donor@") for name in ports)
        for k in range(count):
            suffix = f"@{k}"
            entry = {
                name.removesuffix(suffix): array for name, array in ports.items() if name.endswith(suffix)
            }
            layer = run_graph(self._transfer, entry | {"image": image}, keep=True)
            found |= {name + suffix: array for name, array in layer.items()}
            if k + 1 < count:
                image = self._blended(image, entry["donor"], layer)
        return found

    def _remove(self, ports: Ports) -> Ports:
        if self._removal is None:
            raise PortError("removal: this bundle has no graph for it; name another bundle")
        image = ports["image"]
        entry = {"image": ports["reference"], "donor": image, **self._donor.features(image)}
        layer = run_graph(self._transfer, entry)
        flow = layer["flow"][0]
        mask = self._sampled(layer["mask"][0, 0], -flow, 0.0)
        where = np.clip(mask, 0.0, 1.0)[None, None]
        return {"where": where, **run_graph(self._removal, {"image": image, "mask": where}, keep=True)}

    def _blended(self, image: U8, donor: U8, layer: Ports) -> U8:
        """image * (1 - m) + (warped donor + residual) * m, uint8 (1, S, S, 3)."""
        mask = layer["mask"][0, 0][..., None]
        warped = self._sampled(donor[0].astype(np.float32), layer["flow"][0], _GREY)
        brought = warped + 127.5 * layer["residual"][0].transpose(1, 2, 0)
        blended = image[0] * (1.0 - mask) + brought * mask
        return np.asarray(np.rint(blended.clip(0.0, 255.0)), np.uint8)[None]

    def _sampled(self, picture: F32, flow: F32, outside: float) -> F32:
        """The picture (S, S) or (S, S, C) at identity + flow, grid units of 2 / (S - 1) per pixel."""
        beyond = (outside,) * 4
        return np.asarray(
            cv2.remap(
                picture,
                self._x + self._half * flow[0],
                self._y + self._half * flow[1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=beyond,
            ),
            np.float32,
        )
