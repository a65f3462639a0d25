"""A user's body model: every way such files are written is read, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import tracemalloc
import types
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from engine.body import pickles, skeleton
from engine.body.files import read_body
from engine.body.model import BodyModel
from engine.errors import ModelError


@cache
def _small() -> BodyModel:
    """A model of few vertices and of any numbers: files are about fields, not about bodies."""
    numbers = np.random.default_rng(3)

    def some(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return numbers.standard_normal(shape, dtype=np.float32)

    count, joints = 40, skeleton.COUNT
    sparse = np.where(numbers.random((joints, count)) < 0.2, some(joints, count), 0).astype(np.float32)
    return BodyModel(
        some(count, 3),
        some(count, 3, 10),
        some(9 * (joints - 1), 3 * count),
        sparse,
        np.ascontiguousarray(sparse.T),
        skeleton.PARENTS,
        np.arange(count - count % 3, dtype=np.int32).reshape(-1, 3),
    )


def _fields(model: BodyModel) -> dict[str, Any]:
    parents = np.array(model.parents, np.int64)
    return {
        "v_template": model.template.astype(np.float64),
        "shapedirs": model.shapes.astype(np.float64),
        "posedirs": model.pose_shapes.reshape(-1, *model.template.shape).transpose(1, 2, 0),
        "J_regressor": model.regressor,
        "weights": model.weights,
        "kintree_table": np.stack([parents, np.arange(len(parents))]).astype(np.uint32),
        "f": model.faces.astype(np.uint32),
        "bs_type": "lrotmin",
    }


def _same(read: BodyModel, model: BodyModel) -> None:
    for name in ("template", "shapes", "pose_shapes", "regressor", "weights", "faces"):
        np.testing.assert_allclose(getattr(read, name), getattr(model, name), atol=1e-7)
    assert read.parents == model.parents


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Classes of chumpy's names, there only while a file is written."""
    made: dict[str, Any] = {}
    for module, names in (("chumpy.ch", ("Ch",)), ("chumpy.reordering", ("Select", "Reshape"))):
        stub = types.ModuleType(module)
        for name in names:
            made[name] = type(name, (), {"__module__": module})
            setattr(stub, name, made[name])
        monkeypatch.setitem(sys.modules, module, stub)
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return made


def _node(kind: Any, **state: Any) -> Any:
    made = kind()
    made.__dict__.update(state)
    return made


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_is_read(protocol: int, tmp_path: Path, chumpy: dict[str, Any]) -> None:
    """Sparse matrices and chumpy's arrays, selections and reshapes come out as the arrays that they stand for."""
    model = _small()
    fields = _fields(model)
    order = np.arange(fields["shapedirs"].size)[::-1]
    fields["J_regressor"] = scipy.sparse.csc_matrix(fields["J_regressor"])
    fields["weights"] = scipy.sparse.csr_matrix(fields["weights"])
    fields["v_template"] = _node(chumpy["Ch"], x=fields["v_template"], _dirty_vars=set(), _itr=None)
    fields["shapedirs"] = _node(
        chumpy["Select"],
        a=_node(chumpy["Ch"], x=fields["shapedirs"].reshape(-1)[::-1].copy()),
        idxs=order,
        preferred_shape=fields["shapedirs"].shape,
    )
    fields["posedirs"] = _node(
        chumpy["Reshape"], a=fields["posedirs"].reshape(-1), newshape=fields["posedirs"].shape
    )
    path = tmp_path / "smpl.pkl"
    path.write_bytes(pickle.dumps(fields, protocol=protocol))
    for name in [name for name in sys.modules if name.startswith("chumpy")]:
        sys.modules[name] = types.ModuleType(name)  # reading must not need them
    _same(read_body(path), model)


