"""The live bench: what is a call's and what a browser's is for test_live.py; here, what is arithmetic."""

from __future__ import annotations

import json
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

import marotte
from engine.errors import BackendError, ConfigError
from engine.media.planes import BT601_CHROMA
from engine.sample import sample_portrait
from streaming.bench import clip, figures, motion, plot, run, table
from streaming.bench.run import LiveBench, Plan
from streaming.bench.server import ServerProcess, config_of, cpu_seconds
from tests.engine.bundle_files import write_ganimation, write_geogan

RATE = 30.0


def _speech(at_s: np.ndarray) -> np.ndarray:
    """Mouth and yaw of somebody who talks."""
    mouth = 0.2 + 0.1 * np.sin(9 * at_s) + 0.08 * np.sin(17 * at_s + 1)
    return np.stack([mouth, 8 * np.sin(2.1 * at_s) + 3 * np.sin(5 * at_s)], 1)


@pytest.mark.parametrize("late_s", [-0.02, 0.0, 0.0123, 0.08])
def test_motion_lag_is_found_to_a_fraction_of_a_frame(late_s: float) -> None:
    """A picture that shows the motion of `late_s` before its own number has that lag, and no other."""
    numbers = list(range(300))
    times_s = np.array(numbers) / RATE
    shown = [n for n in numbers if n % 7]  # some are never presented
    found = motion.lags(
        (numbers, times_s.tolist(), _speech(times_s)), (shown, _speech(times_s[shown] - late_s))
    )
    for name in motion.NAMES:
        assert found[name].lag_ms == pytest.approx(1000 * late_s, abs=1.0)
        assert found[name].correlation > 0.99


def test_no_lag_is_claimed_for_a_face_that_rests() -> None:
    """Noise of the tracker has no lag: a signal that does not move gives none."""
    times_s = np.arange(300) / RATE
    still = np.random.default_rng(1).normal(0, 1e-3, (300, 2))
    numbers = list(range(300))
    assert motion.lags((numbers, times_s.tolist(), still), (numbers, still)) == {"mouth": None, "yaw": None}


def test_no_lag_is_claimed_where_the_portrait_stands_still() -> None:
    """A received picture that never moves has no course to compare."""
    times_s = np.arange(300) / RATE
    numbers = list(range(300))
    found = motion.lags((numbers, times_s.tolist(), _speech(times_s)), (numbers, np.ones((300, 2))))
    assert found == {"mouth": None, "yaw": None}


def _measured(delay_ms: float, fps: float = 30.0, seconds: float = 6.0) -> dict:
    frames = round(fps * seconds)
    rows = [[n, 33 * n, 33 * n + delay_ms, 33 * n + delay_ms + 1] for n in range(frames)]
    before = {
        "inbound.framesDecoded": 10,
        "inbound.jitterBufferDelay": 1,
        "inbound.jitterBufferEmittedCount": 5,
    }
    after = {
        "inbound.framesDecoded": 190,
        "inbound.jitterBufferDelay": 2.8,
        "inbound.jitterBufferEmittedCount": 185,
    }
    return {
        "seconds": seconds,
        "sent": 180,
        "presented": 180,
        "received": frames,
        "rows": rows,
        "reports": [
            {"stages": {"track": 4.0}, "age_ms": [20, 30], "filter_lag_ms": 5, "kbps": 900, "dropped": {}},
            {"stages": {"track": 6.0}, "age_ms": [22, 32], "filter_lag_ms": 5, "kbps": 950, "dropped": {}},
        ],
        "before": before,
        "after": after,
        "size": [720, 720],
    }


def test_a_window_counts_different_pictures_and_their_delay() -> None:
    """fps is what was shown of what was sent, and not what was decoded twice."""
    row = figures.window(_measured(60.0, fps=27), cpu_s=3.0)
    assert row["fps"] == pytest.approx(27)
    assert row["decoded_fps"] == pytest.approx(30)
    assert row["g2g_p50_ms"] == pytest.approx(60)
    assert row["jitter_buffer_ms"] == pytest.approx(10)
    assert row["server_cpu"] == pytest.approx(0.5)
    assert row["stages_ms"] == {"track": 5.0}
    assert row["age_p50_ms"] == pytest.approx(21)


def test_a_window_in_which_nothing_came_has_no_delay_and_keeps_no_target() -> None:
    """A dead call is no fast call."""
    dead = figures.window(_measured(60.0, fps=0), cpu_s=None)
    live = figures.window(_measured(35.0), cpu_s=None)
    assert dead["g2g_p50_ms"] is None
    more = figures.added([dead], [live])
    assert more == {"p50_ms": None, "p95_ms": None, "fps_ratio": 0.0}
    assert figures.verdicts({"added": more}) == {
        "added p50": None, "added p95": None, "fps ratio": False, "growth": None, "motion lag": None,
    }  # fmt: skip


