"""Pictures and landmarks move together."""

from __future__ import annotations

import torch

from trainers.geogan.augment import augmented
from trainers.geogan.recipe import Augmentation
from trainers.geogan.regions import mirrored

SIZE = 33


def dots(seed: int = 0) -> dict[str, torch.Tensor]:
    """Pairs whose landmark 30 is a bright dot on black."""
    places = torch.rand(6, 68, 2, generator=torch.Generator().manual_seed(seed)) - 0.5
    line = torch.linspace(-1, 1, SIZE)
    y, x = torch.meshgrid(line, line, indexing="ij")
    far = (x - places[:, 30, 0, None, None]) ** 2 + (y - places[:, 30, 1, None, None]) ** 2
    picture = (2 * torch.exp(-far / 0.01) - 1)[:, None].expand(-1, 3, -1, -1)
    return {
        name: value
        for role in ("target", "donor")
        for name, value in ((role, picture), (f"{role}_landmarks", places))
    }


def middle(picture: torch.Tensor) -> torch.Tensor:
    """(B, 2): the centre of brightness."""
    weight = (picture[:, 0] + 1).clamp(min=0) ** 2
    line = torch.linspace(-1, 1, SIZE)
    total = weight.sum((1, 2))
    return torch.stack(((weight.sum(1) * line).sum(1) / total, (weight.sum(2) * line).sum(1) / total), dim=1)


def test_landmarks_follow_their_pixels() -> None:
    """Turned, scaled, moved: the dot stays at its landmark, in target and donor by different amounts."""
    how = Augmentation(turn=15, zoom=0.15, shift=0.08, target=0.5)
    pair = augmented(dots(), how, torch.Generator().manual_seed(1))
    for role in ("target", "donor"):
        assert torch.allclose(middle(pair[role]), pair[f"{role}_landmarks"][:, 30], atol=0.03)
    assert not torch.allclose(pair["target_landmarks"], pair["donor_landmarks"], atol=0.02)


def test_a_mirrored_face_has_its_right_eye_where_the_left_one_was() -> None:
    """Flipping twice is nothing; landmark 36 becomes the mirrored 45; target and donor flip together."""
    pair = augmented(dots(), Augmentation(flip=1.0), torch.Generator().manual_seed(1))
    before = dots()["target_landmarks"]
    assert torch.allclose(pair["target_landmarks"][:, 36, 0], -before[:, 45, 0])
    assert torch.equal(mirrored(mirrored(before)), before)
    assert torch.allclose(middle(pair["donor"]), pair["donor_landmarks"][:, 30], atol=0.03)


def test_no_augmentation_changes_nothing() -> None:
    """The official training has none."""
    pair = augmented(dots(), Augmentation(), torch.Generator())
    assert all(torch.equal(pair[name], value) for name, value in dots().items())


def test_only_the_donors_colours_change() -> None:
    """Target and wanted result keep theirs, within -1..1."""
    pair = augmented(dots(), Augmentation(colour=0.5), torch.Generator().manual_seed(1))
    assert torch.equal(pair["target"], dots()["target"])
    assert not torch.allclose(pair["donor"], dots()["donor"], atol=0.01)
    assert pair["donor"].abs().max() <= 1
