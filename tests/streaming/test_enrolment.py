"""The life of an enrolment: its process, what it tells, how it ends, and what is left of it. Real processes, a fake
`marotte enrol` (fake_enrol.py)."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.consent import Kind, Store
from engine.errors import BackendError, ConfigError, InputError, WorkerError
from engine.worker.interface import BundleInfo
from streaming import enrolment
from streaming.config import ServeConfig
from streaming.consents import Given
from streaming.doors import RefusedError
from streaming.enrolment import MOST_STOPPED, Enrolments
from streaming.enrolment_kinds import KINDS
from streaming.enrolment_probe import Found, check_kind, probe
from streaming.enrolment_store import LEAST_BYTES, NEEDS_BYTES, file_name
from streaming.measured import NoRecorder
from tests.streaming.enrolling import FAKE, FakeOffering, write_clip, write_weights

ME = Given(Kind.MYSELF, "Ann", "Ann", "It is me")

WAIT_S = 60.0


class Counted(NoRecorder):
    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.ran: list[bool] = []

    def enrolling(self, on: bool) -> None:
        self.ran.append(on)

    def enrolled(self, outcome: str) -> None:
        self.outcomes.append(outcome)


class Bench:
    """Enrolments with their fake, and a clip to be enrolled."""

    def __init__(self, folder: Path, clip: Path) -> None:
        self.folder, self.clip = folder, clip
        self.weights = write_weights(folder / "weights")
        self.worker, self.counted = FakeOffering(), Counted()
        self.free = NEEDS_BYTES
        self.enrolments = self.opened()

    def opened(self) -> Enrolments:
        config = ServeConfig(
            enrol={"stit": self.weights},
            enrol_options={"stit": ("--edit", "smile=-2:2")},
            enrolments=self.folder / "enrolments",
            enrol_command=FAKE,
        )
        made = Enrolments(config, self.worker, self.counted, free_bytes=lambda: self.free)
        made.start()
        return made

    def again(self) -> None:
        """The server ends and another one starts."""
        self.enrolments.close()
        self.enrolments = self.opened()

    def fault(self, name: str, text: str = "") -> None:
        (self.weights / name).write_text(text)

    def mend(self, name: str) -> None:
        (self.weights / name).unlink()

    def begin(self, keep: bool = False, name: str = "Ann") -> str:
        with self.enrolments.reserve("stit"):
            job = self.enrolments.new("stit", name, keep)
            path = self.enrolments.place(job, 1, "clip.webm")
            path.write_bytes(self.clip.read_bytes())
            return str(self.enrolments.accept(job, [path], ME)["id"])

    def until(self, number: str, *states: str, steps: int = 0) -> dict[str, Any]:
        end_s = time.monotonic() + WAIT_S
        while True:
            status = self.enrolments.status(number)
            done = (status["progress"] or {"done": 0})["done"]
            if status["state"] in states and done >= steps:
                return status
            assert time.monotonic() < end_s, status
            time.sleep(0.02)

    def ended(self, number: str) -> dict[str, Any]:
        status = self.until(number, "done", "stopped", "failed")
        end_s = time.monotonic() + WAIT_S
        while not self.counted.outcomes and time.monotonic() < end_s:
            time.sleep(0.01)
        return status

    def started(self) -> list[dict[str, Any]]:
        lines = (self.weights / "started").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def left(self, number: str) -> set[str]:
        place = self.folder / "enrolments" / number
        return {path.name for path in place.iterdir()} if place.exists() else set()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture
def bench(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(enrolment, "probe", lambda files: [Found(path.name, 2.5) for path in files])
    one = Bench(tmp_path, clip)
    yield one
    one.enrolments.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("marotte-enrol")]


def test_what_was_sent_becomes_an_offered_bundle(bench: Bench, tmp_path: Path) -> None:
    """Progress on the way, what was measured at the end, and nothing of the recording is left; who allowed it is
    recorded."""
    bench.fault("chatter")
    number = bench.begin()
    running = bench.until(number, "running", "opening", "done")
    assert running["name"] == "Ann"
    status = bench.ended(number)
    assert (status["state"], status["bundle"]) == ("done", f"enrolled-{number}")
    assert status["lines"] == ["3 steps were made"]
    assert bench.worker.offered == [f"enrolled-{number}"]
    assert bench.left(number) == {"job.json", f"enrolled-{number}"}
    (words,) = [one["words"] for one in bench.started()]
    assert words[-2:] == ["--edit", "smile=-2:2"]
    assert "--title=Ann (STIT)" in words
    (recorded,) = Store(tmp_path / "state").all()
    assert (recorded.attested_by, recorded.statement) == ("Ann", "It is me")
    assert (bench.counted.outcomes, bench.counted.ran) == (["done"], [True, False])


def test_a_recording_is_kept_where_that_was_asked(bench: Bench) -> None:
    """Beside the bundle, until both are removed."""
    number = bench.begin(keep=True)
    bench.ended(number)
    assert bench.left(number) == {"job.json", "input", f"enrolled-{number}"}
    assert bench.enrolments.cancel_or_remove(number) is None
    assert bench.left(number) == set()
    assert bench.worker.dropped == [f"enrolled-{number}"]


@pytest.mark.skipif(sys.platform == "win32", reason="niceness and groups are POSIX")
def test_the_process_stays_behind_and_in_a_group_of_its_own(bench: Bench) -> None:
    """Nothing that the server does waits for it, and no signal to the server's group reaches it."""
    bench.ended(bench.begin())
    (started,) = bench.started()
    assert started["nice"] == 19
    assert started["group"] != os.getpgrp()