def test_rounds_are_compared_with_their_neighbours() -> None:
    """What the machine does to one round hits both calls of it, and cancels."""
    base = [figures.window(_measured(ms), None) for ms in (35, 90, 36)]
    engine = [figures.window(_measured(ms), None) for ms in (65, 120, 66)]
    assert figures.added(engine, base)["p50_ms"] == pytest.approx(30)


def test_growth_is_the_last_quarter_less_the_first() -> None:
    """A delay that creeps up is seen, one that is merely noisy is not."""
    at_s = np.linspace(0, 120, 3600)
    noise = np.random.default_rng(2).normal(60, 8, 3600)
    assert abs(figures.growth(at_s, noise)["growth_ms"]) < 2
    assert figures.growth(at_s, noise + at_s / 4)["growth_ms"] == pytest.approx(22.5, abs=2)


def _bench(tmp_path: Path) -> LiveBench:
    window = figures.window(_measured(60.0), 1.0)
    windows = {"browser": [figures.window(_measured(35.0), None)], "echo": [], "engine": [window]}
    part = {
        "windows": windows,
        **{way: figures.summary(rows) for way, rows in windows.items()},
        "added": figures.added(windows["engine"], windows["browser"]),
        "long": figures.summary([window]) | {"first_ms": 60.0, "last_ms": 99.0, "growth_ms": 39.0},
        "motion": {"lags": {"mouth": {"lag_ms": 4.0, "correlation": 0.97, "together": 0.95}, "yaw": None}},
    }
    part["kept"] = figures.verdicts(part)
    about = {"size": [640, 480], "rate": 30, "driver": "a <clip> & more.mp4"}
    content = {"about": about, "codecs": {"vp8": part}, "interrupted": True}
    points = {
        "vp8": {"browser": [(k / 30, 35.0) for k in range(90)], "long": [(k / 30, 60.0) for k in range(90)]}
    }
    return LiveBench(content, points)


