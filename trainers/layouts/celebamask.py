"""CelebAMask-HQ as it is published, and the folders that MaskGAN makes of it.

Published:
CelebA-HQ-img/<i>.jpg                                  1024 x 1024
CelebAMask-HQ-mask-anno/<i // 2000>/<i:05>_<part>.png   512 x 512, one per part that is there
CelebA-HQ-to-CelebA-mapping.txt                        columns idx, orig_idx, orig_file; its header may be gone

In place of the parts there may be label maps, merged before: CelebAMask-HQ-mask/<i>.png. The published scripts disagree
on the names of these folders, so each has several here; what counts is what lies in them.

MaskGAN's, renumbered from 0 in each split:
train_img/<i>.jpg   train_label/<i>.png   train_label_inter_1/<i>.png   train_label_inter_2/<i>.png
test_img/<i>.jpg    test_label/<i>.png    test_labelref/<i>.png

Label maps are whole numbers 0..18 of trainers/classes.py's CELEBAMASK in the red channel or the only one of an 8-bit
PNG, and are resized by the nearest pixel alone. The official parser's trainer resizes them bilinearly, which makes
classes that are in neither pixel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainers.classes import CELEBAMASK
from trainers.errors import DataError, PictureError
from trainers.faces import CACHE_BYTES, U8, Faces, resize_classes
from trainers.layouts.pictures import PictureFiles

PARTS = CELEBAMASK[1:]
"""The parts that have a picture of their own, in the order in which they are laid over each other."""

IMAGES = ("CelebA-HQ-img", "CelebAMask-HQ-img")
ANNOTATIONS = ("CelebAMask-HQ-mask-anno", "CelebAMask-HQ-anno", "CelebAMask-HQ-mask", "CelebAMask-HQ-label")
"""Names that the folder of parts, or of merged label maps, goes by."""
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
INTER, OUTER = "train_label_inter_1", "train_label_inter_2"
"""Where MaskGAN's training finds M_inter and M_outer of each training mask."""

_PER_FOLDER = 2000
_MOST_PIXELS = 4096 * 4096
_PNG_HEAD = struct.Struct(">8s8xII")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_VALIDATION_FROM, _TEST_FROM = 162771, 182638
SPLITS = ("train", "validation", "test")


