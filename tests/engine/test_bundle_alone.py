"""A bundle where nothing but the engine's own dependencies is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from tests.conftest import PROJECT
from tests.engine.bundle_files import write_ganimation, write_geogan, write_maskgan
from tests.engine.stit_files import write_stit
from tests.engine.warp_files import write_warp

ABSENT = (
    "torch", "torchgen", "functorch", "lightning_fabric", "lightning_utilities", "safetensors", "tensorboard",
    "onnx", "onnx_ir", "onnxscript", "ml_dtypes", "sympy", "networkx", "trainers", "export", "streaming",
)  # fmt: skip

CODE = """
import sys
packages, absent, folders = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
sys.path.append(packages)
from importlib.util import find_spec
found = [name for name in absent if find_spec(name) is not None]
assert not found, found
import numpy as np
from engine.bundle import open_bundle
from engine.generators import open_generator
for folder in folders:
    bundle = open_bundle(folder)
    for name, info in bundle.manifest.graphs.items():
        for backend in ("openvino", "onnxruntime"):
            graph = bundle.graph(name, backend)
            found = graph.run({port.name: np.zeros(port.shape, port.dtype) for port in info.inputs})
            for port in info.outputs:
                assert found[port.name].shape == port.shape, port
                assert np.isfinite(found[port.name]).all()
            graph.close()
    generator, runner = open_generator(folder)
    print(generator.name, len(bundle.manifest.graphs))
    runner.close()
assert not set(absent) & set(sys.modules)
"""


def packages_without(names: tuple[str, ...], folder: Path) -> Path:
    """A folder of links to every installed package but these, and to the engine."""
    folder.mkdir()
    for path in Path(numpy.__file__).parents[1].iterdir():
        stem = path.name.partition("-")[0].partition(".")[0]
        if stem not in names and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    if (folder / "engine").is_symlink():
        (folder / "engine").unlink()
    (folder / "engine").symlink_to(PROJECT / "engine")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_bundle_runs_without_torch_and_onnx(tmp_path: Path) -> None:
    """Opened, run on both runtimes and opened as a generator by an interpreter that has neither torch nor onnx."""
    folders = [write_ganimation(tmp_path / "face", 16), write_geogan(tmp_path / "donor", 16)]
    folders.append(write_maskgan(tmp_path / "layout", 64, parser=True, mask_vae=32))
    folders.append(write_stit(tmp_path / "person"))
    folders.append(write_warp(tmp_path / "warp"))
    packages = packages_without(ABSENT, tmp_path / "packages")
    command = [sys.executable, "-I", "-S", "-c", CODE, str(packages), ",".join(ABSENT), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:5] == ["face 1", "donor 3", "layout 4", "person 5", "warp 3"]
