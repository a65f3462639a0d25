"""A mesh's official files are read whole, or refused in a line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.mesh.files import read_files


def _stated(*shape: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("role", "data"),
    [
        ("face", _stated(10**13, 3)),
        ("face", _stated(10**40, 3)),
        ("face", _stated(0, 3)),
        ("fim_enc", b"vt 1\nf 1/1 1/1 1/1\n"),
        ("fim_enc", b"vt nan 1\nf 1/1 1/1 1/1\n"),
        ("fim_enc", b"vt 1 1\nf 4294967297/1 1/1 1/1\n"),
        ("fim_enc", b"vt 1 1\nf 99999999999999999999/1 1/1 1/1\n"),
        ("part", b"[" * 100_000),
        ("part", b'{"body": {"face": [99999999999999999999]}}'),
    ],
)
def test_files_of_hostile_make_are_one_line(role: str, data: bytes, tmp_path: Path) -> None:
    """Shapes beyond memory, numbers beyond 32 bits, places that are no numbers, and JSON without an end."""
    texts = {"fim_enc": b"vt 1 1\nf 1/1 1/1 1/1\n", "uv_map": b"vt 1 1\nf 1/1 1/1 1/1\n", "part": b"{}"}
    paths = {name: tmp_path / name for name in ("face", *texts)}
    np.save(tmp_path / "face.npy", np.array([[0, 1, 2]], np.int32))
    paths["face"].write_bytes((tmp_path / "face.npy").read_bytes())
    for name, text in texts.items():
        paths[name].write_bytes(text)
    paths[role].write_bytes(data)
    with pytest.raises(InputError, match=f"{role}: expected"):
        read_files(paths)
