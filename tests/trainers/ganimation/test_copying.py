"""The start from which the colour mask is the source's own picture."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.ganimation.folder import recipe_table
from trainers.config import from_table
from trainers.errors import RecipeError
from trainers.ganimation.copying import start_copying
from trainers.ganimation.networks import Generator, initialise
from trainers.ganimation.training import GANimation


def test_the_colour_mask_begins_as_the_source() -> None:
    """Up to the head's tanh, and whatever action units are asked; every weight can still learn."""
    torch.manual_seed(0)
    generator = Generator(16, 17, 2, "none")
    initialise(generator)
    start_copying(generator)
    x = torch.rand(2, 3, 32, 24) * 2 - 1
    colour, _ = generator(x, torch.rand(2, 17))
    assert (colour - torch.tanh(1.25 * x)).abs().mean().item() < 0.06
    (colour - 0.5).square().mean().backward()
    still = {name for name, one in generator.named_parameters() if one.grad is None or not one.grad.any()}
    assert still == {"attetion_reg.0.weight"}


@pytest.mark.parametrize(("width", "norm"), [(8, "none"), (16, "instance")])
def test_only_a_wide_generator_without_norms_can_copy(width: int, norm: str) -> None:
    """A norm takes the picture's brightness out; a narrow map cannot hold it."""
    with pytest.raises(ValueError, match="conv_dim of 12"):
        start_copying(Generator(width, 17, 1, norm))  # type: ignore[arg-type]
    table = recipe_table("data", networks={"conv_dim": width, "norm": norm, "start": "copy"})
    with pytest.raises(RecipeError, match=r"networks\.start: .*'none'"):
        GANimation(from_table(table).options)
