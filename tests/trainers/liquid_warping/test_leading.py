"""A turned head's texture in training: the twin of what is done live."""

from __future__ import annotations

import numpy as np
import torch

from engine.generators.liquid_warping.leading import in_order, texture_at
from trainers.liquid_warping.flows import led_to, merged


def test_a_training_leads_as_it_is_done_live() -> None:
    """The same texture for the same yaw, whichever order the sources are given in; who does not see a place does not
    lead it."""
    numbers = np.random.default_rng(5)
    textures = torch.from_numpy(numbers.uniform(-1, 1, (3, 3, 6, 6)).astype(np.float32))
    seen = torch.from_numpy(numbers.random((3, 6, 6)) > 0.3)
    yaws = [0.0, 20.0, -10.0]

    def led_by(first: int) -> np.ndarray:
        turns = [first, *(k for k in range(3) if k != first)]
        return merged(textures[turns], seen[turns]).numpy()

    led = in_order(yaws, [led_by(k) for k in range(3)])
    for yaw in (-30.0, -10.0, -4.0, 0.0, 7.0, 20.0, 50.0):
        expected = texture_at(led, yaw)
        assert np.allclose(led_to(textures, seen, yaws, yaw).numpy(), expected, atol=1e-6)
