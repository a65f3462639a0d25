"""What runs live is the generator, arranged otherwise."""

from __future__ import annotations

import pytest
import torch

from trainers.errors import CheckpointError
from trainers.geogan.live import DonorEncoder, RemovalStep, TransferStep, generator_of, port_names, signed
from trainers.geogan.networks import FlowGenerator


def crops(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(5)
    return tuple(
        torch.randint(0, 256, (1, size, size, 3), generator=numbers, dtype=torch.uint8) for _ in range(2)
    )


def made(norm: str = "instance", weight: float = 0.3, depth: int = 3) -> FlowGenerator:
    torch.manual_seed(0)
    return FlowGenerator(32, 4, depth, 2, norm=norm, refinement_weight=weight).eval()


@pytest.mark.parametrize(("norm", "depth"), [("instance", 3), ("batch", 2), ("layer", 1)])
@torch.no_grad()
def test_transfer_with_the_donors_shares_is_the_generators(norm: str, depth: int) -> None:
    """Flow, mask and residual of `add_attribute`, from uint8 crops; removal of `remove_attribute`."""
    generator = made(norm, depth=depth)
    image, donor = crops()
    expected = generator.add_attribute(signed(image), signed(donor))
    shares = DonorEncoder(generator)(donor)
    flow, mask, residual = TransferStep(generator)(image, donor, *shares)
    assert torch.allclose(flow, expected.flow, atol=1e-5)
    assert torch.allclose(mask, expected.mask, atol=1e-5)
    assert torch.allclose(residual * mask, expected.residual, atol=2e-5)
    removed = RemovalStep(generator)(image, mask)
    assert torch.allclose(removed, generator.remove_attribute(signed(image), mask), atol=2e-5)
    assert len(shares) == len(port_names(generator)) == 2 * (depth + 2)


@torch.no_grad()
def test_refinement_that_is_off_adds_nothing() -> None:
    """Weight 0 leaves the refinement network out."""
    generator = made(weight=0.0)
    image, donor = crops()
    residual = TransferStep(generator)(image, donor, *DonorEncoder(generator)(donor))[2]
    assert residual.abs().max() == 0


def test_ports_are_named_by_branch() -> None:
    """Names, not places, bind them."""
    names = port_names(made())
    assert names[0] == "flow_0"
    assert names[-1] == "mask_4"
    assert len(set(names)) == 10


def test_a_checkpoint_without_its_refinement_weight_is_refused() -> None:
    """It cannot be guessed; and weights of another width are told in one line."""
    generator = made()
    arguments = {"size": 32, "width": 4, "downsamples": 3, "blocks": 2}
    with pytest.raises(CheckpointError, match="refinement_weight"):
        generator_of(arguments, generator.state_dict(), {})
    with pytest.raises(CheckpointError, match="geogan: generator"):
        generator_of({**arguments, "width": 6}, generator.state_dict(), {"refinement_weight": 0.1})
    again = generator_of(arguments, generator.state_dict(), {"refinement_weight": 0.25})
    assert (again.refinement_weight, again.training) == (0.25, False)


def test_the_ablation_does_not_run_live() -> None:
    """It has neither flow nor mask."""
    generator = FlowGenerator(32, 4, 3, 2, only_residual=True)
    with pytest.raises(CheckpointError, match="only_residual"):
        TransferStep(generator)
