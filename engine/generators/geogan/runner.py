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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.errors import PortError
from engine.generators.batch_runner import BatchRunner
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


@dataclass(slots=True, eq=False)
class _Face:
    """An entry on its way through its donors. image: the face as the next one sees it."""

    ports: Ports
    image: U8
    donors: int
    found: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: Exception | None = None

    def entry(self, k: int) -> Ports:
        """What the transfer takes for the k-th donor."""
        suffix = f"@{k}"
        given = {
            name.removesuffix(suffix): array for name, array in self.ports.items() if name.endswith(suffix)
        }
        return given | {"image": self.image}


class GeoganRunner:
    """Runs entries, those that bring an attribute as many at once as `transfer` takes, by batch size, and the others in
    turn; an entry that fails does not touch the others. removal: None where a bundle has none."""

    def __init__(self, donor: DonorGraph, transfer: Mapping[int, Graph], removal: Graph | None) -> None:
        self._donor, self._transfer, self._removal = donor, BatchRunner(transfer), removal
        self.batches = self._transfer.batches
        size = next(port.shape[1] for port in transfer[1].inputs if port.name == "image")
        if size is None:
            raise PortError("port 'image': its size is free, expected a fixed one; export the bundle again")
        self._y, self._x = np.mgrid[:size, :size].astype(np.float32)
        self._half = 0.5 * (size - 1)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        answers = dict[int, Ports | Exception]()
        faces = dict[int, _Face]()
        for index, ports in enumerate(batch):
            try:
                if "reference" in ports:
                    answers[index] = self._remove(ports)
                else:
                    faces[index] = _Face(
                        ports, ports["image"], sum(name.startswith("donor@") for name in ports)
                    )
            except KeyError as error:
                answers[index] = PortError(f"port {error}: missing, expected one array per port of geogan")
            except Exception as error:  # the frame loop decides; one session's fault must not reach another
                answers[index] = error
        for k in range(max((face.donors for face in faces.values()), default=0)):
            self._bring([face for face in faces.values() if face.donors > k and face.error is None], k)
        answers |= {index: face.error or face.found for index, face in faces.items()}
        return [answers[index] for index in range(len(batch))]

    def warm_up(self) -> None:
        """See BatchRunner."""
        self._transfer.warm_up()

    def close(self) -> None:
        for graph in (self._donor, self._transfer, self._removal):
            if graph is not None:
                graph.close()

    def _bring(self, faces: Sequence[_Face], k: int) -> None:
        """What the k-th donor brings to each of them; a further one sees the face with that."""
        for face, layer in zip(faces, self._transfer.run([face.entry(k) for face in faces])):
            if isinstance(layer, Exception):
                face.error = layer
                continue
            face.found |= {f"{name}@{k}": array.copy() for name, array in layer.items()}
            if k + 1 < face.donors:
                face.image = self._blended(face.image, face.ports[f"donor@{k}"], layer)

    def _remove(self, ports: Ports) -> Ports:
        if self._removal is None:
            raise PortError("removal: this bundle has no graph for it; name another bundle")
        image = ports["image"]
        entry = {"image": ports["reference"], "donor": image, **self._donor.features(image)}
        (layer,) = self._transfer.run([entry])
        if isinstance(layer, Exception):
            raise layer
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
