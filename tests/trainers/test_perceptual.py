"""Distances as a network sees them: whose weights are read, how they are summed, what stands in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.errors import CheckpointError, RecipeError
from trainers.perceptual import (
    TAP_WEIGHTS,
    VGG19,
    VGG19_LAYERS,
    GradientDistance,
    VGGDistance,
    perceptual_distance,
    vgg19_of,
)

NARROW = (2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5)


def narrow() -> VGG19:
    torch.manual_seed(1)
    return VGG19(NARROW)


def picture(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_vgg19_has_torchvisions_places_and_five_maps() -> None:
    """Thirteen convolutions up to relu5_1, each map half the one before."""
    network = narrow()
    assert [name for name in network.state_dict() if name.endswith("weight")] == [
        f"features.{place}.weight" for place in VGG19_LAYERS
    ]
    maps = network(picture(0))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (2, 32, 32),
        (3, 16, 16),
        (4, 8, 8),
        (5, 4, 4),
        (5, 2, 2),
    ]
    assert all(bool((one >= 0).all()) for one in maps)


def test_the_distance_weighs_the_deepest_map_most() -> None:
    """1/32 to 1 of the mean differences, and its gradient reaches the first picture alone, never the network."""
    network = narrow()
    distance = VGGDistance(network)
    fake, real = picture(1).requires_grad_(), picture(2).requires_grad_()
    found = distance(fake, real)
    apart = [(a - b).abs().mean() for a, b in zip(network(fake), network(real))]
    assert torch.allclose(found, sum(weight * one for weight, one in zip(TAP_WEIGHTS, apart)))
    found.backward()
    assert fake.grad is not None
    assert real.grad is None
    assert all(value.grad is None for value in network.parameters())


def test_a_file_with_more_is_read_and_one_with_less_is_refused() -> None:
    """torchvision's file has deeper layers and a classifier, left alone; what is looked at has to be there."""
    stored: dict[str, Any] = dict(narrow().state_dict())
    stored["classifier.0.weight"] = torch.zeros(3, 3)
    found = vgg19_of(stored, VGG19(NARROW), "file")
    assert torch.equal(found.state_dict()["features.28.bias"], stored["features.28.bias"])
    del stored["features.14.weight"]
    with pytest.raises(CheckpointError, match=r"^file: .*features\.14\.weight is missing"):
        vgg19_of(stored, VGG19(NARROW), "file")


@pytest.mark.parametrize("file", ["", "nowhere/vgg19.pth"])
def test_weights_that_are_not_there_are_refused_by_name(file: str) -> None:
    """Never fetched, never random; the message names the option and what can be said in its place."""
    with pytest.raises(RecipeError, match=r"VGG19's weights .* losses\.vgg19.*\"none\" or \"gradient\""):
        perceptual_distance("vgg19", file, "losses.vgg19")


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    """By what is missing in it."""
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: .*features\.0\.weight is missing"):
        perceptual_distance("vgg19", str(tmp_path / "other.pth"), "losses.vgg19")


def test_the_stand_in_sees_edges_and_colours_at_every_size() -> None:
    """Nothing for the same picture, more for an edge out of place than for a little colour; none means none."""
    assert perceptual_distance("none", "", "losses.vgg19") is None
    distance = perceptual_distance("gradient", "", "losses.vgg19")
    assert isinstance(distance, GradientDistance)
    real = torch.zeros(1, 3, 16, 16)
    real[..., 8:] = 1.0
    assert float(distance(real, real)) == 0
    assert float(distance(real + 0.01, real)) == pytest.approx(0.01)
    assert float(distance(real.roll(1, -1), real)) > 0.1
