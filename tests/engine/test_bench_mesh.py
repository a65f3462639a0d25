"""The rasteriser's bench: what it draws, what it counts, what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.bench import mesh
from engine.errors import ConfigError
from engine.mesh.raster import rasterise


def test_the_surface_is_closed_and_half_of_it_looks_away():
    """The measured meshes have as many faces as they say, every edge twice, and half of them seen."""
    points, faces = mesh.ellipsoid(*mesh.BODY_GRID)
    assert len(faces) == 13776
    kept = faces[(points[faces[:, 0]] != points[faces[:, 1]]).any(1)]
    edges = np.concatenate([kept[:, [0, 1]], kept[:, [1, 2]], kept[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)
    seen = np.unique(rasterise(points, faces, 512).index)
    assert 0.4 * len(faces) < (seen >= 0).sum() <= 0.5 * len(faces)


def test_figures_are_written_beside_their_floor(tmp_path: Path):
    """mesh.json holds the times of every mesh, what it takes at least, and the rates that this was told from."""
    bench = mesh.run_mesh_bench(tmp_path, 25)
    content = json.loads((tmp_path / mesh.RESULT).read_text())
    assert content == bench.content
    assert [row["mesh"] for row in content["meshes"]] == ["face", "bust", "body"]
    for row in content["meshes"]:
        assert 0 < row["best_ms"] <= row["median_ms"] <= row["p95_ms"]
        assert 0 < row["seen_faces"] <= row["faces"]
        assert row["least_mb"] * 1e6 > 20 * row["size"] ** 2
        bytes_ms = row["least_mb"] / content["gbyte_per_s"]
        assert row["floor_ms"] == pytest.approx(max(bytes_ms, row["mflop"] / (mesh.SCALAR / 1e9)))
    assert "13776" in str(bench)


def test_too_few_frames_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command's line for too few frames is one, and its status 2."""
    with pytest.raises(ConfigError, match="frames: got 3"):
        mesh.run_mesh_bench(tmp_path, 3)
    assert marotte.main(["bench", "--mesh", "--frames", "3", "--out", str(tmp_path)]) == 2
    assert "frames: got 3" in capsys.readouterr().err