def merge_parts(parts: Mapping[str, U8]) -> U8:
    """One label map of the pictures of single parts, uint8 (H, W), non-zero where the part is: later ones of PARTS lie
    over earlier ones, so the order of `parts` does not matter. Raises DataError for unknown parts and other sizes."""
    unknown = [name for name in parts if name not in PARTS]
    if unknown or not parts:
        what = repr(unknown[0]) if unknown else "none"
        raise DataError(f"parts: got {what}, expected one or more of {', '.join(PARTS)}")
    shapes = {part.shape for part in parts.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise DataError(f"parts: got {sorted(shapes)}, expected pictures (H, W) of one size")
    labels: U8 = np.zeros(next(iter(shapes)), np.uint8)
    for number, name in enumerate(PARTS, 1):
        if name in parts:
            labels[parts[name] != 0] = number
    return labels


def open_celebamask(folder: Path | str, size: int, *, cache_bytes: int = CACHE_BYTES) -> dict[str, Faces]:
    """The published data set: `train`, `validation` and `test` by the CelebA index of each picture's origin.

    Pictures and label maps come at `size`. A picture without any part is left out. Raises DataError.
    """
    folder = Path(folder)
    mapping = read_mapping(_found(folder, (MAPPING,)))
    images, annotations = _found(folder, IMAGES), _found(folder, ANNOTATIONS)
    labels_of, numbers = _annotated(annotations)
    splits = {}
    for side in SPLITS:
        kept = [number for number, split in mapping.items() if split == side and number in numbers]
        splits[side] = Faces(
            [str(number) for number in kept],
            PictureFiles(tuple(images / f"{number}.jpg" for number in kept), size),
            size=size,
            parsing=_At(tuple(kept), labels_of, size),
            cache_bytes=cache_bytes,
        )
    if not len(splits["train"]):
        raise DataError(f"{folder}: no picture of the mapping has masks; are they of one data set?")
    return splits


@dataclass(frozen=True)
class MaskFolder:
    """One split of MaskGAN's own folders. inter, outer: index to the interpolated label map uint8 (S, S), None where
    the folder is not there. reference: likewise the test split's second mask."""

    faces: Faces
    inter: LabelFiles | None = None
    outer: LabelFiles | None = None
    reference: LabelFiles | None = None


def open_maskgan(folder: Path | str, size: int, *, cache_bytes: int = CACHE_BYTES) -> dict[str, MaskFolder]:
    """MaskGAN's folders: `train` and `test`; the parser's `Data_preprocessing` has the same names without the rest.

    Raises DataError where one is not there, or where label maps and pictures are not of the same numbers.
    """
    folder = Path(folder)
    splits = {}
    for side in ("train", "test"):
        labels = _numbered(folder / f"{side}_label", ".png")
        if not labels and side == "train":
            raise DataError(f"{folder / 'train_label'}: holds no <number>.png; make MaskGAN's folders first")
        pictures = _numbered(folder / f"{side}_img", ".jpg")
        if pictures.keys() != labels.keys():
            odd = sorted(pictures.keys() ^ labels.keys())[0]
            raise DataError(f"{folder}: {odd} is in only one of {side}_img and {side}_label; make both again")
        order = sorted(labels)
        faces = Faces(
            [str(number) for number in order],
            PictureFiles(tuple(pictures[number] for number in order), size),
            size=size,
            parsing=LabelFiles(tuple(labels[number] for number in order), size),
            cache_bytes=cache_bytes,
        )
        further = {"train": (INTER, OUTER), "test": ("test_labelref",)}[side]
        found = [_beside(folder / name, order, size) for name in further]
        splits[side] = MaskFolder(faces, *found) if side == "train" else MaskFolder(faces, reference=found[0])
    return splits


@dataclass(frozen=True)
class LabelFiles:
    """Index to the label map uint8 (size, size) of an 8-bit PNG.

    Raises PictureError for a file that is missing or damaged, or that holds other numbers than the classes'.
    """

    paths: tuple[Path, ...]
    size: int

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, index: int) -> U8:
        return resize_classes(read_labels(self.paths[index]), self.size)


def read_labels(path: Path) -> U8:
    """A label map, uint8 (H, W), square. Raises PictureError."""
    labels = _channel(path)
    if labels.shape[0] != labels.shape[1]:
        raise PictureError(f"{path}: is {labels.shape[1]}x{labels.shape[0]}, expected a square label map")
    if labels.max() >= len(CELEBAMASK):
        raise PictureError(
            f"{path}: holds the class {labels.max()}, expected 0 .. {len(CELEBAMASK) - 1}; is it a coloured or a "
            "resized mask?"
        )
    return labels


