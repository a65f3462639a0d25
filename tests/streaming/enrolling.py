"""What tests of enrolments share: a fake command, its weights, a worker that opens whatever comes of it, and a clip."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path

import numpy as np

from engine.errors import WorkerError
from engine.media import open_writer
from engine.types import Frame, Mode
from engine.worker.interface import BundleInfo

FAKE = (sys.executable, str(Path(__file__).with_name("fake_enrol.py")))


class FakeOffering:
    """A worker that opens every bundle at once, unless `fails` says otherwise."""

    def __init__(self) -> None:
        self.offered: list[str] = []
        self.dropped: list[str] = []
        self.fails: Exception | None = None
        self.runs: str | None = None

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        added: Future[BundleInfo] = Future()
        if self.fails is not None:
            added.set_exception(self.fails)
        else:
            assert (Path(bundle) / "manifest.json").is_file()
            self.offered.append(Path(bundle).name)
            added.set_result(BundleInfo(Path(bundle).name, "one", "stit", "CC0-1.0", tuple(Mode)))
        return added

    def drop_bundle(self, name: str) -> None:
        if name == self.runs:
            raise WorkerError(f"bundle {name}: a session runs it")
        self.dropped.append(name)


def write_weights(folder: Path, system: str = "stit") -> Path:
    """A checkpoint as far as a server looks, with what the fake makes of it."""
    (folder / "bundle").mkdir(parents=True)
    (folder / "bundle" / "manifest.json").write_text("{}")
    about = {"system": system, "arguments": {"generator": {}, "encoder": {}}}
    (folder / "checkpoint.json").write_text(json.dumps(about))
    return folder


def write_clip(path: Path, seconds: float = 2.5) -> Path:
    """In which nothing happens."""
    tick = Fraction(1, 10)
    with open_writer(path, (128, 128), tick, Fraction(10)) as writer:
        for number in range(round(10 * seconds) + 1):
            writer.write(Frame(np.full((128, 128, 3), 90, np.uint8), number, tick, number / 10))
    return path
