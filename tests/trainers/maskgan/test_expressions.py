"""What makes expressions of a layout weigh more in MaskGAN's training: parts that cost more, shut eyes that come more
often."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from trainers.classes import CELEBAMASK
from trainers.faces import Faces
from trainers.maskgan import step
from trainers.maskgan.labels import one_hot
from trainers.maskgan.pairs import Pairs, recoloured
from trainers.maskgan.recipe import Losses
from trainers.maskgan.step import Pair, reconstruction
from trainers.system import Draw, Turn

SIDE = 4
SKIN, EYE, HAIR = (CELEBAMASK.index(name) for name in ("skin", "l_eye", "hair"))
MOVING = ("l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")


def _layout(**places: tuple[int, int]) -> torch.Tensor:
    """Planes (1, 19, SIDE, SIDE) of skin, with one pixel of each named class."""
    labels = torch.full((1, SIDE, SIDE), SKIN)
    for name, (y, x) in places.items():
        labels[0, y, x] = CELEBAMASK.index(name)
    return one_hot(labels)


def _off_by_one_at(y: int, x: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture, and one that differs from it by 1 in one pixel."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    fake = image.clone()
    fake[..., y, x] = 1.0
    return image, fake


@pytest.mark.parametrize("name", MOVING)
def test_a_pixel_of_what_moves_costs_parts_times_more(name: str) -> None:
    """1 + parts times the share of one pixel; beside the part, and without `parts`, the share alone."""
    image, fake = _off_by_one_at(1, 2)
    share = 1 / SIDE**2
    there, beside = Pair(_layout(**{name: (1, 2)}), image), Pair(_layout(**{name: (2, 1)}), image)
    assert float(reconstruction(there, fake, 6.0)) == pytest.approx(7 * share)
    assert float(reconstruction(beside, fake, 6.0)) == pytest.approx(share)
    assert float(reconstruction(there, fake, 0.0)) == pytest.approx(share)


@pytest.mark.parametrize("name", sorted(set(CELEBAMASK) - set(MOVING)))
def test_what_stays_costs_as_officially(name: str) -> None:
    """Hair, nose, ears and the like move with no expression: they count once."""
    image, fake = _off_by_one_at(1, 2)
    found = reconstruction(Pair(_layout(**{name: (1, 2)}), image), fake, 6.0)
    assert float(found) == pytest.approx(1 / SIDE**2)


def test_an_eye_that_is_in_the_style_alone_costs_more_too() -> None:
    """A lid that shuts is no eye in the layout: where the style's layout has one the pixel counts as a part, once."""
    image, fake = _off_by_one_at(1, 2)
    styled, shut = _layout(l_eye=(1, 2)), _layout()
    of_style = Pair(shut, image, style_planes=styled, style_image=image)
    of_both = Pair(styled, image, style_planes=styled, style_image=image)
    for pair in (of_style, of_both):
        assert float(reconstruction(pair, fake, 6.0)) == pytest.approx(7 / SIDE**2)


