"""The kill switch: at once here, soon everywhere, after a restart too, and in doubt."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigError, StateError
from engine.session_log import Event, SessionLog
from streaming import kill
from streaming.kill import FILE, FOLDER, KillSwitch, checked_why, read, watching
from streaming.refusals import RefusedError
from streaming.signals import killed_by_signal

PATIENCE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def switch(folder: Path) -> Iterator[KillSwitch]:
    with KillSwitch(folder) as opened:
        yield opened


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_holds_at_once_and_another_process_sees_it(folder: Path, switch: KillSwitch) -> None:
    """Who turns it need not wait for anything; who only looks sees it, and why, and sees its release."""
    turned: list[bool] = []
    with KillSwitch(folder, what="camera") as other:
        other.watch(turned.append)
        assert not switch.killed
        assert switch.told is None
        switch.kill("a report", "the API")
        assert switch.killed
        until(lambda: turned)
        assert other.killed
        told = other.told
        assert told is not None
        assert (told.why, told.by, turned) == ("a report", "the API", [True])
        with pytest.raises(RefusedError) as refused:
            other.check()
        assert (refused.value.status, refused.value.reason) == (503, "killed")
        assert "a report" not in str(refused.value)  # the reason is the operator's
        other.release()
        assert not other.killed
        until(lambda: not switch.killed)
        assert turned == [True, False]
        switch.check()


def test_a_restart_stays_killed(folder: Path, switch: KillSwitch) -> None:
    """The file outlives the process, and a second reason does not take the first one's place."""
    switch.kill("the first")
    switch.kill("the second")
    switch.close()
    with KillSwitch(folder) as again:
        assert again.killed
        told = again.told
        assert told is not None
        assert told.why == "the first"
        turned: list[bool] = []
        again.watch(turned.append)
        assert turned == [True]  # who comes later is told at once


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"not json", b'{"why": 3}', b"\xff", b"[" * 4000, b'{"why": "' + b"x" * 9000]
)
def test_what_is_there_kills_whatever_it_says(folder: Path, content: bytes) -> None:
    """Fail closed: a torn or foreign file counts, and its reading never raises."""
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / FILE).write_bytes(content)
    with KillSwitch(folder) as switch:
        assert switch.killed
    assert len(read(folder / FOLDER).why) <= kill.MOST_WHY


def test_a_folder_or_a_dead_link_of_this_name_kills(folder: Path) -> None:
    """Nobody is let out because the file is of another kind."""
    (folder / FOLDER / FILE).mkdir(parents=True)
    assert KillSwitch(folder).killed
    (folder / FOLDER / FILE).rmdir()
    assert not KillSwitch(folder).killed
    if sys.platform != "win32":
        (folder / FOLDER / FILE).symlink_to(folder / "nowhere")
        assert KillSwitch(folder).killed


def test_what_cannot_be_looked_at_counts_as_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer is no permission."""
    with KillSwitch(folder) as switch:
        real = os.lstat

        def broken(path: object) -> os.stat_result:
            if str(path).endswith(FILE):
                raise PermissionError
            return real(path)  # type: ignore[arg-type]

        monkeypatch.setattr(kill.os, "lstat", broken)
        until(lambda: switch.killed)
        monkeypatch.undo()
        until(lambda: not switch.killed)


def test_what_cannot_be_kept_is_said_and_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk does not keep the gate open; when there is room again the others are told."""
    full = True
    real = kill.write

    def writing(where: Path, killed: kill.Killed) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(where, killed)

    monkeypatch.setattr(kill, "write", writing)
    with KillSwitch(folder) as switch:
        with pytest.raises(StateError, match="could not be written"):
            switch.kill("a report")
        assert switch.killed
        assert not (folder / FOLDER / FILE).exists()
        full = False
        until((folder / FOLDER / FILE).exists)
        assert switch.killed


@pytest.mark.parametrize("moved", ["state", "stop"])
def test_a_folder_that_is_moved_away_releases_nobody(folder: Path, moved: str) -> None:
    """Who was killed stays so without its file's folder, says nothing else to those who look, and puts it back."""
    with KillSwitch(folder) as switch, KillSwitch(folder) as other:
        switch.kill("a report")
        until(lambda: other.killed)
        turned: list[bool] = []
        switch.watch(turned.append)
        gone = folder if moved == "state" else folder / FOLDER
        gone.rename(gone.with_name("elsewhere"))
        until((folder / FOLDER / FILE).exists)
        time.sleep(3 * kill.LOOK_S)
        assert (switch.killed, other.killed, turned) == (True, True, [True])
        assert KillSwitch(folder).killed
        (folder / FOLDER / FILE).unlink()  # the one thing that releases
        until(lambda: not switch.killed)