def _python2(fields: dict[str, Any]) -> bytes:
    """The opcodes that Python 2's cPickle writes for arrays in protocol 2: byte strings, old module names."""
    out = io.BytesIO()

    def text(value: str) -> None:
        out.write(b"U" + bytes([len(value)]) + value.encode())

    out.write(b"\x80\x02}(")
    for name, value in fields.items():
        text(name)
        if isinstance(value, str):
            text(value)
            continue
        array = np.ascontiguousarray(value)
        out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(")
        for size in array.shape:
            out.write(b"J" + struct.pack("<i", size))
        out.write(b"tcnumpy\ndtype\n")
        text(array.dtype.str[1:])
        out.write(b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        raw = array.tobytes()
        out.write(b"T" + struct.pack("<i", len(raw)) + raw + b"tb")
    return out.getvalue() + b"u."


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    """The makers' own files are of Python 2: bytes as text, NumPy's old names."""
    model = _small()
    path = tmp_path / "smpl.pkl"
    path.write_bytes(_python2(_fields(model)))
    _same(read_body(path), model)


def test_an_npz_with_300_shapes_keeps_the_first_ten(tmp_path: Path) -> None:
    """Newer files have more shapes than anything here uses; the root's parent may be -1."""
    model = _small()
    fields = _fields(model)
    fields["shapedirs"] = np.concatenate([fields["shapedirs"], np.ones((*model.template.shape, 290))], axis=2)
    fields["kintree_table"] = fields["kintree_table"].astype(np.int64)
    fields["kintree_table"][0, 0] = -1
    path = tmp_path / "model.npz"
    np.savez(path, **fields)
    _same(read_body(path), model)


def test_a_missing_file_says_what_to_bring(tmp_path: Path) -> None:
    """The licensed file is named, with where it is from."""
    with pytest.raises(ModelError, match=r"basicmodel_neutral.*smpl\.is\.tue\.mpg\.de"):
        read_body(tmp_path / "smpl_model.pkl")


@pytest.mark.parametrize("name", ["posedirs", "J_regressor", "kintree_table"])
def test_a_missing_field_is_named(name: str, tmp_path: Path) -> None:
    """Another model's file (FLAME, MANO) is told by what it lacks."""
    fields = _fields(_small())
    del fields[name]
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(fields))
    with pytest.raises(ModelError, match=f"has no {name}"):
        read_body(path)


class _Runs:
    """What a hostile file does when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_runs(tmp_path: Path) -> None:
    """A reference to anything but arrays is refused by its name, and was not followed."""
    path, made = tmp_path / "evil.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps({"v_template": _Runs(made)}))
    with pytest.raises(ModelError, match=r"(posix|nt)\.mkdir.*nothing of it was run"):
        read_body(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        b"cchumpy\nset\n)R.",  # a call under a known package's name
        b"c__builtin__\neval\nU\x011\x85R.",
        b"cscipy.sparse\ncsc_matrix\n(I1\ntR.",
        b"cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.",  # objects in an array
        b"(lp0\ng0\na.",
    ],
)
def test_calls_that_only_look_known_are_refused(hostile: bytes, tmp_path: Path) -> None:
    """Neither calls of classes nor arrays of objects nor values that are no dictionary pass."""
    path = tmp_path / "evil.pkl"
    path.write_bytes(hostile)
    with pytest.raises(ModelError):
        read_body(path)


def test_a_sparse_matrix_of_a_huge_shape_is_refused(tmp_path: Path) -> None:
    """A file of a kilobyte cannot ask for a terabyte."""
    fields = _fields(_small())
    sparse = scipy.sparse.csc_matrix(fields["J_regressor"])
    sparse._shape = (1 << 30, sparse.shape[1])
    fields["J_regressor"] = sparse
    path = tmp_path / "large.pkl"
    path.write_bytes(pickle.dumps(fields))
    with pytest.raises(ModelError, match="sparse matrix of shape"):
        read_body(path)


_WIDE = b"(" + b"K\x01" * 1000
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(K\x01(J%bth\x02\x89h\x01tb"
_BYTES = b"T" + struct.pack("<i", 1 << 16) + bytes(1 << 16) + b"q\x010"
_DTYPE = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNK\x00K\x00K\x00tbq\x020"
_ENCODED = b"c_codecs\nencode\n(X\x00\x00\x01\x00" + b"a" * (1 << 16) + b"U\x06latin1tq\x01R"


@pytest.mark.parametrize(
    "bomb",
    [
        _BYTES + _DTYPE + b"(" + 90 * (_ARRAY % struct.pack("<i", 1 << 16)) + b"l",
        b"(" + _ENCODED + 90 * b"c_codecs\nencode\nh\x01R" + b"l",
        _WIDE + b"tq\x010(" + 3000 * b"c__builtin__\nset\nh\x01R" + b"l",
        _WIDE + b"tq\x010(" + 1000 * b"h\x01" + b"l\x85q\x020(ccollections\nOrderedDict\nh\x02Rl",
    ],
    ids=["arrays", "bytes", "lists", "entries"],
)
def test_a_file_that_copies_the_same_part_again_and_again_is_refused(bomb: bytes, tmp_path: Path) -> None:
    """A small one could fill any memory: what is made counts against what the file holds."""
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"(dU\x01a" + bomb + b"s.")
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"again and again|no dictionary"):
            read_body(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * path.stat().st_size + (2 << 20)
    finally:
        tracemalloc.stop()


def test_a_file_of_nothing_but_small_parts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty lists cost a byte each in the file, and many times that in memory."""
    monkeypatch.setattr("engine.body.pickles._MOST_STEPS", 1000)
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 1000 + b".")
    with pytest.raises(ModelError, match="more than 1000 parts"):
        read_body(path)


def test_lists_that_refer_to_the_same_ones_are_not_written_out() -> None:
    """Four lists of ten thousand are ten to the sixteenth numbers; neither are texts, nor lists that have no end."""
    wide: list[Any] = [0.0] * 10_000
    for _ in range(3):
        wide = [wide] * 10_000
    with pytest.raises(pickles.Refused, match="again and again"):
        pickles.array(wide)
    endless: list[Any] = []
    endless.append(endless)
    for value in (endless, ["a" * 1000] * 10, [None]):
        with pytest.raises(pickles.Refused, match="other than numbers"):
            pickles.array(value)
    assert pickles.array([[1, 2.5], (3, 4)]).tolist() == [[1, 2.5], [3, 4]]