def test_progress_is_told_by_stage_and_step(bench: Bench) -> None:
    """As the process tells it."""
    bench.fault("steps", "400")
    number = bench.begin()
    progress = bench.until(number, "running", steps=2)["progress"]
    assert {key: progress[key] for key in ("stage", "number", "stages", "total")} == {
        "stage": "tune", "number": 1, "stages": 2, "total": 400,
    }  # fmt: skip
    assert progress["left_s"] == pytest.approx(0.02 * (400 - progress["done"]))
    bench.enrolments.cancel_or_remove(number)
    bench.ended(number)


def test_what_was_cancelled_is_gone_on_with(bench: Bench) -> None:
    """By the same command, from the step where it was; meanwhile what it needs is kept, and no longer."""
    bench.fault("steps", "30")
    number = bench.begin()
    bench.until(number, "running", steps=5)
    stopping = bench.enrolments.cancel_or_remove(number)
    assert stopping is not None
    assert stopping["state"] == "stopping"
    status = bench.ended(number)
    assert (status["state"], status["reason"]) == ("stopped", "it was cancelled")
    assert status["expires"] is not None
    assert bench.left(number) >= {"input", "work"}
    made = int((bench.folder / "enrolments" / number / "work" / "done").read_text())
    assert 5 <= made < 30
    bench.fault("steps", str(made + 2))
    assert bench.enrolments.resume(number)["state"] == "running"
    assert bench.until(number, "done")["lines"] == [f"{made + 2} steps were made"]
    first, second = [one["words"] for one in bench.started()]
    assert first == second
    assert bench.counted.outcomes == ["cancelled", "done"]


