"""Composition at full resolution."""

from __future__ import annotations

import torch

from trainers.geogan.compose import compose, official_compose
from trainers.geogan.networks import FlowGenerator


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_at_the_networks_own_size_it_is_the_networks_own_blending() -> None:
    """Nothing is resized, so nothing may differ."""
    torch.manual_seed(0)
    generator = FlowGenerator(16, 3, 2, 1, refinement_weight=0.5).eval()
    target, donor = noise(1, 3, 16, 16), noise(1, 3, 16, 16).flip(3)
    with torch.no_grad():
        there = generator.add_attribute(target, donor)
        residual = generator.refinement_weight * generator.refinement(
            target * (1 - there.mask) + there.warped * there.mask, there.mask
        )
        done = compose(target, donor, there.flow, there.mask, residual)
    assert torch.allclose(done.image, there.image, atol=1e-5)


def test_a_flow_of_one_small_pixel_is_several_large_ones() -> None:
    """Moved by H / S pixels of the large picture, everywhere alike."""
    donor, flow = noise(1, 3, 64, 64), torch.zeros(1, 2, 16, 16)
    flow[:, 0] = 2 / 15
    warped = compose(torch.zeros_like(donor), donor, flow, torch.ones(1, 1, 16, 16)).warped
    assert torch.allclose(warped[..., 1:-5], donor[..., 5:-1], atol=1e-4)


def test_the_official_one_clamps_the_border_of_the_grid() -> None:
    """Its identity is none: the sum of grid and flow is resized, so the outer half of a small pixel repeats."""
    donor = noise(1, 3, 64, 64)
    nothing, everything = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    ours = compose(donor, donor, nothing, everything).warped
    theirs = official_compose(donor, donor, nothing, everything).warped
    assert torch.allclose(ours, donor, atol=1e-4)
    assert (theirs - donor).abs().max() > 0.1
    assert torch.allclose(theirs[..., 0], theirs[..., 1], atol=1e-5)