def test_nodes_do_not_multiply_by_their_indices() -> None:
    """Which entries are taken is said by numbers: two nodes in each of sixteen would be followed for ever."""
    node: Any = [1, 2, 3]
    for _ in range(40):
        node = pickles.Node(pickles.Name("chumpy.reordering", "Select"), {"a": node, "idxs": [0, 2]})
    with pytest.raises(pickles.Refused, match="within each other"):
        pickles.array(node)
    one = pickles.Node(pickles.Name("chumpy.ch", "Ch"), {"x": [0]})
    with pytest.raises(pickles.Refused, match="a node where an array belongs"):
        pickles.array(pickles.Node(pickles.Name("chumpy.reordering", "Select"), {"a": [1], "idxs": one}))


def test_an_npz_that_unfolds_beyond_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are read from the archive's table before anything is unpacked."""
    monkeypatch.setattr("engine.body.files.MOST_NUMBERS", 1000)
    path = tmp_path / "model.npz"
    np.savez_compressed(path, **_fields(_small()))
    with pytest.raises(ModelError, match="more than 1000 numbers"):
        read_body(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_a_file_cut_short_is_damaged(share: float, kind: str, tmp_path: Path) -> None:
    """A download that broke off is one clear line."""
    path = tmp_path / f"model.{kind}"
    fields = _fields(_small())
    if kind == "pkl":
        path.write_bytes(pickle.dumps(fields))
    else:
        np.savez(path, **fields)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=str(path)):
        read_body(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("f", np.array([[0, 1, 10**6]]), "does not name three"),
        ("weights", np.ones((5, 24)), "weights has shape"),
        ("posedirs", np.full_like(_fields(_small())["posedirs"], np.nan), "not finite"),
        ("kintree_table", np.array([[-1, 2, 1], [0, 1, 2]]), "before its parent"),
        ("f", np.full((4, 3), 0.5), "expected whole numbers"),
        ("weights", np.full((5, 24), 1e300), "not finite"),
    ],
)
def test_fields_that_do_not_fit_are_named(name: str, value: Any, words: str, tmp_path: Path) -> None:
    """Shapes and values are checked before anything is built on them."""
    fields = {**_fields(_small()), name: value}
    path = tmp_path / "model.npz"
    np.savez(path, **fields)
    with pytest.raises(ModelError, match=words):
        read_body(path)


def test_chumpy_around_itself_comes_to_an_end() -> None:
    """A node that contains itself is refused, not followed."""
    node = pickles.Node(pickles.Name("chumpy.ch", "Ch"))
    node.state = {"x": node}
    with pytest.raises(pickles.Refused, match="within each other"):
        pickles.array(node)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    """A zip file without such fields is no model."""
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(ModelError, match="has no v_template"):
        read_body(path)


def _member(name: str, data: bytes, packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with this entry, and further ones that are as they should be."""
    archive = io.BytesIO()
    np.savez(archive, **{key: value for key, value in _fields(_small()).items() if f"{key}.npy" != name})
    with zipfile.ZipFile(archive, "a", packed) as file:
        file.writestr(name, data)
    return archive.getvalue()


def _stated(*shape: int) -> bytes:
    """An array's file that ends where its numbers begin."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


_OPEN = b"PK\x01\x02\x14\x03\x14\0\0"
"""An entry in an archive's table, up to the flag that locks it."""


def _scratched() -> bytes:
    data = _member("weights.npy", bytes(1000))
    start = data.index(b"weights.npy") + len(b"weights.npy")
    return data[:start] + b"\xff" * 4 + data[start + 4 :]


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (_member("weights.npy", _stated(10**13)), "no whole body model"),
        (_scratched(), "no whole body model"),
        (_member("weights.npy", bytes(99), zipfile.ZIP_BZIP2), "packed in another way"),
        (_member("weights.npy", bytes(99)).replace(_OPEN, _OPEN[:-1] + b"\1"), "packed in another way"),
    ],
)
def test_an_archive_of_hostile_make_is_one_line(archive: bytes, words: str, tmp_path: Path) -> None:
    """Shapes beyond memory, and entries that are damaged, locked, or packed by what NumPy never packs by."""
    path = tmp_path / "model.npz"
    path.write_bytes(archive)
    with pytest.raises(ModelError, match=words):
        read_body(path)


def test_only_what_was_measured_is_unpacked(tmp_path: Path) -> None:
    """An entry of a field's plain name, which NumPy would take for the field, whatever its size."""
    path = tmp_path / "model.npz"
    path.write_bytes(_member("weights", bytes(1000)))
    _same(read_body(path), _small())