def test_results_are_written_whole_and_read_by_people(tmp_path: Path) -> None:
    """An interrupted run leaves a JSON file, a drawing that parses, and a table that names what is missed."""
    bench = _bench(tmp_path)
    bench.save(tmp_path)
    assert json.loads((tmp_path / "live.json").read_text(encoding="utf-8"))["interrupted"] is True
    root = ElementTree.fromstring((tmp_path / "live.svg").read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    text = str(bench)
    assert "misses its target: growth" in text
    assert "interrupted" in text
    assert "yaw: not seen" in text


def test_a_drawing_and_a_table_of_nothing_are_possible() -> None:
    """An interruption in the first window leaves nothing to draw, and no traceback."""
    content = {
        "about": {"size": [640, 480], "rate": 30, "driver": "x"},
        "codecs": {"vp8": {}},
        "interrupted": True,
    }
    ElementTree.fromstring(plot.drawing(content, {"vp8": {}}))
    assert "VP8" in table.table(content)


@pytest.mark.parametrize(
    "wrong",
    [{"codecs": ("av1",)}, {"codecs": ()}, {"rounds": 0}, {"seconds": 3.0}, {"motion_s": float("nan")}],
)
def test_a_wrong_plan_is_refused(wrong: dict) -> None:
    """Before a browser is opened."""
    with pytest.raises(ConfigError):
        Plan(**wrong)


def test_a_camera_clip_has_whole_frames_to_and_fro_in_one_hue(tmp_path: Path) -> None:
    """What Chromium reads: a header, then each frame's planes; a tint is the only colour left, and luma stays."""
    picture = tmp_path / "portrait.png"
    portrait = cv2.imread(str(sample_portrait()))
    cv2.imwrite(str(picture), cv2.resize(portrait, (300, 300)))
    plain, tinted = (clip.camera_clip(picture, tmp_path, size=(160, 120), tint=hue) for hue in (None, 240.0))
    assert plain != tinted
    frames = [_first_frame(path) for path in (plain, tinted)]
    assert np.array_equal(frames[0][:120], frames[1][:120])
    chroma = frames[1][120:].reshape(2, -1).astype(float)
    assert np.ptp(chroma, axis=1).max() == 0
    blue = BT601_CHROMA @ np.array([0, 0, 255, 1]) - 128
    angle = np.degrees(np.arctan2(*(chroma[:, 0] - 128)) - np.arctan2(*blue))
    assert abs(angle) < 2


def _first_frame(path: Path) -> np.ndarray:
    data = path.read_bytes()
    header, rest = data.split(b"\n", 1)
    assert header == b"YUV4MPEG2 W160 H120 F30:1 Ip A1:1 C420jpeg"
    size = 160 * 120 * 3 // 2
    assert len(rest) % (len(b"FRAME\n") + size) == 0
    return np.frombuffer(rest[len(b"FRAME\n") :][:size], np.uint8).reshape(-1, 160)


def test_to_and_fro_repeats_neither_end(tmp_path: Path) -> None:
    """A loop 0 1 2 1 has no frame twice in a row, so that motion does not stop at its ends."""
    pictures = [np.full((12, 16), value, np.uint8) for value in (10, 20, 30)]
    clip.write_y4m(tmp_path / "x.y4m", pictures + pictures[-2:0:-1])
    body = (tmp_path / "x.y4m").read_bytes().split(b"FRAME\n")[1:]
    assert [frame[0] for frame in body] == [10, 20, 30, 20]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--bundle meshflow", "did you mean 'mesh_flow'"),
        ("--edit", "edit: bundle mesh_flow only moves portraits"),
        ("--bundle {edits}", "allow that by name with --edit"),
        ("--bundle {bound} --edit", "--accept mine"),
        ("--backend openvin", "openvino"),
    ],
)
def test_what_cannot_be_called_is_told_before_a_browser_is_opened(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and status 2, and no clip is made for the camera."""
    bound = write_ganimation(tmp_path / "bound")
    manifest = json.loads((bound / "manifest.json").read_text())
    (bound / "manifest.json").write_text(json.dumps(manifest | {"commercial": False, "acceptance": "mine"}))
    words = line.format(edits=write_geogan(tmp_path / "edits"), bound=bound)
    assert marotte.main(["bench-live", "--out", str(tmp_path / "out"), *words.split()]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_call_is_of_the_bundle_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its terms and the leave to edit reach the server; the calls through the engine, and no echo, ask for an edit."""
    servers: list[dict] = []
    offered: list[tuple] = []

    class Server:
        def __init__(self, settings: dict) -> None:
            servers.append(json.loads(json.dumps(settings, default=str)))
            self.origin, self.token = "echo" if "pass_through" in settings else "engine", "t"

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None: ...

    class Page:
        def call_server(self, name: str, codec: str, origin: str, token: str, **fields: object) -> None:
            offered.append((origin, fields))
            if len(offered) == 2:
                raise KeyboardInterrupt

        def __getattr__(self, name: str) -> object:
            return lambda *_: None

    for name, value in (
        ("camera_clip", lambda driver, folder: tmp_path / "none"),
        ("call_page", lambda clip: nullcontext(Page())),
        ("ServerProcess", Server),
        ("wait_until_ready", lambda server: None),
    ):
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(run._Run, "_measured", lambda *_: figures.window(_measured(60.0), None))
    bundle = write_ganimation(tmp_path / "bound")
    line = ["bench-live", "--out", str(tmp_path), "--bundle", str(bundle), "--accept", "mine", "--edit"]
    assert marotte.main(line) == 130
    worker = config_of(servers[0]).worker
    assert (worker.accept, worker.edit, worker.bundles) == (frozenset({"mine"}), True, (str(bundle),))
    assert sorted(offered) == [("echo", {}), ("engine", {"mode": "edit"})]
    about = json.loads((tmp_path / "live.json").read_text())["about"]
    assert (about["bundle"], about["mode"]) == ("bound", "edit")


def test_a_servers_options_are_its_configs_fields() -> None:
    """Plain data becomes a checked config, on a free port."""
    config = config_of({"worker": {"side": 480}, "source": "me.jpg"})
    assert (config.port, config.worker.side, config.source) == (0, 480, Path("me.jpg"))


def test_a_server_that_ends_is_reported_with_its_own_words() -> None:
    """Its last words on standard error stand in the error, and nobody waits for it."""
    command = (sys.executable, "-c", "import sys; sys.exit('no such model')")
    with pytest.raises(BackendError, match="no such model"), ServerProcess({}, command):
        pass


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is an error after the time given, and is not left running."""
    monkeypatch.setattr("streaming.bench.server.READY_S", 0.2)
    server = ServerProcess({}, (sys.executable, "-c", "import sys; sys.stdin.read()"))
    with pytest.raises(BackendError, match="silent"), server:
        pass
    assert server._process is not None
    assert server._process.poll() is not None


_RECORDS = """
import json, sys
from engine.state import state_folder
from engine.consent import Kind, Store
Store().attest(["ab" * 32], Kind.GENERATED, shown="nobody", attested_by="the bench", statement="It was generated.")
print(json.dumps({"folder": str(state_folder())}), flush=True)
sys.stdin.read()
"""


def test_a_measurement_leaves_nothing_in_the_users_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server's records of consent go to a folder of its own, which ends with it."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "users"))
    with ServerProcess({}, (sys.executable, "-c", _RECORDS)) as server:
        folder = Path(server.about["folder"])
        assert list(folder.iterdir())
    assert not folder.exists()
    assert not (tmp_path / "users").exists()


_BUSY_BELOW = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("{}", flush=True)
sys.stdin.read()
child.kill()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")
def test_processor_time_counts_what_is_below_a_process() -> None:
    """A worker's time is its server's."""
    with ServerProcess({}, (sys.executable, "-c", _BUSY_BELOW)) as server:
        until = time.monotonic() + 30
        while (cpu_seconds(server._process.pid) or 0) < 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        assert (cpu_seconds(server._process.pid) or 0) >= 0.5