def test_the_step_takes_the_recipes_parts() -> None:
    """What the generator is told to lower is `reconstruction` times the loss with `parts`, the picture G's own."""
    from tests.trainers.maskgan.test_training import networks, pair

    made, optimisers = networks()
    given = pair(edited=False)
    fake = step.reconstruct(made.generator, given).detach()
    weights = Losses(reconstruction=5.0, parts=6.0)
    told = step.mapping_step(made, given, weights, Turn("mapping", optimisers), None)
    expected = 5.0 * reconstruction(given, fake, 6.0)
    assert float(told["generator/reconstruction"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(expected) > 5.0 * float(reconstruction(given, fake, 0.0))


def test_a_parts_mean_colour_costs_the_same_however_small_it_is() -> None:
    """One pixel of an eye and all of the skin, each off by 1 in one of three colours: a third each, mean over both."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    planes = _layout(l_eye=(1, 2))
    eye = image.clone()
    eye[:, 0, 1, 2] = 1.0
    shown = int((planes.sum((2, 3)) > 0).sum())
    assert float(step.colours(Pair(planes, image), eye)) == pytest.approx(1 / 3 / shown)
    assert float(step.colours(Pair(planes, image), image + 1)) == pytest.approx(1.0)


def test_noise_that_keeps_the_mean_colour_costs_nothing_of_it() -> None:
    """Light and dark pixels of one part cancel out."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    fake = image.clone()
    fake[..., 2, 1], fake[..., 2, 2] = 1.0, -1.0
    assert float(step.colours(Pair(_layout(), image), fake)) == pytest.approx(0.0, abs=1e-7)


def test_hair_is_dyed_once_more_than_the_picture_and_none_leaves_its_range() -> None:
    """Factors are given by their logarithm, shifts as they are, first for all pixels and then for the hair's."""
    image = torch.full((3, SIDE, SIDE), 0.5)
    labels = torch.full((SIDE, SIDE), SKIN)
    labels[0, 0] = HAIR
    colours = torch.zeros(2, 2, 3)
    colours[0, 0], colours[0, 1, 0] = math.log(0.5), 0.1
    colours[1, 1, 2] = -2.0
    found = recoloured(image, labels, colours)
    assert found[:, 1, 1].tolist() == pytest.approx([0.35, 0.25, 0.25])
    assert found[:, 0, 0].tolist() == pytest.approx([0.35, 0.25, -1.0])


def _faces(eyes: Sequence[int], bases: Sequence[int], persons: Sequence[str]) -> Faces:
    """Pictures whose grey is their index, each with so many pixels of an eye in its layout, all hair below."""

    def layout(index: int) -> np.ndarray:
        labels = np.full((SIDE, SIDE), SKIN, np.uint8)
        labels[0, : eyes[index]] = EYE
        labels[-1, : SIDE - eyes[index]] = HAIR  # the more hair the less of an eye: only eyes may decide
        return labels

    return Faces(
        [str(index) for index in range(len(eyes))],
        lambda index: np.full((SIDE, SIDE, 3), 10 * index, np.uint8),
        size=SIDE,
        parsing=layout,
        persons=persons,
        bases=bases,
    )


def _drawn(pairs: Pairs, index: int, count: int) -> list[int]:
    """Whose pictures come when one is asked for so many times."""
    samples = [pairs[Draw(index, seed)] for seed in range(count)]
    return [round(float((sample["image"].mean() + 1) * 127.5 / 10)) for sample in samples]


@pytest.fixture
def two_people() -> Faces:
    """One with three pictures, the second of them with shut eyes; one with a single picture."""
    return _faces(eyes=(2, 0, 3, 4), bases=(-1, 0, 0, -1), persons=("a", "a", "a", "b"))


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_shut_eyes_are_drawn_in_the_asked_share(two_people: Faces, share: float) -> None:
    """Of every picture of a family the one with the least eyes takes the place so often, and else nothing changes."""
    pairs = Pairs(two_people, closed=share)
    for asked in (0, 2):
        drawn = _drawn(pairs, asked, 400)
        assert set(drawn) == {1, asked}
        assert drawn.count(1) / 400 == pytest.approx(share, abs=0.07)  # more than three standard deviations
    assert set(_drawn(pairs, 1, 20)) == {1}


def test_without_the_share_every_picture_is_its_own(two_people: Faces) -> None:
    """Officially none is replaced; at 1 all are, with the layout and the style that belong to it."""
    plain, all_shut = Pairs(two_people), Pairs(two_people, closed=1.0)
    for index in range(3):
        assert set(_drawn(plain, index, 20)) == {index}
        sample = all_shut[Draw(index, 3)]
        assert not (sample["labels"] == EYE).any()
        assert torch.equal(sample["image"], sample["style_image"])
        assert torch.equal(sample["labels"], sample["style_labels"])


def test_a_shut_eye_takes_its_style_from_an_open_one(two_people: Faces) -> None:
    """Together with `expressions` the layout is the shut one and the style another picture of that family."""
    pairs = Pairs(two_people, closed=1.0, expressions=1.0)
    for seed in range(20):
        sample = pairs[Draw(0, seed)]
        assert not (sample["labels"] == EYE).any()
        assert (sample["style_labels"] == EYE).any()
        assert int((sample["style_labels"] == EYE).sum()) in (2, 3)


def test_a_picture_without_a_family_stays(two_people: Faces) -> None:
    """Nobody else's shut eyes come in its place, however often they are asked for."""
    assert set(_drawn(Pairs(two_people, closed=1.0), 3, 50)) == {3}
