"""Samples of the generator's training: some frames of a clip as sources, one or two others as targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.errors import DataError, PictureError
from trainers.faces import resize_pixels
from trainers.layouts.pictures import central
from trainers.liquid_warping import flows
from trainers.liquid_warping.clips import Clip, Clips, frontal_first
from trainers.liquid_warping.recipe import Data
from trainers.liquid_warping.step import Sample
from trainers.system import Batch, Draw

FACE = "face"
"""The mesh whose live generator chooses by yaw."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def of_batch(batch: Batch, *, temporal: bool) -> Sample:
    """A batch's tensors by their roles."""
    return Sample(
        backgrounds=batch["known"],
        sources=batch["sources"],
        targets=batch["targets"],
        flow=batch["flow"],
        real_sources=batch["real_sources"],
        real_targets=batch["real_targets"],
        real_background=batch["real_background"],
        masks=batch["masks"],
        flow_back=batch["flow_back"] if temporal and "flow_back" in batch else None,
        body=batch["body"],
        head=batch["head"],
        scene=batch.get("scene"),
        scene_mask=batch.get("scene_mask"),
    )


def sample_of(clip: Clip, sources: Sequence[int], targets: Sequence[int], erosion: int) -> dict[str, Tensor]:
    """Everything of one sample, but for a scene. sources, targets: numbers of frames."""
    chosen = [*sources, *targets]
    index, weights = (_frames(clip, name, chosen) for name in ("index", "weights"))
    weights = weights.float()
    corners = _frames(clip, "points", chosen)
    table, places = torch.from_numpy(clip.mesh.condition), torch.from_numpy(clip.mesh.corners)
    conditions = torch.stack([flows.condition_of(one, table) for one in index])
    unknown = 1 - _frames(clip, "masks", chosen).float().unsqueeze(1) / 255
    pictures = _pictures(clip, "images", chosen)
    count = len(sources)
    filled = _pictures(clip, "filled", sources) * (_frames(clip, "reach", sources) > 127).unsqueeze(1)
    seen = _frames(clip, "seen", sources) > 127
    textures = _textures(clip, _pictures(clip, "texture", sources), seen, sources, targets)
    drawn = list(zip(index[count:], weights[count:]))
    shown = [
        flows.read(texture, flows.flow_of(*one, places)) for one, texture in zip(drawn, textures, strict=True)
    ]
    known = flows.eroded(unknown[0], erosion)
    sample = {
        "known": torch.cat((pictures[0] * known, known)).unsqueeze(0),
        "sources": torch.cat((filled, conditions[:count]), 1),
        "targets": torch.cat((torch.stack(shown), conditions[count:]), 1),
        "flow": torch.stack([_flows(*one, corners[:count]) for one in drawn]),
        "real_sources": pictures[:count],
        "real_targets": pictures[count:],
        "real_background": _scaled(np.array(clip.array("background"))[None])[0],
        "masks": unknown,
        "head": _frames(clip, "head", targets).long(),
        "body": _frames(clip, "body", targets).long(),
    }
    if len(targets) > 1:
        pairs = zip(index[count + 1 :], weights[count + 1 :], corners[count:])
        sample["flow_back"] = torch.stack([flows.flow_of(*one) for one in pairs])
    return sample


def _textures(
    clip: Clip, textures: Tensor, seen: Tensor, sources: Sequence[int], targets: Sequence[int]
) -> list[Tensor]:
    """For each target the sources' texture: of a face led by those that look as the target does, as it is done live,
    of a body by the first."""
    yaws = np.asarray(clip.array("yaw"))
    if clip.mesh.name != FACE or np.isnan(yaws[[*sources, *targets]]).any():
        return [flows.merged(textures, seen)] * len(targets)
    own = [float(yaws[source]) for source in sources]
    return [flows.led_to(textures, seen, own, float(yaws[target])) for target in targets]


def _flows(index: Tensor, weights: Tensor, corners: Tensor) -> Tensor:
    return torch.stack([flows.flow_of(index, weights, one) for one in corners])


def _frames(clip: Clip, name: str, frames: Sequence[int]) -> Tensor:
    array = clip.array(name)
    return torch.from_numpy(np.stack([array[frame] for frame in frames]))


def _pictures(clip: Clip, name: str, frames: Sequence[int]) -> Tensor:
    array = clip.array(name)
    return _scaled(np.stack([array[frame] for frame in frames]))


def _scaled(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, S, S, 3) as float32 (N, 3, S, S) in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