def test_one_that_heeds_nothing_is_killed_with_all_that_it_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while; its children too."""
    monkeypatch.setattr(enrolment, "_GRACE_S", 0.3)
    bench.fault("hang")
    bench.fault("grandchild")
    bench.fault("steps", "100000")
    number = bench.begin()
    bench.until(number, "running", steps=1)
    bench.enrolments.cancel_or_remove(number)
    assert bench.ended(number)["reason"] == "it was cancelled"
    pid = int((bench.weights / "grandchild").read_text())
    end_s = time.monotonic() + WAIT_S
    while (
        Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
    ):
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_crash_is_told_and_can_be_gone_on_with(bench: Bench) -> None:
    """By the signal that ended it; the next try begins where it was."""
    bench.fault("crash")
    number = bench.begin()
    status = bench.ended(number)
    assert (status["state"], status["reason"]) == ("stopped", "its process was ended by SIGABRT")
    bench.mend("crash")
    bench.enrolments.resume(number)
    assert bench.until(number, "done")["bundle"] == f"enrolled-{number}"


def test_what_going_on_does_not_mend_is_over(bench: Bench) -> None:
    """Its own words; nothing of the recording is left, and the next one takes its place."""
    bench.fault("no face")
    number = bench.begin()
    status = bench.ended(number)
    assert status["state"] == "failed"
    assert "no face in any of its frames" in status["reason"]
    assert bench.left(number) == {"job.json"}
    with pytest.raises(RefusedError, match="only what was stopped"):
        bench.enrolments.resume(number)
    bench.mend("no face")
    other = bench.begin()
    assert bench.left(number) == set()
    bench.ended(other)


def test_a_full_disk_stops_it(bench: Bench) -> None:
    """Whether the process meets it or the server sees it come; then it is gone on with. Before that nothing begins."""
    bench.fault("disk full")
    number = bench.begin()
    assert "No space left" in bench.ended(number)["reason"]
    bench.fault("steps", "100000")
    bench.enrolments.resume(number)
    bench.until(number, "running", steps=2)
    bench.free = LEAST_BYTES - 1
    assert "disk is nearly full" in bench.until(number, "stopped")["reason"]
    for ask in (lambda: bench.enrolments.resume(number), lambda: bench.enrolments.reserve("stit")):
        with pytest.raises(RefusedError) as refused:
            ask()
        assert refused.value.status == 507


def test_one_is_enrolled_at_a_time(bench: Bench) -> None:
    """A second is refused with the name of the first, and so is what is sent while another is being sent."""
    bench.fault("steps", "100000")
    number = bench.begin()
    with pytest.raises(RefusedError, match="“Ann” is being enrolled") as refused:
        bench.enrolments.reserve("stit")
    assert refused.value.status == 429
    bench.enrolments.cancel_or_remove(number)
    bench.ended(number)
    with bench.enrolments.reserve("stit"), pytest.raises(RefusedError, match="being sent"):
        bench.enrolments.resume(number)
    with pytest.raises(RefusedError, match="enrols nobody with geogan"):
        bench.enrolments.reserve("geogan")


def test_few_are_kept_to_be_gone_on_with(bench: Bench) -> None:
    """Each holds a recording: more are refused until one is removed, and after a day they are gone."""
    bench.fault("crash")
    numbers = []
    for _ in range(MOST_STOPPED):
        numbers.append(bench.begin())
        bench.ended(numbers[-1])
        bench.counted.outcomes.clear()
    with pytest.raises(RefusedError, match="were stopped"):
        bench.enrolments.reserve("stit")
    late = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    bench.enrolments._jobs[numbers[0]] = replace(bench.enrolments._jobs[numbers[0]], ended=late)
    assert [one["id"] for one in bench.enrolments.all()] == numbers[1:]
    assert bench.left(numbers[0]) == set()


def test_the_server_takes_the_process_with_it_and_the_next_one_goes_on(bench: Bench) -> None:
    """Killed where it does not end in time; what was running stands as stopped, and is gone on with when asked."""
    bench.fault("hang")
    bench.fault("steps", "100000")
    number = bench.begin()
    bench.until(number, "running", steps=3)
    child = bench.enrolments._child
    assert child is not None
    bench.again()
    assert not Path(f"/proc/{child.pid}").exists()
    status = bench.enrolments.status(number)
    assert (status["state"], status["reason"]) == ("stopped", "the server ended")
    made = int((bench.folder / "enrolments" / number / "work" / "done").read_text())
    assert made >= 3
    bench.fault("steps", str(made + 1))
    bench.enrolments.resume(number)
    assert bench.until(number, "done")["lines"] == [f"{made + 1} steps were made"]


def test_bundles_of_earlier_runs_are_offered_again(bench: Bench) -> None:
    """And halves of what was never accepted are swept away."""
    number = bench.begin()
    bench.ended(number)
    half = bench.enrolments.new("stit", "half", False)
    bench.again()
    end_s = time.monotonic() + WAIT_S
    while bench.enrolments.status(number)["bundle"] is None:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert bench.worker.offered == [f"enrolled-{number}"] * 2
    assert bench.left(half.id) == set()


@pytest.mark.parametrize(
    "damage",
    [
        {"ended": "2026-11-22T05:00:00"},
        {"state": "half"},
        {"name": 3},
        {"lines": [None]},
        {"ended": "9999-12-31T23:59:59+00:00"},
    ],
)
def test_what_no_server_wrote_down_is_swept_away(bench: Bench, damage: dict[str, Any]) -> None:
    """The server starts all the same."""
    bench.fault("crash")
    number = bench.begin()
    bench.until(number, "stopped")
    job = bench.folder / "enrolments" / number / "job.json"
    job.write_text(json.dumps(json.loads(job.read_text()) | damage))
    (bench.folder / "enrolments" / "0123456789ab").symlink_to("nowhere")
    bench.again()
    assert bench.enrolments.all() == []
    assert bench.left(number) == set()


def test_a_process_that_nobody_follows_is_ended(bench: Bench) -> None:
    """A disk that is taken away while it runs: two would go on in its folder later."""
    bench.fault("hang")
    bench.fault("steps", "100000")
    number = bench.begin()
    bench.until(number, "running", steps=1)
    child = bench.enrolments._child
    assert child is not None
    bench.enrolments._free_bytes = lambda: 1 // 0
    assert "ZeroDivisionError" in bench.until(number, "stopped")["reason"]
    assert not Path(f"/proc/{child.pid}").exists()
    bench.enrolments._free_bytes = lambda: NEEDS_BYTES


def test_a_bundle_that_cannot_be_opened_says_why(bench: Bench) -> None:
    """It stays, is not listed as offered, and can be removed."""
    bench.worker.fails = BackendError("it has no such operator")
    number = bench.begin()
    status = bench.until(number, "done")
    assert (status["bundle"], status["state"]) == (None, "done")
    assert "no such operator" in status["reason"]
    bench.enrolments.cancel_or_remove(number)
    assert bench.worker.dropped == []
    assert bench.left(number) == set()


def test_a_worker_that_was_lost_meanwhile_is_asked_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lost need not be lost over the bundle; one that it is lost over again is not tried for ever."""
    monkeypatch.setattr("streaming.enrolment_offers._AGAIN_S", 0.0)
    asked = []

    def lost(bundle: str) -> Future[BundleInfo]:
        asked.append(bundle)
        bench.worker.fails = (
            WorkerError("the worker was ended by signal 9") if len(asked) in (1, 3, 4) else None
        )
        return FakeOffering.add_bundle(bench.worker, bundle)

    monkeypatch.setattr(bench.worker, "add_bundle", lost)
    number = bench.begin()
    assert bench.until(number, "done")["bundle"] == f"enrolled-{number}"
    again = bench.begin()
    assert "signal 9" in bench.until(again, "done")["reason"]
    assert len(asked) == 4


