"""MaskVAE: label maps as vectors, between which masks can be interpolated."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

SMALLEST = 4
"""Side of the map that the linear layers see."""

_ENCODER_EPS, _DECODER_EPS = 1e-5, 1e-3


class MaskVAE(nn.Module):
    """The variational autoencoder of one-hot label maps, official class `VAE`, for square maps of `size`.

    size: 4 * 2**n with n >= 2, because the linear layers see what n halvings leave; officially 512. width: channels
    of the encoder after its first halving, doubled by each further one (official ndf). decoder_width: likewise of the
    decoder before its last layer (official ngf); 0 takes `width`. latent: numbers of a mask's vector (official
    latent_variable_size).
    """

    def __init__(
        self, classes: int = 19, width: int = 32, latent: int = 1024, size: int = 512, decoder_width: int = 0
    ) -> None:
        super().__init__()
        decoder_width = decoder_width or width
        self.classes, self.size, self.latent = classes, size, latent
        self.halvings = halvings = _halvings(size)
        widths = [width * 2**k for k in range(halvings)]
        falling = [decoder_width * 2**k for k in reversed(range(halvings))]
        self.deepest = falling[0]
        flat = widths[-1] * SMALLEST**2
        for k, (inner, outer) in enumerate(zip([classes, *widths], widths), 1):
            self.add_module(f"e{k}", nn.Conv2d(inner, outer, 4, stride=2, padding=1))
            self.add_module(f"bn{k}", nn.BatchNorm2d(outer, eps=_ENCODER_EPS))
        self.fc1, self.fc2 = nn.Linear(flat, latent), nn.Linear(flat, latent)
        self.d1 = nn.Linear(latent, self.deepest * SMALLEST**2)
        for k, (inner, outer) in enumerate(pairwise(falling), 2):
            self.add_module(f"d{k}", nn.Conv2d(inner, outer, 3))
            self.add_module(f"bn{halvings + k - 1}", nn.BatchNorm2d(outer, eps=_DECODER_EPS))
        self.add_module(f"d{halvings + 1}", nn.Conv2d(decoder_width, classes, 3))
        self.leaky = nn.LeakyReLU(0.2)
        self.spread = nn.Sequential(nn.UpsamplingNearest2d(scale_factor=2), nn.ReplicationPad2d(1))

    def encode(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """One-hot planes (B, classes, size, size) to mean and log-variance, (B, latent) each."""
        x = planes
        for k in range(1, self.halvings + 1):
            x = self.leaky(self.get_submodule(f"bn{k}")(self.get_submodule(f"e{k}")(x)))
        flat = x.flatten(1)
        return self.fc1(flat), self.fc2(flat)

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent) to logits (B, classes, size, size): no softmax."""
        x = torch.relu(self.d1(z)).reshape(-1, self.deepest, SMALLEST, SMALLEST)
        for k in range(2, self.halvings + 1):
            norm = self.get_submodule(f"bn{self.halvings + k - 1}")
            x = self.leaky(norm(self.get_submodule(f"d{k}")(self.spread(x))))
        logits: Tensor = self.get_submodule(f"d{self.halvings + 1}")(self.spread(x))
        return logits

    def forward(self, planes: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, mean, log-variance and the vector that was decoded. noise: (B, latent), standard normal; None
        decodes the mean itself."""
        mean, log_variance = self.encode(planes)
        z = mean if noise is None else reparameterised(mean, log_variance, noise)
        return self.decode(z), mean, log_variance, z


def reparameterised(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mean + noise * exp(log_variance / 2), as the code has it; the paper's sigma is half the log-variance."""
    return mean + noise * torch.exp(0.5 * log_variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,): the Kullback-Leibler divergence from the standard normal, summed over the vector."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


def _halvings(size: int) -> int:
    count = (size // SMALLEST).bit_length() - 1
    if count < 2 or size != SMALLEST * 2**count:
        raise ValueError(f"size: got {size}, expected {SMALLEST} times a power of two, such as 64 or 512")
    return count
