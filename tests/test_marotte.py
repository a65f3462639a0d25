"""The command: its exit statuses, its one line on bad input, and what an interruption leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import marotte
from engine.commands import progress_bar
from engine.media import open_media
from engine.media.interrupts import deferred

PROJECT = Path(__file__).resolve().parent.parent

# Started in the background, a shell's child ignores interruptions; the command at a terminal does not.
_START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import marotte; sys.exit(marotte.main())"
)


@pytest.fixture
def files(faces_root: Path, tmp_path: Path) -> dict[str, str]:
    """What the arguments below stand for."""
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "old.mp4").write_text("older clip")
    return {
        "P": str(faces_root / "training" / "female_01.jpg"),
        "D": str(faces_root / "hard" / "five_fps.mp4"),
        "HARD": str(faces_root / "hard"),
        "OUT": str(tmp_path),
        "CACHE": str(tmp_path / "no models"),
    }


_COMPARE = ["bench", "--compare", __file__, __file__]
"""Two files that are there, for tests in which the comparison itself is replaced."""

BAD = {
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --task nowhere.task": "nowhere.task is not there",
    "render --source {P} --driver {D}": "the following arguments are required: --out",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --backends auto": "did you mean --backend?",
    "enrol liquid_warping {P} --source=2 --out {OUT}/o": "enrol: --source is not an option; did you mean --sources?",
    "render --source {P} --driver nowhere.mp4 --out {OUT}/o.mp4": "'nowhere.mp4' cannot be read",
    "render --source nowhere.jpg --driver {D} --out {OUT}/o.mp4": "'nowhere.jpg' cannot be read",
    "render --source {HARD} --driver {D} --out {OUT}/o.mp4": "is not a plain file",
    "render --source {P} --driver {HARD} --out {OUT}/o.mp4": "is not a plain file",
    "render --source {P} --driver {HARD}/text_named.jpg --out {OUT}/o.mp4": "text_named.jpg cannot be opened",
    "render --source {HARD}/audio_only.mp4 --driver {D} --out {OUT}/o.mp4": "has no video in it",
    "render --source {HARD}/huge_20000x15000.png --driver {D} --out {OUT}/o.mp4": "scale it down first",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --bundle meshflow": "did you mean 'mesh_flow'?",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --backend openvin": "did you mean openvino?",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --faces 0": "faces: got 0, expected 1 or more",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --faces two": "invalid int value: 'two'",
    "render --source {P} --driver {D} --out {OUT}/no/o.mp4": "cannot be written",
    "render --source {P} --driver {D} --out {OUT}/folder.mp4": "is a folder",
    "render --source {P} --driver {D} --out {OUT}/o": "expected a name that ends in .mp4",
    "render --source {P} --driver {D} --out {OUT}/o.png": "expected an output such as o.mp4",
    "render --source {P} --driver {D} --out {D}": "is also the driver",
    "render --source {P} --driver {D} --out {P}": "is also the source",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --report {OUT}/no/r.json": "cannot be written",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --report {OUT}/o.mp4": "is also the out",
    "render --source {P} --driver {D} --out {OUT}/o.mp4 --cache {CACHE}": "marotte models pull",
    "evaluate --drivers {HARD} --portraits {HARD} --out {OUT}/e --pairs -1": "pairs: got -1",
    "evaluate --drivers {OUT}/no --portraits {HARD} --out {OUT}/e": "expected",
    "bench --compare {P} {P}": "no bench.json",
    "sample --out {OUT}/old.mp4/sample.mp4": "cannot be made",
    "models pull nothing": "model 'nothing' is not known",
    "models": "the following arguments are required: VERB",
    "renderr": "invalid choice: 'renderr'",
}


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_and_status_2(
    line: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong on one line of standard error, no traceback, and nothing written."""
    before = {path: path.stat().st_mtime_ns for path in Path(files["OUT"]).rglob("*")}
    # split before the names come in, for a folder's name may hold a space
    arguments = [word.format(**files) for word in line.split()]
    try:
        status = marotte.main(arguments)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    told = capsys.readouterr()
    assert status == 2
    assert BAD[line] in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out
    assert {path: path.stat().st_mtime_ns for path in Path(files["OUT"]).rglob("*")} == before


