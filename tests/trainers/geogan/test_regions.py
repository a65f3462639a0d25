"""Landmarks by region."""

from __future__ import annotations

import torch

from trainers.geogan import regions


def face() -> torch.Tensor:
    """(1, 68, 2): eyes above, a mouth below, all else at random."""
    points = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    points[0, 36], points[0, 45] = torch.tensor([-0.4, -0.3]), torch.tensor([0.4, -0.3])
    points[0, 48], points[0, 54] = torch.tensor([-0.2, 0.4]), torch.tensor([0.2, 0.4])
    return points


def test_a_similarity_is_found_and_undone() -> None:
    """Turned, scaled and shifted landmarks come back onto where they were."""
    points = torch.view_as_complex(face())
    moved = torch.view_as_real(
        points * torch.polar(torch.tensor(1.3), torch.tensor(0.4)) + torch.tensor(0.1 - 0.2j)
    )
    assert torch.allclose(regions.fitted(moved, face()), face(), atol=1e-5)


def test_wanted_lips_are_the_donors_in_the_targets_place() -> None:
    """Eyes stay the target's; lips keep the donor's shape, not its position and size."""
    donor = face()
    donor[:, 48:] += torch.tensor([0.0, 0.2])
    target = 0.5 * face() + 0.1
    wanted = regions.wanted_landmarks(target, donor)
    assert torch.allclose(wanted[:, 36:48], target[:, 36:48])
    assert torch.allclose(wanted[:, 48:], 0.5 * donor[:, 48:] + 0.1, atol=1e-5)


def test_the_mouth_is_what_is_left_out() -> None:
    """Brows, nose and eyes keep their place, lips and jaw do not."""
    keep = regions.outside_mouth(torch.device("cpu"))
    assert keep[17:48].min() == 1
    assert keep[:17].max() == keep[48:].max() == 0


def test_the_removal_mask_is_on_the_mouth_and_off_the_eyes() -> None:
    """An upright face: full in the middle of the mouth, nothing at the eyes, the same mirrored."""
    mask = regions.removal_mask(face(), 65)[0, 0]
    assert mask[32 + 13, 32] == 1
    assert mask[32 - 10].max() == 0
    assert torch.allclose(mask, mask.flip(1), atol=1e-5)


def test_the_lower_face_begins_below_the_eyes() -> None:
    """0 at the eyes, 1 at the mouth."""
    lower = regions.lower_face(face(), 65)[0, 0]
    assert lower[32 - 10].max() == 0
    assert lower[32 + 13].min() == 1
