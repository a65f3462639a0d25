"""A body model out of the user's own file. Such files are licensed by their makers; none comes with this program."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.body.hands import Hands
from engine.body.model import BodyModel
from engine.body.pickles import MOST_BYTES, MOST_NUMBERS, Array, Refused, array, read_fields
from engine.errors import ModelError
from engine.types import F32

SHAPES: Final = 10
"""Shape coefficients in use; files with more (300) keep their first ones."""
_NEEDED: Final = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_HANDS: Final = ("hands_meanl", "hands_meanr", "hands_componentsl", "hands_componentsr")
_DAMAGE: Final = (
    ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError, OSError, MemoryError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
_MOST_JOINTS: Final = 256
_MOST_VERTICES: Final = 1 << 17
_WHERE: Final = (
    "SMPL (basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl, often renamed smpl_model.pkl) and SMPL-H "
    "(smpl_model_with_hand_v2.pkl, or model.npz) are licensed by their makers for research that earns no money and are "
    "never shipped: get them from smpl.is.tue.mpg.de and mano.is.tue.mpg.de"
)


def read_body(path: Path) -> BodyModel:
    """SMPL or SMPL-H from a pickle (read without unpickling) or from an .npz of the same fields.

    Needed are v_template (V, 3), shapedirs (V, 3, S), posedirs (V, 3, 9 (J - 1)), J_regressor (J, V), weights (V, J),
    kintree_table (2, J) and f (F, 3); cocoplus_regressor (19, V) and the four fields of hands where they are there.
    Raises ModelError, with the field's name, for a file that is missing, damaged or another one.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no body model; {_WHERE}")
    reader = _npz if zipfile.is_zipfile(path) else _pickle
    fields = reader(path)
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        found = ", ".join(sorted(fields)[:20]) or "nothing"
        raise ModelError(
            f"{path}: has no {', '.join(missing)}, only {found}; expected a body model: {_WHERE}"
        )
    try:
        return _model({name: take() for name, take in fields.items()})
    except Refused as refused:
        raise ModelError(f"{path}: holds {refused}; nothing of it was run") from refused
    except _DAMAGE as error:
        raise ModelError(f"{path}: is no whole body model ({error}); get the file again") from error


Fields = Mapping[str, Callable[[], Array]]
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
"""A bit of an entry's flags."""
_WANTED: Final = (*_NEEDED, *_HANDS, "cocoplus_regressor")


def _pickle(path: Path) -> Fields:
    found = read_fields(path)

    def taking(value: Any) -> Callable[[], Array]:
        return lambda: array(value)

    return {name: taking(found[name]) for name in _WANTED if name in found}


def _npz(path: Path) -> Fields:
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path}: has more than {MOST_BYTES >> 20} MiB, expected a body model")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise ModelError(f"{path}: is no whole body model ({error}); get the file again") from error
    if any(one.compress_type not in _PACKED or one.flag_bits & _ENCRYPTED for one in members):
        raise ModelError(f"{path}: is packed in another way than NumPy packs; save it again by numpy.savez")
    sizes = {
        one.filename.removesuffix(".npy"): one.file_size for one in members if one.filename.endswith(".npy")
    }

    def taking(name: str) -> Callable[[], Array]:
        def take() -> Array:
            if sizes[name] > 8 * MOST_NUMBERS:
                raise Refused(f"more than {MOST_NUMBERS} numbers in {name}")
            with np.load(path, allow_pickle=False) as archive:
                return np.asarray(archive[f"{name}.npy"])

        return take

    return {name: taking(name) for name in _WANTED if name in sizes}


def _model(fields: Mapping[str, Array]) -> BodyModel:
    template = _real(fields, "v_template")
    parents = _parents(_whole(fields, "kintree_table"))
    count, joints = len(template), len(parents)
    if not 0 < count <= _MOST_VERTICES or not 1 < joints <= _MOST_JOINTS:
        raise ValueError(f"{count} vertices and {joints} joints")
    shapes = _fits("shapedirs", _real(fields, "shapedirs")[..., :SHAPES], (count, 3, None))
    bends = _fits("posedirs", _real(fields, "posedirs"), (count, 3, 9 * (joints - 1)))
    coco = fields.get("cocoplus_regressor")
    faces = _whole(fields, "f")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= count:
        raise ValueError(f"f of shape {faces.shape} does not name three of {count} vertices each")
    return BodyModel(
        template=_fits("v_template", template, (count, 3)),
        shapes=np.ascontiguousarray(shapes),
        pose_shapes=np.ascontiguousarray(bends.transpose(2, 0, 1).reshape(bends.shape[2], -1)),
        regressor=_fits("J_regressor", _real(fields, "J_regressor"), (joints, count)),
        weights=_fits("weights", _real(fields, "weights"), (count, joints)),
        parents=parents,
        faces=faces.astype(np.int32),
        joints19=None
        if coco is None
        else _fits("cocoplus_regressor", _real(fields, "cocoplus_regressor"), (None, count)),
        hands=_hands(fields),
    )


def _real(fields: Mapping[str, Array], name: str) -> F32:
    values = np.asarray(fields[name])
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{name} is of type {values.dtype}")
    with np.errstate(over="ignore"):  # what is beyond float32 is refused below
        made = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(made).all():
        raise ValueError(f"{name} has values that are not finite")
    return made


def _whole(fields: Mapping[str, Array], name: str) -> NDArray[np.int64]:
    values = np.asarray(fields[name])
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} is of type {values.dtype}, expected whole numbers")
    return values.astype(np.int64)


def _fits(name: str, values: F32, shape: tuple[int | None, ...]) -> F32:
    if values.ndim != len(shape) or any(want not in (None, got) for got, want in zip(values.shape, shape)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {values.shape}, expected ({expected})")
    return values


def _parents(rows: NDArray[np.int64]) -> tuple[int, ...]:
    """The root's parent is 2**32 - 1 or -1 in such files."""
    if rows.ndim != 2 or rows.shape[0] != 2:
        raise ValueError(f"kintree_table has shape {rows.shape}, expected (2, joints)")
    place = {int(joint): index for index, joint in enumerate(rows[1])}
    parents = (-1, *(place[int(parent)] for parent in rows[0, 1:]))
    if any(parent >= joint for joint, parent in enumerate(parents)):
        raise ValueError("kintree_table has a joint before its parent")
    return parents


def _hands(fields: Mapping[str, Array]) -> Hands | None:
    if any(name not in fields for name in _HANDS):
        return None
    left, right, of_left, of_right = (_real(fields, name) for name in _HANDS)
    return Hands(np.stack([left.reshape(-1), right.reshape(-1)]), np.stack([of_left, of_right]))
