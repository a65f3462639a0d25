"""GeoGAN's losses against closed forms; the official numbers are tested in tests/parity."""

from __future__ import annotations

import pytest
import torch

from trainers.geogan import losses


def test_least_squares_sums_over_scales() -> None:
    """Each scale counts by its mean, so a finer one weighs no more."""
    scores = [torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 2, 2), -1.0)]
    assert losses.least_squares(scores, real=True) == pytest.approx(4 + 4)
    assert losses.least_squares(scores, real=False) == pytest.approx(9 + 1)


@pytest.mark.parametrize("shape", [(1, 2), (1, 2, 1, 1)])
def test_attributes_are_compared_sample_by_sample(shape: tuple[int, ...]) -> None:
    """(B, n, 1, 1) against (B, n) is no broadcast, also at batch 1."""
    probability = torch.tensor([[0.9, 0.2]]).reshape(shape)
    expected = -(torch.log(torch.tensor(0.9)) + torch.log(torch.tensor(0.8))) / 2
    assert losses.attribute_entropy(probability, torch.tensor([[1, 0]])) == pytest.approx(float(expected))


def test_a_steady_slope_has_its_squared_gradient() -> None:
    """dx^2 + dy^2 in pixels, clamped below by the floor."""
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    flow = torch.stack((3 * x, torch.zeros_like(y)))[None]
    assert losses.total_variation(flow) == pytest.approx((9 + losses.FLOOR) / 2)


def test_the_flow_that_leads_to_the_donors_landmarks_costs_nothing() -> None:
    """Sampled at the target's landmarks, the flow is the way to the donor's; arguments stay as they are."""
    target = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    flow = torch.zeros(2, 2, 8, 8)
    flow[:, 0], flow[:, 1] = 0.25, -0.125
    donor = target + torch.tensor([0.25, -0.125])
    assert losses.landmark_error(flow, target, donor) == pytest.approx(0, abs=1e-9)
    assert losses.landmark_error(0 * flow, target, donor) == pytest.approx(256 * (0.0625 + 0.015625) / 2)
    assert target.shape == (2, 68, 2)


def test_landmarks_that_are_left_out_do_not_count() -> None:
    """Neither in the sum nor in the number it is divided by."""
    target, donor = torch.zeros(1, 4, 2), torch.tensor([[[0.5, 0.0]] * 2 + [[9.0, 9.0]] * 2])
    kept = losses.landmark_error(
        torch.zeros(1, 2, 4, 4), target, donor, 1.0, torch.tensor([1.0, 1.0, 0.0, 0.0])
    )
    assert kept == pytest.approx(0.125)


def test_colour_smoothness_leaves_its_flow_alone() -> None:
    """The official loss scaled the flow in place."""
    flow, image = torch.ones(1, 2, 6, 6), torch.zeros(1, 3, 6, 6)
    assert losses.colour_smoothness(flow, image, 6, patch=3) > 0
    assert torch.equal(flow, torch.ones(1, 2, 6, 6))
