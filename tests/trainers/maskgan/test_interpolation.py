"""Masks between two and beyond one: the formula, whole numbers, and the official folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.trainers.maskgan.folder import SIDE, write_masks, write_official
from trainers.errors import DataError, StorageError
from trainers.layouts.celebamask import open_maskgan
from trainers.maskgan.interpolation import (
    between,
    decoded,
    interpolate,
    reconstruct,
    reference_of,
    write_interpolated,
)
from trainers.maskgan.labels import one_hot
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.masks import open_masks


@pytest.fixture(scope="module")
def vae() -> MaskVAE:
    """Its weights are by chance, and large enough that different vectors are different masks."""
    torch.manual_seed(3)
    made = MaskVAE(19, 2, 8, SIDE).eval()
    with torch.no_grad():
        for name in ("fc1", "d1"):
            made.get_submodule(name).get_parameter("weight").mul_(30.0)
    return made


def _labels(seed: int) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randint(0, 19, (2, SIDE, SIDE), generator=numbers, dtype=torch.uint8)


def test_inter_goes_towards_the_other_and_outer_away_from_it() -> None:
    """z_t plus and minus (z_ref - z_t) / strength; at strength 1 inter is the other itself."""
    target, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.5, -3.0]])
    assert torch.allclose(between(target, other, sign="inter", strength=2.5), torch.tensor([[2.0, 0.0]]))
    assert torch.allclose(between(target, other, sign="outer", strength=2.5), torch.tensor([[0.0, 4.0]]))
    assert torch.equal(between(target, other, sign="inter", strength=1.0), other)
    for sign, strength in (("inner", 2.5), ("inter", 0.5), ("outer", float("nan"))):
        with pytest.raises(ValueError, match="expected inter or outer"):
            between(target, other, sign=sign, strength=strength)  # type: ignore[arg-type]


def test_a_mask_is_the_likeliest_class_of_the_vector_between(vae: MaskVAE) -> None:
    """By the network's own halves, in whole numbers; a mask with itself as reference is its reconstruction."""
    target, other = _labels(1), _labels(2)
    means = [vae.encode(one_hot(labels))[0] for labels in (target, other)]
    for sign in ("inter", "outer"):
        found = interpolate(vae, target, other, sign=sign)
        assert found.dtype == torch.uint8
        assert torch.equal(found, vae.decode(between(*means, sign=sign, strength=2.5)).argmax(1).byte())
        assert torch.equal(interpolate(vae, target, target, sign=sign), reconstruct(vae, target))
    assert not torch.equal(
        interpolate(vae, target, other, sign="inter"), interpolate(vae, target, other, sign="outer")
    )
    assert torch.equal(decoded(vae, means[0]), reconstruct(vae, target))


def test_floats_and_unlike_shapes_are_no_labels(vae: MaskVAE) -> None:
    """A scaled label map would interpolate other classes than it shows."""
    with pytest.raises(TypeError, match="whole numbers"):
        interpolate(vae, _labels(1).float() / 255, _labels(2), sign="inter")
    with pytest.raises(ValueError, match="expected two alike"):
        interpolate(vae, _labels(1), _labels(2)[:1], sign="inter")


def test_the_reference_is_always_somebody_else(tmp_path: Path) -> None:
    """Another person where there are several, another picture where there is one person."""
    faces = open_masks(write_masks(tmp_path), "prepared", SIDE).train
    drawn = {reference_of(faces, 0, np.random.default_rng(seed)) for seed in range(40)}
    assert {int(faces.person[row]) for row in drawn} == {1, 2}
    alone = open_masks(write_official(tmp_path / "official"), "maskgan", SIDE).train
    assert {reference_of(alone, 1, np.random.default_rng(seed)) for seed in range(40)} == {0, 2, 3}


def test_the_official_folders_are_written_and_read_again(vae: MaskVAE, tmp_path: Path) -> None:
    """Each picture's two masks, the same in another run, and files that are there stay."""
    folder = write_official(tmp_path / "a", interpolated=False)
    faces = open_maskgan(folder, SIDE)["train"].faces
    seen: list[tuple[int, int]] = []
    write_interpolated(vae, faces, folder, seed=5, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    train = open_maskgan(folder, SIDE)["train"]
    assert train.inter is not None
    assert train.outer is not None
    first = [train.inter(k).copy() for k in range(4)]
    assert not np.array_equal(first[0], train.outer(0))
    kept, lost = folder / "train_label_inter_1" / "0.png", folder / "train_label_inter_2" / "2.png"
    cv2.imwrite(str(kept), np.full((SIDE, SIDE), 7, np.uint8))
    before = lost.read_bytes()
    lost.unlink()
    write_interpolated(vae, faces, folder, seed=5)
    assert (train.inter(0) == 7).all()
    assert lost.read_bytes() == before
    assert not list(folder.rglob("*.part"))


def test_what_cannot_be_written_is_said(vae: MaskVAE, tmp_path: Path) -> None:
    """One picture has no other; a folder in the place of a file is no file."""
    folder = write_official(tmp_path / "a", interpolated=False)
    faces = open_maskgan(folder, SIDE)["train"].faces
    (folder / "train_label_inter_1" / "0.png").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"0\.png could not be written"):
        write_interpolated(vae, faces, folder)
    single = write_official(tmp_path / "b")
    for path in single.rglob("[1-3].*"):
        path.unlink()
    with pytest.raises(DataError, match="got 1 pictures"):
        write_interpolated(vae, open_maskgan(single, SIDE)["train"].faces, single)