def test_a_file_in_the_folders_place_kills(folder: Path) -> None:
    """Also who starts then, and who was killed before; it is not released before it can be."""
    killed = KillSwitch(folder)  # which looks when it is told to
    killed.kill("a report")
    (folder / FOLDER).rename(folder / "elsewhere")
    (folder / FOLDER).write_text("")
    killed._look()
    assert (killed.killed, KillSwitch(folder).killed) == (True, True)
    with pytest.raises(StateError, match="by hand"):
        killed.release("looked into")
    assert killed.killed
    (folder / FOLDER).unlink()
    killed.release("looked into")
    assert (killed.killed, KillSwitch(folder).killed) == (False, False)


def test_a_release_that_is_not_possible_leaves_it_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file alone decides."""
    with KillSwitch(folder) as switch:
        switch.kill("a report")

        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(StateError, match="stays killed"):
            switch.release()
        assert switch.killed
        monkeypatch.undo()
        switch.release()
        assert not switch.killed


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="Windows has no SIGUSR2")
def test_a_signal_kills_without_a_lock(folder: Path) -> None:
    """The handler only raises the flag, even while the switch's own lock is held, and the thread keeps it."""
    before = signal.getsignal(signal.SIGUSR2)
    with KillSwitch(folder) as switch, killed_by_signal(switch):
        with switch._lock:
            os.kill(os.getpid(), signal.SIGUSR2)
            assert switch.killed
        until((folder / FOLDER / FILE).exists)
        told = switch.told
        assert told is not None
        assert "SIGUSR2" in told.why
    assert signal.getsignal(signal.SIGUSR2) == before


def test_elsewhere_than_in_the_main_thread_signals_are_the_callers(switch: KillSwitch) -> None:
    """Where no handler can be set none is."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with killed_by_signal(switch):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures


def test_one_that_fails_keeps_nobody_from_being_told(
    switch: KillSwitch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is to end with it is ended, whatever else goes wrong; who has ended is not called."""
    turned: list[bool] = []

    def fail(killed: bool) -> None:
        raise RuntimeError("broken")

    switch.watch(fail)
    end = switch.watch(turned.append)
    with caplog.at_level(logging.ERROR, logger="marotte.kill"):
        switch.kill("a report")
    assert turned == [True]
    assert "failed" in caplog.text
    end()
    switch.release()
    assert turned == [True]


def test_who_looks_is_known_to_the_command(folder: Path) -> None:
    """What kills can tell who has seen it; one that is gone, or says nothing any more, is not counted."""
    assert watching(folder) == []
    with KillSwitch(folder, what="camera") as switch:
        until(lambda: [one.what for one in watching(folder)] == ["camera"])
        switch.kill("a report")
        (one,) = watching(folder)
        assert (one.pid, one.killed) == (os.getpid(), True)
        assert watching(folder, time.time() + kill.GONE_S + 1) == []
        (folder / FOLDER / "1-00.watching").write_text("{}")
        assert len(watching(folder)) == 1
    (folder / FOLDER / "1-00.watching").unlink()
    assert watching(folder) == []


def test_the_session_log_has_a_line_of_each_change(folder: Path) -> None:
    """Who killed, why, and that it was released."""
    log = SessionLog(folder / "session_log")
    with KillSwitch(folder, log=log) as switch:
        switch.kill("a report", "the API")
        switch.release("looked into", "the API")
    text = "".join(path.read_text("utf-8") for path in sorted(log.folder.rglob("*.jsonl")))
    lines = [json.loads(line) for line in text.splitlines()]
    events = [line for line in lines if line["event"] in (Event.KILLED, Event.RELEASED)]
    assert [line["event"] for line in events] == ["killed", "released"]
    assert (events[0]["why"], events[0]["by"]) == ("a report", "the API")
    assert (events[1]["why"], events[1]["by"]) == ("looked into", "the API")


@pytest.mark.parametrize("wrong", [None, "", "  ", "two\nlines", "x" * 301, "\x1b[31m", 3])
def test_a_reason_is_one_line(wrong: object) -> None:
    """It is shown on terminals and kept."""
    with pytest.raises(ConfigError, match="why"):
        checked_why(wrong)
