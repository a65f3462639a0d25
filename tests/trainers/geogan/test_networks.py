"""GeoGAN's networks: what a state dict holds, and what the conventions of its forward pass are."""

from __future__ import annotations

import pytest
import torch

from trainers.geogan.blocks import ChannelNorm, identity_grid, norm_layer, sample
from trainers.geogan.networks import (
    DEAD_DECODERS,
    AttrMultiScalePatchDisc,
    FlowGenerator,
    official_refinement_weight,
)


def pictures(count: int = 2, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(1)
    return tuple(torch.rand(count, 3, size, size, generator=numbers) * 2 - 1 for _ in range(2))


@pytest.fixture
def generator() -> FlowGenerator:
    torch.manual_seed(0)
    return FlowGenerator(16, 3, 2, 1, refinement_weight=0.3).eval()


def test_the_grid_belongs_to_the_size_and_not_to_the_weights(generator: FlowGenerator) -> None:
    """A file of weights fits every size, so the grid is not among them."""
    assert not any("grid" in name for name in generator.state_dict())
    FlowGenerator(32, 3, 2, 1).load_state_dict(generator.state_dict(), strict=True)


def test_the_grid_ends_in_the_centres_of_the_border_pixels() -> None:
    """align_corners=True: sampling at the grid itself gives the picture, to the last bit of the corners."""
    picture = pictures()[0]
    assert torch.allclose(sample(picture, identity_grid(16).expand(2, -1, -1, -1)), picture, atol=1e-6)


def test_a_flow_of_one_pixel_moves_by_one_pixel(generator: FlowGenerator) -> None:
    """2 / (S - 1) grid units are a pixel, x is channel 0, and zeros come in from outside."""
    picture = pictures()[0]
    flow = torch.zeros(2, 2, 16, 16)
    flow[:, 0] = 2 / 15
    moved = generator.warp(picture, flow)
    assert torch.allclose(moved[..., :-1], picture[..., 1:], atol=1e-5)
    assert moved[..., -1].abs().max() < 1e-5


def test_dead_decoders_are_held_only_when_asked_for() -> None:
    """The published file's decoders without a caller are an option, and change nothing."""
    torch.manual_seed(0)
    whole = FlowGenerator(16, 3, 2, 1, dead_decoders=True)
    lean = FlowGenerator(16, 3, 2, 1)
    dead = set(whole.state_dict()) - set(lean.state_dict())
    assert {name.split(".")[0] for name in dead} == set(DEAD_DECODERS)
    lean.load_state_dict({name: value for name, value in whole.state_dict().items() if name not in dead})
    assert torch.equal(whole(*pictures()).there.image, lean(*pictures()).there.image)


@pytest.mark.parametrize("norm", ["instance", "batch", "layer"])
def test_the_cheaper_order_gives_the_same_numbers(norm: str) -> None:
    """A 1x1 convolution and bilinear upsampling change places up to rounding."""
    torch.manual_seed(0)
    generator = FlowGenerator(16, 3, 2, 1, norm=norm).eval()
    with torch.no_grad():
        plain = generator(*pictures())
        cheap = generator.pointwise_first()(*pictures())
    assert torch.allclose(plain.there.image, cheap.there.image, atol=1e-5)
    assert torch.allclose(plain.target_again, cheap.target_again, atol=1e-4)


def test_refinement_has_the_weight_that_is_stored(generator: FlowGenerator) -> None:
    """The residual is 2 tanh(.) w m: proportional to w, and off at 0."""
    with torch.no_grad():
        there = generator.add_attribute(*pictures())
        generator.refinement_weight = 0.15
        half = generator.add_attribute(*pictures())
        generator.refinement_weight = 0.0
        off = generator.add_attribute(*pictures())
    assert torch.allclose(there.residual, 2 * half.residual, atol=1e-6)
    assert off.residual.abs().max() == 0
    assert torch.allclose(off.image, pictures()[0] * (1 - off.mask) + off.warped * off.mask, atol=1e-6)


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0.0), (10, 0.0), (11, 0.1), (12, 0.2), (99, 0.35)])
def test_the_official_schedule_of_refinement(epoch: int, weight: float) -> None:
    """min(res_weight, 0.1 max(epoch - 10, 0))."""
    assert official_refinement_weight(epoch, 0.35) == pytest.approx(weight)


def test_the_mask_is_only_looked_at_by_refinement(generator: FlowGenerator) -> None:
    """As the fourth channel of refinement the mask carries no gradient."""
    blended, mask = pictures()[0], torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
    assert generator.refinement(blended.requires_grad_(), mask).sum().backward() is None
    assert mask.grad is None
    assert blended.grad is not None


def test_without_warp_and_mask_the_residual_is_everything() -> None:
    """The ablation gives target + 2 tanh(.), not clamped, and zeros for the rest."""
    torch.manual_seed(0)
    generator = FlowGenerator(16, 3, 2, 1, only_residual=True).eval()
    target, donor = pictures()
    there = generator.add_attribute(target, donor)
    assert there.flow.abs().max() == 0
    assert there.mask.abs().max() == 0
    assert (there.image - target).abs().max() > 0


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    """Skips would not fit."""
    with pytest.raises(ValueError, match="multiple of 8"):
        FlowGenerator(20, 3, 3, 1)


def test_the_channel_norm_is_over_channels_with_n_minus_one() -> None:
    """(x - mean) / (std + 1e-6) of each pixel's channels."""
    x = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    pixel = x[1, :, 2, 0]
    expected = (pixel - pixel.mean()) / (pixel.std() + 1e-6)
    assert torch.allclose(ChannelNorm(5)(x)[1, :, 2, 0], expected, atol=1e-6)


def test_an_unknown_norm_is_refused() -> None:
    """Nothing is normalised by accident."""
    with pytest.raises(ValueError, match="expected one of instance, batch, layer"):
        norm_layer("group", 4)


def test_the_critic_halves_its_picture_from_scale_to_scale() -> None:
    """Independent networks on the picture and its halves; probabilities per attribute; at least batch 1."""
    torch.manual_seed(0)
    critic = AttrMultiScalePatchDisc(4, 2, 2, attributes=3)
    judgements = critic(pictures(1, 32)[0])
    assert [tuple(one.patch.shape) for one in judgements] == [(1, 1, 8, 8), (1, 1, 4, 4)]
    assert all(one.attributes.shape == (1, 3) for one in judgements)
    assert all(0 < float(value) < 1 for one in judgements for value in one.attributes.detach().flatten())


def test_the_critic_grows_no_wider_than_512() -> None:
    """Widths double up to the official cap."""
    with torch.device("meta"):
        critic = AttrMultiScalePatchDisc(128, 4, 1)
    widths = [
        value.shape[0]
        for name, value in critic.state_dict().items()
        if "d_layers" in name and value.ndim == 4
    ]
    assert widths == [128, 256, 512, 512]
    assert critic.state_dict()["disc_0.dilate_layer_2.weight"].shape[0] == 512