def read_mapping(path: Path) -> dict[int, str]:
    """Number of a picture to train, validation or test. Columns by name where the header is there, else in its order.
    Raises DataError."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); get it with CelebAMask-HQ") from error
    names = ["idx", "orig_idx", "orig_file"]
    if lines and not lines[0][0].isdigit():
        names = lines.pop(0)
    if not lines or not {"idx", "orig_idx"} <= set(names):
        raise DataError(f"{path}: is empty, or its header lacks idx or orig_idx; get it with CelebAMask-HQ")
    own, origin = names.index("idx"), names.index("orig_idx")
    found: dict[int, str] = {}
    for number, cells in enumerate(lines, 1):
        if len(cells) != len(names) or not (cells[own].isdigit() and cells[origin].isdigit()):
            raise DataError(f"{path}: row {number} has not the {len(names)} columns idx, orig_idx, orig_file")
        found[int(cells[own])] = split_of(int(cells[origin]))
    return found


def split_of(index: int) -> str:
    """Where a picture belongs, by the index that it has in CelebA."""
    if index < _VALIDATION_FROM:
        return "train"
    return "validation" if index < _TEST_FROM else "test"


@dataclass(frozen=True)
class _At:
    """Index to the label map of the picture of that place, at `size`."""

    numbers: tuple[int, ...]
    labels_of: Callable[[int], U8]
    size: int

    def __call__(self, index: int) -> U8:
        return resize_classes(self.labels_of(self.numbers[index]), self.size)


@dataclass(frozen=True)
class _Parts:
    """A picture's number to its label map, merged of the parts that are there."""

    files: Mapping[int, Mapping[str, Path]]

    def __call__(self, number: int) -> U8:
        try:
            return merge_parts({name: _channel(path) for name, path in self.files[number].items()})
        except PictureError:
            raise
        except DataError as error:
            raise PictureError(f"picture {number}: {error}") from error


@dataclass(frozen=True)
class _Merged:
    """A picture's number to its label map, merged before."""

    files: Mapping[int, Path]

    def __call__(self, number: int) -> U8:
        return read_labels(self.files[number])


def _annotated(folder: Path) -> tuple[Callable[[int], U8], set[int]]:
    """What reads the label map of a number, and the numbers that have one."""
    parts: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("*/*.png")):
        number, _, part = path.stem.partition("_")
        if number.isdigit() and part in PARTS and path.parent.name == str(int(number) // _PER_FOLDER):
            parts.setdefault(int(number), {})[part] = path
    if parts:
        return _Parts(parts), set(parts)
    merged = _numbered(folder, ".png")
    if not merged:
        raise DataError(
            f"{folder}: holds neither <number // 2000>/<number>_<part>.png nor <number>.png; get the masks of "
            "CelebAMask-HQ"
        )
    return _Merged(merged), set(merged)


def _numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files of a folder by the number that is their name, whatever its leading zeros."""
    found = folder.glob(f"*{ending}") if folder.is_dir() else ()
    return {int(path.stem): path for path in found if path.stem.isdigit()}


def _beside(folder: Path, order: Sequence[int], size: int) -> LabelFiles | None:
    """Label maps of the same numbers in a further folder; None where there is no such folder."""
    if not folder.is_dir():
        return None
    files = _numbered(folder, ".png")
    missing = [number for number in order if number not in files]
    if missing:
        raise DataError(
            f"{folder}: lacks {missing[0]}.png and {len(missing) - 1} more; write the folder again"
        )
    return LabelFiles(tuple(files[number] for number in order), size)


def _found(folder: Path, names: Sequence[str]) -> Path:
    """The first of these that is there, in the folder or in the one of the published archive."""
    for place in (folder, folder / "CelebAMask-HQ"):
        for name in names:
            if (place / name).exists():
                return place / name
    raise DataError(f"{folder}: holds none of {', '.join(names)}; expected CelebAMask-HQ as it is published")


def _channel(path: Path) -> U8:
    _check_size(path)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint8:
        raise PictureError(f"{path}: is missing, damaged or no 8-bit PNG; get the file again")
    return np.ascontiguousarray(stored if stored.ndim == 2 else stored[..., 2], np.uint8)


def _check_size(path: Path) -> None:
    """Before a pixel is decoded: a small file can state a picture that fills the memory. Raises PictureError."""
    try:
        with path.open("rb") as file:
            head = file.read(_PNG_HEAD.size)
        magic, width, height = _PNG_HEAD.unpack(head)
    except (OSError, struct.error):
        magic, width, height = b"", 0, 0
    if magic != _PNG_MAGIC:
        raise PictureError(f"{path}: is missing, damaged or no 8-bit PNG; get the file again")
    if width * height > _MOST_PIXELS:
        raise PictureError(f"{path}: is {width}x{height}, expected at most {_MOST_PIXELS} pixels")
