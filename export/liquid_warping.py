"""Liquid Warping GAN's bundle: projections of every source and the background once, the transfer for every frame.

The mesh is drawn and flows are made outside of the graphs. The number of sources is fixed, because it stands in shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from engine.bundle import CropRule, Parameters, PortInfo
from engine.errors import BundleError
from engine.types import Mode
from export.checkpoints import Loaded, crop_rule, extractor
from export.onnx import run
from export.plan import GraphPlan, Plan, numbers
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.live import (
    COUNTS,
    BackgroundStep,
    FrameStep,
    SourceStep,
    shapes_of,
)

GATE: Final = 1e-3
"""The flow's resize blends -2 into valid places at a body's border, which multiplies rounding: the paper's own code
differs by 4e-4 there between float32 and float64."""
MESHES: Final = ("face", "smpl")


def plan(loaded: Loaded) -> Plan:
    """The bundle of a checkpoint. Raises BundleError where it does not say enough, or its generator cannot run live."""
    crop = crop_rule(loaded)
    generator = loaded.network("generator", LiquidWarpingGenerator)
    if not generator.has_background:
        raise BundleError(
            "the generator has no background network, which a bundle needs; import AttLWB-SPADE"
        )
    try:
        shapes = shapes_of(generator, crop.size)
    except ValueError as error:
        raise BundleError(f"the generator cannot run live: {error}") from error
    sources = _sources(loaded)
    graphs = (
        _source(generator, crop.size, sources, shapes),
        _background(generator, crop.size),
        _frame(generator, crop.size, sources, shapes),
    )
    title = f"Liquid Warping GAN, {crop.size} px, {sources} source{'s' if sources > 1 else ''}"
    return Plan("liquid_warping", title, graphs, _parameters(loaded, generator, crop, sources), gate=GATE)


def port_names(blocks: int, sources: int) -> list[str]:
    """keys_0, values_0, keys_1, ...; values alone of a single source."""
    kinds = ("values",) if sources == 1 else ("keys", "values")
    return [f"{kind}_{block}" for block in range(blocks) for kind in kinds]


def _each(shapes: list[tuple[int, int, int]], sources: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Every projection's name and (C, h, w)."""
    per_block = 1 if sources == 1 else 2
    doubled = [shape for shape in shapes for _ in range(per_block)]
    return list(zip(port_names(len(shapes), sources), doubled))


def _source(
    generator: LiquidWarpingGenerator, size: int, sources: int, shapes: list[tuple[int, int, int]]
) -> GraphPlan:
    return GraphPlan(
        "source",
        SourceStep(generator, keys=sources > 1),
        (_colours("filled", size), _colours("condition", size)),
        tuple(numbers(name, (1, *shape)) for name, shape in _each(shapes, sources)),
    )


def _background(generator: LiquidWarpingGenerator, size: int) -> GraphPlan:
    return GraphPlan(
        "background",
        BackgroundStep(generator),
        (numbers("image", (1, 4, size, size), (-1.0, 1.0)),),
        (_colours("background", size),),
    )


def _frame(
    generator: LiquidWarpingGenerator, size: int, sources: int, shapes: list[tuple[int, int, int]]
) -> GraphPlan:
    projected = [(name, (1, sources, *shape)) for name, shape in _each(shapes, sources)]
    step = SourceStep(generator, keys=sources > 1)

    def derived(drawn: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Projections of noisy sources, and a flow that is one: a body's shape in its middle, -2 around it."""
        seeded = torch.Generator().manual_seed(7)
        parts = []
        for _ in range(sources):
            seen = torch.rand((1, 6, size, size), generator=seeded) * 2 - 1
            parts.append(run(step, (seen[:, :3], seen[:, 3:])))
        found = {name: torch.stack(one, 1) for (name, _), one in zip(projected, zip(*parts))}
        return {**found, "flow": _flow(sources, drawn["target"])}

    return GraphPlan(
        "generator",
        FrameStep(generator, sources),
        (
            numbers("target", (1, 6, size, size), (-1.0, 1.0)),
            numbers("flow", (1, sources, size, size, 2), (-2.0, 2.0)),
            *(numbers(name, shape) for name, shape in projected),
        ),
        (_colours("colour", size), numbers("mask", (1, 1, size, size), (0.0, 1.0))),
        derived=derived,
        reference=_Paper(generator, sources),
        batched=True,
    )


def _flow(sources: int, drawn: Tensor) -> Tensor:
    """Smooth places near the pixels' own, -2 beyond an ellipse; of what was drawn only the amount is taken."""
    size = drawn.shape[-1]
    line = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    own = torch.stack((x, y), -1)
    turned = own.flip(-1) * float(drawn.abs().mean()) * 0.1
    inside = ((x / 0.7).square() + (y / 0.9).square() < 1).unsqueeze(-1)
    flow = torch.where(inside, own * 0.9 + turned, torch.full_like(own, -2.0))
    shifts = torch.linspace(0.0, 0.2, sources)[:, None, None, None]
    return torch.where(flow > -2.0, flow + shifts, flow).unsqueeze(0).contiguous()


class _Paper(nn.Module):
    """What the per-frame graph is compared with: the projections taken as they are, everything else by the paper's own
    blocks, which warp maps before they project them. Its sources are those of `derived`."""

    def __init__(self, generator: LiquidWarpingGenerator, sources: int) -> None:
        super().__init__()
        self.generator, self.sources = generator, sources

    def forward(self, target: Tensor, flow: Tensor, *projected: Tensor) -> tuple[Tensor, Tensor]:
        size = target.shape[-1]
        seeded = torch.Generator().manual_seed(7)
        drawn = [torch.rand((1, 6, size, size), generator=seeded) * 2 - 1 for _ in range(self.sources)]
        features = self.generator.encode(torch.stack(drawn, 1).to(target.dtype))
        return self.generator.transfer(target, features, flow)


def _colours(name: str, size: int) -> PortInfo:
    return numbers(name, (1, 3, size, size), (-1.0, 1.0))


def _sources(loaded: Loaded) -> int:
    stated = loaded.facts.get("sources", loaded.data.get("sources"))
    if stated not in COUNTS or isinstance(stated, bool):
        counts = ", ".join(str(count) for count in COUNTS)
        raise BundleError(
            f"the checkpoint states {stated!r} sources, expected one of {counts}; set data.sources"
        )
    return int(stated)


def _parameters(
    loaded: Loaded, generator: LiquidWarpingGenerator, crop: CropRule, sources: int
) -> Parameters:
    mesh = loaded.data.get("mesh")
    if mesh not in MESHES:
        raise BundleError(f"the checkpoint states the mesh {mesh!r}, expected one of {', '.join(MESHES)}")
    erosion = loaded.facts.get("background_erosion", loaded.data.get("background_erosion"))
    if not isinstance(erosion, int) or isinstance(erosion, bool) or not 1 <= erosion <= crop.size:
        raise BundleError(f"the checkpoint states the background_erosion {erosion!r}, expected pixels")
    facts: dict[str, Any] = {
        "sources": sources,
        "mesh": mesh,
        "background_erosion": erosion,
        "blocks": len(generator.enc_attlwbs) + len(generator.res_attlwbs),
        "texture": int(loaded.data.get("texture", crop.size)),
    }
    return Parameters(
        crop=crop,
        aus=(),
        extractor=extractor(loaded),
        au_range=None,
        modes=frozenset({Mode.PUPPET}),
        facts=facts,
    )