@pytest.mark.usefixtures("models")
def test_render_tells_its_backend_its_counts_and_what_to_know(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 0, the result on standard output; the choice of `auto` and the notes, once, on standard error."""
    out = Path(files["OUT"]) / "old.mp4"
    driver = f"{files['HARD']}/no_face.mp4"
    assert marotte.main(["render", "--source", files["P"], "--driver", driver, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}: 95 frames (95 waiting)\n"
    backend, note = told.err.splitlines()
    assert backend.startswith("marotte: the networks run on ")
    assert note == "marotte: no_face.mp4: no face in any of 95 frames: the portrait stands still"


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system refuses is told as the system tells it, without a traceback."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "bench.json")

    monkeypatch.setattr("engine.bench.compare", full)
    assert marotte.main(_COMPARE) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device: 'bench.json'" in line


@pytest.mark.skipif(os.name != "posix", reason="signals are raised as POSIX has them here")
@pytest.mark.parametrize("typed", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_the_callers_signal_handlers_come_back(
    name: str, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either interrupts even where Ctrl+C is ignored or waits for a packet; afterwards all is as before."""
    numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    older = {
        number: signal.signal(number, signal.SIG_DFL) for number in numbers
    }  # under nohup one is ignored
    signal.signal(signal.SIGINT, typed)
    try:
        before = [signal.getsignal(number) for number in numbers]

        def terminated(*_: object) -> None:
            with deferred():
                signal.raise_signal(getattr(signal, name))
            pytest.fail("was not interrupted")

        monkeypatch.setattr("engine.bench.compare", terminated)
        assert marotte.main(_COMPARE) == 130
        assert [signal.getsignal(number) for number in numbers] == before
    finally:
        for number, handler in older.items():
            signal.signal(number, handler)


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input that does not fit is told as such, with status 2 and without a traceback."""

    def large(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("engine.bench.compare", large)
    assert marotte.main(_COMPARE) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not enough memory for this input" in line


_LIST = [sys.executable, "-m", "marotte", "models", "list"]


@pytest.mark.skipif(os.name != "posix", reason="a closed pipe is told otherwise elsewhere")
@pytest.mark.parametrize("options", [[], ["-u"]])
def test_a_reader_that_is_gone_ends_it_quietly(options: list[str]) -> None:
    """`marotte models list | head` says nothing of the pipe, whether output is buffered or not."""
    reading, writing = os.pipe()
    os.close(reading)
    line = [_LIST[0], *options, *_LIST[1:]]
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=PROJECT, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_standard_output_is_told_as_such() -> None:
    """The fault is not looked for in the output folder."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(_LIST, stdout=full, stderr=subprocess.PIPE, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 2
    assert done.stderr == "marotte: standard output could not be written (No space left on device)\n"


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors that Marotte raises on purpose become one line; a bug keeps its traceback."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("engine.bench.compare", broken)
    with pytest.raises(ZeroDivisionError):
        marotte.main(_COMPARE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_bar_is_drawn_on_a_terminal_only(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log or a pipe there is no bar."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = kind()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("render") as progress:
        progress(3, 8)
    assert ("3/8" in stream.getvalue()) is (kind is Terminal)
    assert bool(stream.getvalue()) is (kind is Terminal)


@pytest.mark.usefixtures("models")
@pytest.mark.skipif(os.name != "posix", reason="interruptions are sent as POSIX signals here")
@pytest.mark.parametrize("name", [pytest.param("SIGINT", marks=pytest.mark.full), "SIGTERM"])
def test_an_interruption_leaves_a_playable_clip(name: str, faces_root: Path, tmp_path: Path) -> None:
    """Ctrl-C or the end of a session: status 130, the frames so far as a whole file, the report, no more."""
    out, report = tmp_path / "out.mp4", tmp_path / "out.json"
    line = [sys.executable, "-W", "error", "-c", _START, "render", "--out", str(out), "--report", str(report)]
    # large, so that the first few frames fill what is written at once
    large = faces_root / "portraits" / "woman_hand_next_to_the_eye.jpg"
    line += ["--source", str(large), "--driver", str(faces_root / "drivers" / "man_glasses_room.mp4")]
    line += ["--consent", "generated"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=PROJECT) as running:
        deadline = time.monotonic() + 120
        while not any(part.stat().st_size > 20_000 for part in tmp_path.glob(".out.mp4.*.part")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(getattr(signal, name))
        _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.splitlines()[-1] == "marotte: interrupted"
    assert "Traceback" not in told
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.json"}
    with open_media(out) as media:
        frames = len(list(media))
    content = json.loads(report.read_text())
    assert content["interrupted"]
    assert 0 <= frames - content["frames"] <= 1
    assert 0 < frames < 587


_REFUSAL = """
import resource, sys, time
from pathlib import Path
from engine.errors import TooLargeError
from engine.render import render

before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    render(*map(Path, sys.argv[1:]), consent="generated")
except TooLargeError:
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(time.process_time() - started, (after - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
@pytest.mark.parametrize("role", ["source", "driver"])
def test_a_picture_of_300_megapixels_is_refused_before_decoding(
    role: str, faces_root: Path, tmp_path: Path
) -> None:
    """Within a second, and with less than 100 MB above what was held before."""
    inputs = {"source": "training/female_01.jpg", "driver": "hard/one_frame.mp4"}
    inputs[role] = "hard/huge_20000x15000.png"
    paths = [str(faces_root / path) for path in inputs.values()]
    done = subprocess.run(
        [sys.executable, "-c", _REFUSAL, *paths, str(tmp_path / "o.mp4")],
        capture_output=True, text=True, cwd=PROJECT, check=True,
    )  # fmt: skip
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 1.0
    assert megabytes < 100


def test_models_are_listed_with_origin_licence_and_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever pulls a model can see what it is before."""
    assert marotte.main(["models", "list", "--cache", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "face_mesh_attention   missing" in told
    assert "Apache-2.0, mediapipe 0.10.21 wheel" in told
    assert "SHA-256 e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4" in told


def test_models_that_are_not_whole_are_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` is a check: what it finds is status 1, with the fix on each line."""
    assert marotte.main(["models", "verify", "--cache", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told
    assert all(line.endswith("run: marotte models pull") for line in told)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """One number, wherever it is read."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    with pytest.raises(SystemExit, match="0"):
        marotte.main(["--version"])
    assert capsys.readouterr().out == f"marotte {version}\n"
