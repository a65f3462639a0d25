"""CelebAMask-HQ as published and as MaskGAN lays it out, on small folders of our own making."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from trainers.classes import CELEBAMASK
from trainers.errors import DataError, PictureError
from trainers.faces import U8
from trainers.layouts.celebamask import (
    INTER,
    MAPPING,
    OUTER,
    PARTS,
    merge_parts,
    open_celebamask,
    open_maskgan,
    read_labels,
    read_mapping,
    split_of,
)

SIDE = 8


def _write(path: Path, picture: U8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def _part(rows: slice) -> U8:
    part = np.zeros((SIDE, SIDE), np.uint8)
    part[rows] = 255
    return part


def _published(folder: Path, annotations: str = "CelebAMask-HQ-mask-anno", header: bool = True) -> Path:
    """Pictures 0, 1, 2 and 2001 of the four sides of the split's borders; 2 has no masks."""
    origins = {0: 162770, 1: 162771, 2: 5, 2001: 182638}
    lines = [f"{number} {origin} {origin + 1:06d}.jpg" for number, origin in origins.items()]
    folder.mkdir(parents=True, exist_ok=True)
    header_line = ["idx      orig_idx   orig_file"] if header else []
    (folder / MAPPING).write_text("\n".join([*header_line, *lines]) + "\n")
    for number in origins:
        _write(folder / "CelebA-HQ-img" / f"{number}.jpg", np.full((2 * SIDE, 2 * SIDE, 3), 50, np.uint8))
    for number in (0, 1, 2001):
        place = folder / annotations / str(number // 2000)
        _write(place / f"{number:05d}_skin.png", cv2.merge([_part(slice(0, 8))] * 3))
        _write(place / f"{number:05d}_hair.png", _part(slice(0, 3)))
        _write(place / f"{number:05d}_l_eye.png", _part(slice(2, 4)))
    return folder


def _rows(labels: torch.Tensor) -> list[str]:
    assert labels.dtype == torch.int64
    return [CELEBAMASK[int(value)] for value in labels[:, 0]]


@pytest.mark.parametrize(
    "annotations", ["CelebAMask-HQ-mask-anno", "CelebAMask-HQ-mask", "CelebAMask-HQ-label"]
)
@pytest.mark.parametrize("header", [True, False])
def test_parts_are_merged_and_split_by_the_index_in_celeba(
    annotations: str, header: bool, tmp_path: Path
) -> None:
    """Whatever the parts' folder is called, with and without the mapping's header; hair over eye over skin."""
    splits = open_celebamask(_published(tmp_path, annotations, header), SIDE)
    assert {side: faces.names for side, faces in splits.items()} == {
        "train": ("0",),
        "validation": ("1",),
        "test": ("2001",),
    }
    assert _rows(splits["train"].classes(0)) == ["hair"] * 3 + ["l_eye"] + ["skin"] * 4
    assert _rows(splits["train"].classes(0, flip=True))[3] == "r_eye"
    assert splits["train"].image(0).shape == (3, SIDE, SIDE)
    assert split_of(182637) == "validation"


def test_the_archives_own_folder_and_merged_maps_are_found(tmp_path: Path) -> None:
    """Unpacked one level deeper, and with label maps in place of parts."""
    inner = _published(tmp_path / "CelebAMask-HQ")
    assert len(open_celebamask(tmp_path, SIDE)["train"]) == 1
    for place in (inner / "CelebAMask-HQ-mask-anno").rglob("*.png"):
        place.unlink()
    _write(inner / "CelebAMask-HQ-mask-anno" / "0.png", np.full((SIDE, SIDE), 17, np.uint8))
    assert _rows(open_celebamask(tmp_path, SIDE)["train"].classes(0)) == ["neck"] * SIDE


def test_every_size_keeps_the_classes(tmp_path: Path) -> None:
    """At 3, 5 and 16 pixels a map holds what was painted and nothing between, as bilinear resizing would make it."""
    folder = _published(tmp_path)
    for size in (3, 5, 16):
        seen = open_celebamask(folder, size)["train"].classes(0)
        assert set(seen.unique().tolist()) <= {1, 4, 13}


def test_later_parts_lie_over_earlier_ones() -> None:
    """In the order of the table, whatever the order of the files."""
    whole = {name: _part(slice(0, 8)) for name in reversed(PARTS)}
    assert (merge_parts(whole) == CELEBAMASK.index("cloth")).all()
    with pytest.raises(DataError, match="got 'beard'"):
        merge_parts({"beard": _part(slice(0, 1))})
    with pytest.raises(DataError, match="one size"):
        merge_parts({"skin": _part(slice(0, 1)), "nose": np.zeros((2, 2), np.uint8)})
    with pytest.raises(DataError, match="got none"):
        merge_parts({})


def _maskgan(folder: Path, interpolated: bool = True) -> Path:
    for side, count in (("train", 3), ("test", 1)):
        for number in range(count):
            _write(folder / f"{side}_img" / f"{number}.jpg", np.full((SIDE, SIDE, 3), 90, np.uint8))
            _write(folder / f"{side}_label" / f"{number}.png", np.full((SIDE, SIDE), 1 + number, np.uint8))
    for number in range(3 if interpolated else 0):
        _write(folder / INTER / f"{number}.png", np.full((SIDE, SIDE), 10 + number, np.uint8))
        _write(folder / OUTER / f"{number}.png", np.full((SIDE, SIDE), 13 + number, np.uint8))
    return folder


def test_maskgans_folders_come_with_their_interpolated_masks(tmp_path: Path) -> None:
    """Each picture with its own three label maps, exact to the last class."""
    splits = open_maskgan(_maskgan(tmp_path), SIDE)
    train = splits["train"]
    assert (train.inter, train.outer) != (None, None)
    assert train.inter is not None
    assert train.outer is not None
    found = [
        (int(train.faces.classes(k)[0, 0]), int(train.inter(k)[0, 0]), int(train.outer(k)[0, 0]))
        for k in range(3)
    ]
    assert found == [(1, 10, 13), (2, 11, 14), (3, 12, 15)]
    assert len(splits["test"].faces) == 1
    assert open_maskgan(_maskgan(tmp_path / "plain", False), SIDE)["train"].inter is None


def test_incomplete_folders_are_refused_by_name(tmp_path: Path) -> None:
    """Nothing is paired by luck: a missing map, picture or list is named."""
    folder = _maskgan(tmp_path / "a")
    (folder / INTER / "1.png").unlink()
    with pytest.raises(DataError, match=r"train_label_inter_1: lacks 1.png"):
        open_maskgan(folder, SIDE)
    (folder / "train_img" / "2.jpg").unlink()
    with pytest.raises(DataError, match="2 is in only one of train_img and train_label"):
        open_maskgan(folder, SIDE)
    with pytest.raises(DataError, match=r"holds no <number>.png"):
        open_maskgan(tmp_path / "nothing", SIDE)
    with pytest.raises(DataError, match=r"holds none of CelebA-HQ-to-CelebA-mapping\.txt"):
        open_celebamask(tmp_path / "nothing", SIDE)
    published = _published(tmp_path / "b")
    for one in (published / "CelebAMask-HQ-mask-anno").rglob("*.png"):
        one.unlink()
    with pytest.raises(DataError, match="get the masks of CelebAMask-HQ"):
        open_celebamask(published, SIDE)


@pytest.mark.parametrize(
    "text",
    ["", "idx orig_idx orig_file\n", "number origin\n0 5\n", "0 5 000006.jpg\n1 x 000007.jpg\n", "0 5\n"],
)
def test_a_damaged_mapping_is_refused(text: str, tmp_path: Path) -> None:
    """A cut list would put pictures on the wrong side."""
    (tmp_path / "map.txt").write_text(text)
    with pytest.raises(DataError, match=r"map\.txt"):
        read_mapping(tmp_path / "map.txt")


def test_what_is_no_label_map_is_refused(tmp_path: Path) -> None:
    """A coloured mask, a 16-bit one, a damaged file, one that is not square."""
    _write(tmp_path / "coloured.png", np.full((SIDE, SIDE, 3), 204, np.uint8))
    _write(tmp_path / "deep.png", np.zeros((SIDE, SIDE), np.uint16))
    _write(tmp_path / "wide.png", np.zeros((SIDE, 2 * SIDE), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "wide.png").read_bytes()[:40])
    for name, said in (("coloured", "class 204"), ("deep", "8-bit"), ("wide", "square"), ("cut", "damaged")):
        with pytest.raises(PictureError, match=said):
            read_labels(tmp_path / f"{name}.png")


def test_a_label_map_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    """A small file can state a picture that fills the memory."""
    _write(tmp_path / "huge.png", np.zeros((SIDE, SIDE), np.uint8))
    data = bytearray((tmp_path / "huge.png").read_bytes())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(PictureError, match="30000x30000, expected at most 16777216 pixels"):
        read_labels(tmp_path / "huge.png")
