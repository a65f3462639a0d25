"""MaskGAN's networks: what they take and give, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from trainers.errors import CheckpointError
from trainers.maskgan import containers
from trainers.maskgan.blender import AlphaBlender
from trainers.maskgan.blocks import AdaptiveConvBlock
from trainers.maskgan.critic import MultiscaleCritic
from trainers.maskgan.labels import one_hot
from trainers.maskgan.mask_vae import MaskVAE, divergence
from trainers.maskgan.networks import DenseMappingNetwork, Style


def test_adain_is_the_batch_norm_of_the_official_code() -> None:
    """The same numbers as batch norm in training mode on a view of (1, B * C, H, W), each entry with its own style."""
    torch.manual_seed(0)
    block = AdaptiveConvBlock(4, active=False).eval()
    x, gamma, beta = torch.randn(3, 4, 6, 6), torch.randn(3, 4), torch.randn(3, 4)
    inner = block.conv(block.pad(x))
    view = torch.nn.functional.batch_norm(
        inner.reshape(1, 12, 6, 6), None, None, gamma.flatten(), beta.flatten(), training=True, eps=1e-5
    )
    assert torch.allclose(block(x, gamma, beta), view.reshape(3, 4, 6, 6), atol=1e-5)


def test_a_style_is_split_by_layer_beta_first() -> None:
    """Per layer first all betas, then all gammas, in module order."""
    network = DenseMappingNetwork(width=2, downsamples=2, blocks=2)
    numbers = torch.arange(2.0 * network.layers * network.deepest)[None, :, None, None]
    style = network.split(numbers)
    assert style.beta[0, :, 0].tolist() == [0, 16, 32, 48]
    assert style.gamma[0, :, 0].tolist() == [8, 24, 40, 56]


def test_each_adain_layer_has_its_own_style() -> None:
    """Changing the last layer's gamma leaves all layers before it alone, and changes the picture."""
    torch.manual_seed(0)
    network = DenseMappingNetwork(width=2, downsamples=1, blocks=2).eval()
    planes = one_hot(torch.randint(0, 19, (1, 64, 64)))
    style = network.style(planes, torch.rand(1, 3, 64, 64))
    shown: list[torch.Tensor] = []
    places = [place for place, one in enumerate(network.model) if hasattr(one, "LAYERS")]
    for place in places:
        network.model[place].register_forward_hook(lambda *given: shown.append(given[2].detach()))
    before = network.draw(planes, style)
    gamma = style.gamma.clone()
    gamma[:, -1] += 1
    after = network.draw(planes, Style(gamma, style.beta))
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[1], shown[3])
    assert not torch.equal(before, after)


def test_the_blend_lies_between_its_pictures() -> None:
    """Alpha is in 0..1, one for each colour."""
    torch.manual_seed(0)
    first, second = torch.rand(1, 3, 16, 16), -torch.rand(1, 3, 16, 16)
    blended, alpha = AlphaBlender(2, 2, 1)(first, second)
    assert alpha.shape == (1, 3, 16, 16)
    assert bool(((blended <= first + 1e-6) & (blended >= second - 1e-6)).all())


def test_the_critics_scales_have_weights_of_their_own() -> None:
    """The full size is judged by the last scale's, the half by the first's."""
    torch.manual_seed(0)
    critic = MultiscaleCritic(22, 4, 2, 2)
    x = torch.randn(1, 22, 32, 32)
    full, half = critic(x)
    with torch.no_grad():
        for name, value in critic.named_parameters():
            if name.startswith("scale0_"):
                value.zero_()
    again = critic(x)
    assert all(torch.equal(a, b) for a, b in zip(full, again[0]))
    assert not torch.equal(half[0], again[1][0])


@pytest.mark.parametrize("size", [16, 64])
def test_a_mask_vae_of_another_side(size: int) -> None:
    """As many halvings as its side has; the mean is decoded where no noise is given."""
    torch.manual_seed(0)
    vae = MaskVAE(width=2, latent=6, size=size, decoder_width=3).eval()
    planes = one_hot(torch.randint(0, 19, (2, size, size)))
    logits, mean, log_variance, z = vae(planes)
    assert logits.shape == planes.shape
    assert torch.equal(z, mean)
    assert bool((divergence(mean, log_variance) >= 0).all())
    assert divergence(torch.zeros(1, 6), torch.zeros(1, 6)).tolist() == [0]


@pytest.mark.parametrize("size", [8, 48, 500])
def test_a_side_that_no_mask_vae_can_have_is_refused(size: int) -> None:
    """4 times a power of two."""
    with pytest.raises(ValueError, match="4 times a power of two"):
        MaskVAE(size=size)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({f"scale{k}_layer0.0.weight": torch.zeros(1, 1, 4, 4) for k in range(300)}, "at 300 scales"),
        ({"e1.weight": torch.zeros(1, 1, 4, 4), "fc1.weight": torch.zeros(1, 1), f"e{'9' * 99}.weight": torch.ones(1)},
         "of that number"),
    ],
)  # fmt: skip
def test_a_file_that_claims_no_end_of_layers_is_refused(stored: dict[str, torch.Tensor], told: str) -> None:
    """Before a network of as many is built."""
    with pytest.raises(CheckpointError, match=told):
        containers.clean(stored)
