"""One training step at the published size, in a process of its own, so that its memory is its own:

    python -m tests.trainers.liquid_warping.published STAGE [KEY=VALUE ...]

VGG19 and SphereFace-20 with weights by chance, a sample by chance, one picture a step. Gives one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainers.config import from_table
from trainers.liquid_warping.face_loss import SphereFace20
from trainers.liquid_warping.recipe import Data
from trainers.liquid_warping.training import LiquidWarping
from trainers.perceptual import VGG19
from trainers.system import Turn

RECIPE = Path(__file__).resolve().parents[3] / "configs" / "liquid_warping_paper.toml"


def batch_of(data: Data) -> dict[str, Tensor]:
    """One sample of the recipe's shape: a body in the middle, which every source shows a little elsewhere."""
    size, sources, targets = data.size, data.sources, data.time_step
    numbers = torch.Generator().manual_seed(1)
    line = (2 * torch.arange(size) + 1) / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    body = (x / 0.5).square() + (y / 0.9).square() < 1
    own = torch.where(body[..., None], torch.stack((x, y), -1), -2.0)

    def noise(*shape: int) -> Tensor:
        return torch.rand((1, *shape, size, size), generator=numbers) * 2 - 1

    unknown = (~body).float().expand(1, sources + targets, 1, size, size).contiguous()
    boxes = {
        "head": torch.tensor([size * 3 // 8, size * 5 // 8, size // 20, size // 4]),
        "body": torch.tensor([size // 4, size * 3 // 4, size // 20, size * 19 // 20]),
    }
    batch = {
        "known": noise(1, 4),
        "sources": noise(sources, 6),
        "targets": noise(targets, 6),
        "flow": own.expand(1, targets, sources, size, size, 2).contiguous(),
        "real_sources": noise(sources, 3),
        "real_targets": noise(targets, 3),
        "real_background": noise(3),
        "masks": unknown,
        **{name: box.expand(1, targets, 4).contiguous() for name, box in boxes.items()},
    }
    if targets > 1:
        batch["flow_back"] = own.expand(1, targets - 1, size, size, 2).contiguous()
    if data.scenes:
        batch |= {"scene": noise(3), "scene_mask": unknown[:, 0]}
    return batch


def step(stage: str, changes: list[str]) -> dict[str, Any]:
    """A step of the paper's recipe with these changes. still: weights that it did not move, by network. gib: the most
    that the process held. tflop: convolutions and products of the step, forwards and backwards, 2 per multiply-add."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        vgg19, sphereface = Path(folder) / "vgg19.pth", Path(folder) / "sphere20a.pth"
        torch.save(VGG19().state_dict(), vgg19)
        torch.save(SphereFace20().state_dict(), sphereface)
        files = [f"losses.vgg19={vgg19}", f"losses.sphereface={sphereface}"]
        table = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
        table["stages"] = [{"name": stage, "steps": 2, "batch": 1}]
        options = from_table(table, [*files, *changes]).options
        system = LiquidWarping(options)
    weights = {name: sum(one.numel() for one in made.parameters()) for name, made in system.networks.items()}
    turn = Turn(stage, system.optimisers())
    before = {
        name: {key: float(one.detach().double().sum()) for key, one in made.named_parameters()}
        for name, made in system.networks.items()
    }
    batch = batch_of(options.data)
    started = time.process_time()
    with FlopCounterMode(display=False) as counter:
        scalars = system.step(batch, turn)
    return {
        "scalars": {name: float(value) for name, value in scalars.items()},
        "still": {
            name: [
                key
                for key, one in made.named_parameters()
                if float(one.detach().double().sum()) == before[name][key]
            ]
            for name, made in system.networks.items()
        },
        "weights": weights,
        "seconds": time.process_time() - started,
        "tflop": counter.get_total_flops() / 1e12,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    print(json.dumps(step(sys.argv[1], sys.argv[2:])))