def test_one_that_a_session_runs_is_not_removed(bench: Bench) -> None:
    """Nor is anything of it."""
    number = bench.begin()
    bench.ended(number)
    bench.worker.runs = f"enrolled-{number}"
    with pytest.raises(RefusedError, match="a session runs it") as refused:
        bench.enrolments.cancel_or_remove(number)
    assert refused.value.status == 409
    assert bench.enrolments.status(number)["bundle"] == f"enrolled-{number}"
    assert bench.left(number) == {"job.json", f"enrolled-{number}"}


def test_a_folder_is_one_servers(bench: Bench) -> None:
    """The other is told what to do."""
    with pytest.raises(ConfigError, match="--enrolments"):
        bench.opened()


def test_what_cannot_enrol_is_told_at_the_start(bench: Bench) -> None:
    """In the words of the command itself."""
    bench.enrolments.check()
    bench.fault("refuse check")
    with pytest.raises(ConfigError, match="enrol stit: the fake was told to refuse"):
        bench.enrolments.check()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enrol": {"stitt": "."}}, "did you mean 'stit'"),
        ({"enrol": {"stit": "nowhere"}}, "no folder"),
        ({"enrol": {"stit": "empty"}}, "no checkpoint"),
        ({"enrol": {"stit": "other"}}, "a checkpoint of 'geogan'"),
        ({"enrol": {"stit": "half"}}, "holds no encoder, it has generator"),
        ({"enrol": {"stit": "broken"}}, "cannot be read"),
        ({"enrol": {"stit": "whole"}, "enrol_options": {"stit": ("--out=x",)}}, "said by the server itself"),
        ({"enrol_options": {"stit": ("--edit", "a=1:2")}}, "name its checkpoint too"),
    ],
)
def test_a_wrong_setting_is_one_line_at_the_start(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, got and the fix, before anything is opened."""
    monkeypatch.chdir(tmp_path)
    texts = {
        "other": '{"system": "geogan", "arguments": {}}',
        "half": '{"system": "stit", "arguments": {"generator": {}}}',
        "broken": "{",
        "whole": '{"system": "stit", "arguments": {"generator": {}, "encoder": {}}}',
    }
    (tmp_path / "empty").mkdir()
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.json").write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        ServeConfig(**given)
    assert "\n" not in str(refused.value)


def test_a_training_stands_for_its_latest_checkpoint(tmp_path: Path) -> None:
    """As everywhere; the path is the folder's own, wherever the server is started."""
    place = tmp_path / "checkpoints" / "step_00000003"
    place.mkdir(parents=True)
    (tmp_path / "latest.json").write_text('{"checkpoint": "step_00000003"}')
    (place / "checkpoint.json").write_text(
        '{"system": "stit", "arguments": {"generator": {}, "encoder": {}}}'
    )
    assert ServeConfig(enrol={"stit": tmp_path}).enrol == {"stit": tmp_path}


def test_what_was_sent_is_looked_at_in_a_process_of_its_own(clip: Path, tmp_path: Path) -> None:
    """A clip by its packets, a photo as one; what is neither is refused by the reader's words."""
    (found,) = probe([clip])
    assert found.seconds == pytest.approx(2.5)
    text = tmp_path / "text.webm"
    text.write_text("no video")
    with pytest.raises(InputError, match=r"text\.webm"):
        probe([text])
    with pytest.raises(InputError, match="took longer"):
        probe([clip], 0.01)


@pytest.mark.parametrize(
    ("kind", "found", "said"),
    [
        ("stit", [Found("a.jpg", None)], "takes 1 clip"),
        ("stit", [Found("a", 5.0), Found("b", 5.0)], "got 2 clips"),
        ("stit", [Found("a", 1.0)], "expected 2 s or more"),
        ("stit", [], "got 0 clips"),
        ("both", [Found("a", 5.0), Found("b.jpg", None)], "got 1 clips and 1 photos"),
        ("both", [Found(f"{n}.jpg", None) for n in range(9)], "up to 8 photos"),
    ],
)
def test_a_system_takes_one_clip_or_some_photos(
    kind: str, found: list[Found], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never both, and no more than it says."""
    both = replace(KINDS["stit"], photos=8)
    check_kind(both, [Found("a", 5.0)])
    check_kind(both, [Found("a.jpg", None)] * 8)
    with pytest.raises(InputError, match=said):
        check_kind(both if kind == "both" else KINDS["stit"], found)


@pytest.mark.parametrize(
    "given", ["../../etc/passwd", "..\\x.mp4", "-rf", "", ".", "a b/ü.webm", "x" * 500 + ".mp4", "a\0b.mp4"]
)
def test_a_files_name_leads_nowhere(given: str) -> None:
    """It is one short name, is no option, and keeps its suffix."""
    name = file_name(1, given)
    assert name.startswith("1-")
    assert Path(name).name == name
    assert len(name) < 80
    assert "\0" not in name
    assert not given.endswith(".mp4") or name.endswith(".mp4")
