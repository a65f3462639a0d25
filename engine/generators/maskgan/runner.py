"""Executing MaskGAN's graphs for one frame: the backbone, and before it MaskVAE where the entry asks for it.

Ports of an entry: `labels` (1, S, S) uint8, `gamma`, `beta`; answered by `image`. With `rough` in the place of `labels`
the layout passes through MaskVAE first, at its own side and by the nearest pixel there and back, and the answer holds
what was drawn as `labels` beside `image`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from engine.backends import Graph
from engine.errors import PortError
from engine.generators.batch_runner import BatchRunner, copied
from engine.generators.maskgan.networks import PictureGraphs
from engine.plug import Ports
from engine.types import U8

ROUGH = "rough"
"""The port of a layout that is to be cleaned up."""


class MaskganRunner:
    """Runs entries as many at once as the backbone takes, by batch size; one that fails does not touch the others.
    projection: MaskVAE by batch size, None where a bundle has none. pictures: closed with it."""

    def __init__(
        self, backbone: Mapping[int, Graph], projection: Mapping[int, Graph] | None, pictures: PictureGraphs
    ) -> None:
        self._backbone, self._pictures = BatchRunner(backbone), pictures
        self._projection = None if projection is None else BatchRunner(projection)
        self.batches = self._backbone.batches
        shape = (projection or backbone)[1].inputs[0].shape
        self._side = int(shape[1] or 0)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        entries = self._projected(batch)
        sound = [index for index, entry in enumerate(entries) if not isinstance(entry, Exception)]
        drawn = self._backbone.run([entry for entry in entries if not isinstance(entry, Exception)])
        answers: list[Ports | Exception] = [
            entry if isinstance(entry, Exception) else {} for entry in entries
        ]
        for index, answer in zip(sound, drawn):
            entry = entries[index]
            if (
                ROUGH in batch[index]
                and not isinstance(answer, Exception)
                and not isinstance(entry, Exception)
            ):
                answer = {**answer, "labels": entry["labels"]}
            answers[index] = answer
        return answers

    def warm_up(self) -> None:
        """See BatchRunner."""
        self._backbone.warm_up()
        if self._projection is not None:
            self._projection.warm_up()

    def close(self) -> None:
        self._backbone.close()
        if self._projection is not None:
            self._projection.close()
        self._pictures.close()

    def _projected(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        """The entries with `labels` in the place of `rough`."""
        rough = [index for index, ports in enumerate(batch) if ROUGH in ports]
        entries: list[Ports | Exception] = list(batch)
        if not rough:
            return entries
        if self._projection is None:
            return [
                PortError("project: this bundle has no graph for it; name another bundle")
                if ROUGH in ports
                else ports
                for ports in batch
            ]
        given = [{"labels": nearest(batch[index][ROUGH][0], self._side)[None]} for index in rough]
        for index, answer in zip(rough, map(copied, self._projection.run(given))):
            ports = batch[index]
            if isinstance(answer, Exception):
                entries[index] = answer
                continue
            found = np.argmax(answer["logits"][0], 0).astype(np.uint8)
            rest = {name: array for name, array in ports.items() if name != ROUGH}
            entries[index] = rest | {"labels": nearest(found, ports[ROUGH].shape[1])[None]}
        return entries


def nearest(labels: U8, size: int) -> U8:
    """Labels (V, V) at another side, by the nearest pixel."""
    if len(labels) == size:
        return labels
    return np.asarray(cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