class Many:
    """Samples of many clips: an epoch starts once at every frame that has enough behind it."""

    def __init__(self, clips: Sequence[Clip], data: Data) -> None:
        self._data = data
        self._clips = [clip for clip in clips if clip.frames > data.time_step]
        self._places = [
            (number, first)
            for number, clip in enumerate(self._clips)
            for first in range(clip.frames - data.time_step + 1)
        ]
        self._scenes = Scenes(Path(data.scenes), data.size) if data.scenes else None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        number, first = self._places[draw.index]
        clip, data, numbers = self._clips[number], self._data, draw.numbers()
        targets = list(range(first, first + data.time_step))
        sources = self._sources(clip, targets, numbers)
        sample = sample_of(clip, sources, targets, data.background_erosion)
        if self._scenes is not None:
            scene = self._scenes(int(numbers.integers(len(self._scenes))))
            sample["scene"], sample["scene_mask"] = _scaled(scene[None])[0], sample["known"][0, 3:]
        return sample

    def _sources(self, clip: Clip, targets: Sequence[int], numbers: np.random.Generator) -> list[int]:
        """The most frontal first, where the recipe goes by that; the others drawn, none twice while there are enough.
        The targets themselves are no sources, unless there are no other frames."""
        others = [frame for frame in range(clip.frames) if frame not in targets] or list(targets)
        count = self._data.sources
        if self._data.frontal:
            pool = frontal_first(clip, others)[: self._data.frontal]
            rest = pool[1:] or pool
            return [pool[0], *_drawn(rest, count - 1, numbers)]
        return _drawn(others, count, numbers)


class One:
    """One person's frames: fixed sources, and every frame that is not held back as a target.

    A photo of its own is a source and its own target. held: frames that are shown to nobody but the comparison.
    """

    def __init__(self, clip: Clip, data: Data, *, held_back: bool) -> None:
        self._clip, self._data = clip, data
        _check_named(clip, data)
        self.held = data.held_frames or held_frames(clip, data)
        free = [frame for frame in range(clip.frames) if frame not in self.held]
        self.sources = _padded(data.source_frames, data.sources) or sources_of(clip, free, data.sources)
        self._targets = list(self.held) if held_back else free

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        return self.at(self._targets[draw.index])

    def at(self, target: int) -> dict[str, Tensor]:
        """The sample with this frame as its target."""
        return sample_of(self._clip, self.sources, [target], self._data.background_erosion)


def _check_named(clip: Clip, data: Data) -> None:
    """Raises DataError for a frame that is not there, and where nothing is left to learn from."""
    for name in ("held_frames", "source_frames"):
        for frame in getattr(data, name):
            if not 0 <= frame < clip.frames:
                raise DataError(
                    f"data.{name}: got frame {frame}, expected 0 .. {clip.frames - 1} of {clip.name}"
                )
    if len(set(data.held_frames)) >= clip.frames:
        raise DataError(
            f"data.held_frames: all {clip.frames} frames of {clip.name} are held back; leave one out"
        )


def _padded(frames: Sequence[int], count: int) -> list[int]:
    """At most `count` of them; where there are fewer all again in turn, as it is done live."""
    return [frames[place % len(frames)] for place in range(count)] if frames else []


def held_frames(clip: Clip, data: Data) -> tuple[int, ...]:
    """Frames of a clip that are held back: the middles of equal stretches of its yaws, so that turned heads are among
    them; none where that would leave fewer than two for the training."""
    count = round(clip.frames * data.held)
    if data.held and not count and clip.frames > 2:
        count = 1
    if clip.frames - count < 2:
        return ()
    order = np.argsort(np.nan_to_num(np.asarray(clip.array("yaw")), nan=0.0), kind="stable")
    places = ((np.arange(count) + 0.5) * clip.frames / max(count, 1)).astype(int)
    return tuple(sorted(int(order[place]) for place in places))


def sources_of(clip: Clip, frames: Sequence[int], count: int) -> list[int]:
    """The most frontal of these frames, then those that are farthest in yaw from all before; the first again where
    there are too few, because a graph's count is fixed."""
    yaws = np.nan_to_num(np.asarray(clip.array("yaw")), nan=0.0)
    chosen = frontal_first(clip, frames)[:1]
    while len(chosen) < min(count, len(frames)):
        left = [frame for frame in frames if frame not in chosen]
        chosen.append(max(left, key=lambda frame: min(abs(float(yaws[frame] - yaws[one])) for one in chosen)))
    return [*chosen, *chosen[:1] * (count - len(chosen))]


def only_person(clips: Clips) -> Clip:
    """The one clip of a person that is to be tuned. Raises DataError where there are several."""
    if len(clips.clips) != 1:
        names = ", ".join(clip.name for clip in clips.clips[:4])
        raise DataError(
            f"personalising: the folder holds {len(clips.clips)} clips ({names}), expected one; name data.person, or "
            "prepare that person's photos or clip alone"
        )
    return clips.clips[0]


def _drawn(frames: Sequence[int], count: int, numbers: np.random.Generator) -> list[int]:
    few = len(frames) < count
    return [int(frame) for frame in numbers.choice(np.asarray(frames), count, replace=few)]


class Scenes:
    """Pictures without people: the central square of each."""

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
        if not self._paths:
            raise DataError(f"data.scenes: {folder} holds no picture ({', '.join(PICTURES)})")

    def __len__(self) -> int:
        return len(self._paths)

    def __call__(self, number: int) -> NDArray[np.uint8]:
        """uint8 (size, size, 3), RGB. Raises PictureError."""
        path = str(self._paths[number])
        stored = cv2.imread(path, cv2.IMREAD_COLOR)
        if stored is None:
            raise PictureError(f"{path}: is damaged or no picture; take it away")
        rgb = np.ascontiguousarray(stored[..., ::-1], np.uint8)
        return resize_pixels(central(rgb, min(rgb.shape[:2]), path), self._size)
