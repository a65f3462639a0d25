"""The live form is the paper's forward, and counts what it should."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.live import COUNTS, FrameStep, SourceStep, shapes_of

SIZE = 16


def narrow(block: str = "attention_spade") -> LiquidWarpingGenerator:
    torch.manual_seed(3)
    made = LiquidWarpingGenerator(block, (4, 6), 2, background_widths=(4, 4), background_blocks=1)
    return made.eval().requires_grad_(False)


def given(sources: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sources, a target, and flows with places that nothing flows to."""
    numbers = torch.Generator().manual_seed(sources)
    seen = torch.rand((2, sources, 6, SIZE, SIZE), generator=numbers) * 2 - 1
    target = torch.rand((2, 6, SIZE, SIZE), generator=numbers) * 2 - 1
    flow = torch.rand((2, sources, SIZE, SIZE, 2), generator=numbers) * 2.4 - 1.2
    flow[:, :, : SIZE // 3] = -2.0
    return seen, target, flow


@pytest.mark.parametrize("sources", COUNTS)
def test_projected_once_is_projected_every_frame(sources: int) -> None:
    """Keys and values before the warp, flows resized once: the numbers of the paper's blocks, for several frames at
    once, and of the shapes that are told."""
    generator = narrow()
    seen, target, flow = given(sources)
    step = SourceStep(generator, keys=sources > 1)
    parts = [step(seen[:, one, :3], seen[:, one, 3:]) for one in range(sources)]
    projected = [torch.stack(one, 1) for one in zip(*parts)]
    kinds = 1 if sources == 1 else 2
    shapes = [tuple(one.shape[2:]) for one in projected[::kinds]]
    assert shapes == shapes_of(generator, SIZE)
    made = FrameStep(generator, sources)(target, flow, *projected)
    expected = generator.transfer(target, generator.encode(seen), flow)
    for one, other in zip(made, expected):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0.0)


def test_another_block_has_no_live_form() -> None:
    """A sum has no keys and values to keep."""
    with pytest.raises(ValueError, match="attention_spade"):
        shapes_of(narrow("sum"), SIZE)


def counted(sources: int) -> float:
    """GFLOP (2 per multiply-add) of one frame at the published size."""
    size, kinds = 512, 1 if sources == 1 else 2
    with torch.device("meta"), torch.no_grad():
        generator = LiquidWarpingGenerator().eval()
        shapes = shapes_of(generator, size)
        maps = [torch.zeros(1, sources, *shape) for shape in shapes for _ in range(kinds)]
        target, flow = torch.zeros(1, 6, size, size), torch.zeros(1, sources, size, size, 2)
        with FlopCounterMode(display=False) as counter:
            FrameStep(generator, sources)(target, flow, *maps)
    return counter.get_total_flops() / 1e9


def test_a_frame_of_two_sources_costs_less_than_267_gflop() -> None:
    """At the published size, counted; of 36.3 million weights."""
    assert 260.0 < counted(2) <= 267.0
    with torch.device("meta"):
        assert sum(one.numel() for one in LiquidWarpingGenerator().parameters()) == 36_276_992


@pytest.mark.full
def test_a_frame_costs_the_same_whatever_the_sources() -> None:
    """But for a single one, which needs no keys."""
    one, *several = (counted(sources) for sources in COUNTS)
    assert one < several[0] == several[1] == several[2]
