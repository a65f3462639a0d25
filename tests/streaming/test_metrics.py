"""What is counted: names, labels and values as docs/metrics.md states them, whatever comes in."""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.types import FrameReport, Mode, Outcome
from engine.worker.interface import BundleInfo, State, WorkerStatus
from streaming import metrics, series
from streaming.measured import NoRecorder, Recorder
from streaming.metrics import Metrics
from streaming.trust_metrics import TrustMetrics

PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "docs" / "metrics.md"


def report(
    outcome: Outcome = Outcome.GENERATED, reason: str | None = None, lag_s: float = 0.0
) -> FrameReport:
    return FrameReport(0, outcome, {}, 0.02, lag_s, 1, reason)


def value(counted: Metrics, name: str, **labels: str) -> float:
    """One sample; KeyError where it is not exported."""
    for family in text_string_to_metric_families(counted.render().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    raise KeyError((name, labels))


def offering() -> Metrics:
    """Of a server that offers a bundle in both modes."""
    counted = Metrics()
    counted.offer([BundleInfo("mesh_flow", "", "", "", tuple(Mode))])
    return counted


def exported() -> dict[str, tuple[str, dict[str, set[str]]]]:
    """Type and label values by name, from the text itself, with the suffix _total where the text has it."""
    found: dict[str, tuple[str, dict[str, set[str]]]] = {}
    for family in text_string_to_metric_families(offering().render().decode()):
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, text in sample.labels.items():
                if not (label == "le" and family.type == "histogram"):
                    labels.setdefault(label, set()).add(text)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family.type, labels
    return found


def tabled() -> dict[str, tuple[str, dict[str, set[str]]]]:
    """The same, from the table of docs/metrics.md."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not re.match(r"\| `\w+` \|", line):
            continue
        name, kind, _, labels, _ = (cell.strip() for cell in line.strip("|").split("|"))
        parts = [part.partition(":") for part in labels.split(";") if part.strip()]
        known = {
            label.strip().strip("`"): {text.strip() for text in texts.split(",") if text.strip()}
            for label, _, texts in parts
        }
        assert name not in found, f"{name} stands twice"
        found[name.strip("`")] = kind, known
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the process's own figures are exported on Linux alone")
def test_the_table_is_what_is_exported() -> None:
    """Names, types, labels and their values: neither side has one that the other has not."""
    told, real = tabled(), exported()
    assert set(told) == set(real)
    for name, (kind, labels) in real.items():
        assert told[name][0] == kind, name
        assert set(told[name][1]) == set(labels), name
        for label, texts in labels.items():
            if name != "marotte_build_info" and label != "bundle":
                assert told[name][1][label] == texts - {"other"}, (name, label)


def test_what_sessions_run_is_told_by_bundle_and_mode() -> None:
    """A session counts once, as what it runs now; what nobody offers and what has ended is not counted."""

    def running() -> tuple[float, float]:
        puppets, edits = (
            value(counted, "marotte_bundle_sessions", bundle="mesh_flow", mode=mode.value) for mode in Mode
        )
        return puppets, edits

    counted = offering()
    assert running() == (0, 0)
    counted.showing("one", "mesh_flow", "puppet")
    counted.showing("two", "mesh_flow", "edit")
    assert running() == (1, 1)
    counted.showing("one", "mesh_flow", "edit")
    assert running() == (0, 2)
    counted.showing("one", "", "")
    counted.showing("two", "unheard of", "edit")
    assert running() == (0, 0)
    counted.offer([BundleInfo("mesh_flow", "", "", "", tuple(Mode))])
    assert running() == (0, 0)


def test_enrolled_bundles_count_together() -> None:
    """There is no end of their names."""
    counted = offering()
    for number in range(3):
        counted.offer_enrolled(BundleInfo(f"enrolled-{number}", "", "", "", tuple(Mode)))
        counted.showing(f"s{number}", f"enrolled-{number}", "edit")
    assert value(counted, "marotte_bundle_sessions", bundle="enrolled", mode="edit") == 3
    assert b"enrolled-" not in counted.render()
    counted.showing("s0", "", "")
    assert value(counted, "marotte_bundle_sessions", bundle="enrolled", mode="edit") == 2


def test_the_table_names_a_unit_and_a_meaning() -> None:
    """No cell but that of the labels is empty."""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if re.match(r"\| `\w+` \|", line):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            assert len(cells) == 5
            assert cells[2], line
            assert cells[4], line


def test_names_follow_the_conventions() -> None:
    """Prefix, base units, and _total on what only rises, and on nothing else."""
    for name, (kind, _) in exported().items():
        assert name.startswith(("marotte_", "process_")), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|millis\w*|minutes|kb|kbps|bits|mb|percent)(_|$)", name), name
        if kind == "histogram":
            assert name.endswith(("_seconds", "_faces")), name


def test_it_records_everything() -> None:
    """Every method of Recorder is there, and is one of its own."""
    for name in vars(NoRecorder):
        if not name.startswith("_"):
            assert name in vars(Metrics) or name in vars(TrustMetrics), name
    recorder: Recorder = Metrics()
    assert recorder is not None


def test_buckets_resolve_a_frame() -> None:
    """From 0.2 ms to 1 s, rising, and never more than 2.5 times apart, or 1.5 times where a frame's age lies."""
    assert series.SECONDS[0] == 0.0002
    assert series.SECONDS[-1] == 1.0
    for lower, upper in zip(series.SECONDS, series.SECONDS[1:]):
        assert 1.0 < upper / lower <= (1.5001 if 0.01 <= lower < 0.1 else 2.5001)


def test_a_batch_is_counted_by_the_faces_in_it() -> None:
    """Once per picture, and not where nothing was run."""
    counted = Metrics()
    for faces in (4, 4, 1, 0):
        counted.frame_left(replace(report(), batch=faces), 0.04, {"gather": 0.003})
    assert value(counted, "marotte_batch_faces_count") == 3
    assert value(counted, "marotte_batch_faces_sum") == 9
    assert value(counted, "marotte_batch_faces_bucket", le="3.0") == 1
    assert value(counted, "marotte_stage_seconds_count", stage="gather") == 4


def test_a_frame_that_left_is_counted_once_everywhere() -> None:
    """Outcome, age, each stage and the lag."""
    counted = Metrics()
    counted.frame_left(report(lag_s=0.03), 0.041, {"decode": 0.001, "track": 0.012})
    assert value(counted, "marotte_frames_sent_total", outcome="generated") == 1
    assert value(counted, "marotte_frame_age_seconds_sum") == pytest.approx(0.041)
    assert value(counted, "marotte_frame_age_seconds_bucket", le="0.05") == 1
    assert value(counted, "marotte_frame_age_seconds_bucket", le="0.04") == 0
    assert value(counted, "marotte_stage_seconds_sum", stage="track") == pytest.approx(0.012)
    assert value(counted, "marotte_stage_seconds_count", stage="paste") == 0
    assert value(counted, "marotte_filter_lag_seconds_sum") == pytest.approx(0.03)
    assert value(counted, "marotte_fallback_frames_total", reason="no face") == 0


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("no face", "no face"),
        ("PortError: aus: expected (1, 17), got (1, 16)", "error"),
        ("Custom: what a plugin raised", "error"),
        ("a new word", "other"),
        (None, "other"),
    ],
)
def test_a_fallback_is_counted_by_its_cause(reason: str | None, label: str) -> None:
    """An error's words never become a label, and its lag says nothing about a motion that was not shown."""
    counted = Metrics()
    counted.frame_left(report(Outcome.HELD, reason, lag_s=0.5), 0.02, {})
    assert value(counted, "marotte_frames_sent_total", outcome="held") == 1
    assert value(counted, "marotte_fallback_frames_total", reason=label) == 1
    assert value(counted, "marotte_filter_lag_seconds_count") == 0


def test_a_fallback_of_the_networks_side_is_counted() -> None:
    """What the worker did not send is in the same counters."""
    counted = Metrics()
    counted.fallback_left("faded", "worker away")
    assert value(counted, "marotte_frames_sent_total", outcome="faded") == 1
    assert value(counted, "marotte_fallback_frames_total", reason="worker away") == 1


def test_the_rest_is_counted() -> None:
    """One event, one count, in the series of its labels."""
    counted = Metrics()
    counted.frame_received()
    counted.frame_dropped("late")
    counted.encoded("vp8", 0.004, 5000, True)
    counted.encoded("vp8", 0.002, 700, False)
    counted.encoder_opened("h264", "size")
    counted.round_trip(0.07)
    counted.source_added("NoFaceError")
    counted.refused("origin")
    counted.session_opened("demo")
    counted.enrolling(True)
    counted.enrolled("failed")
    for name, labels, expected in (
        ("marotte_frames_received_total", {}, 1),
        ("marotte_frames_dropped_total", {"reason": "late"}, 1),
        ("marotte_encode_seconds_count", {"codec": "vp8"}, 2),
        ("marotte_encoded_bytes_total", {"codec": "vp8"}, 5700),
        ("marotte_keyframes_total", {"codec": "vp8"}, 1),
        ("marotte_encoders_opened_total", {"codec": "h264", "reason": "size"}, 1),
        ("marotte_round_trip_seconds_count", {}, 1),
        ("marotte_sources_total", {"outcome": "NoFaceError"}, 1),
        ("marotte_requests_refused_total", {"reason": "origin"}, 1),
        ("marotte_sessions_opened_total", {"driver": "demo"}, 1),
        ("marotte_sessions", {}, 1),
        ("marotte_enrolling", {}, 1),
        ("marotte_enrolments_total", {"outcome": "failed"}, 1),
    ):
        assert value(counted, name, **labels) == expected, name
    counted.session_closed("stopped")
    counted.session_closed("stopped")
    assert value(counted, "marotte_sessions") == 0, "never below none"


def test_a_bitrate_ends_with_its_session() -> None:
    """The gauge is the sum of the open encoders in bytes; 0 takes a session out, and so does the last one's end."""
    counted = Metrics()
    counted.session_opened("camera")
    counted.session_opened("camera")
    counted.bitrate("a", "vp8", 800_000)
    counted.bitrate("b", "vp8", 1_600_000)
    counted.bitrate("a", "vp8", 1_000_000)
    name = "marotte_encoder_target_bytes_per_second"
    assert value(counted, name, codec="vp8") == 325_000
    counted.bitrate("a", "vp8", 0)
    assert value(counted, name, codec="vp8") == 200_000
    counted.bitrate("b", "h264", 80_000)
    assert value(counted, name, codec="vp8") == 0
    assert value(counted, name, codec="h264") == 10_000
    counted.session_closed("page")
    counted.session_closed("page")
    assert value(counted, name, codec="h264") == 0


def test_a_workers_restarts_only_rise() -> None:
    """The state is one of five, and a status that is told twice counts once."""
    counted = Metrics()
    counted.worker(WorkerStatus(State.READY, {"crashed": 1}))
    counted.worker(WorkerStatus(State.REPLACING, {"crashed": 2, "hung": 1}))
    counted.worker(WorkerStatus(State.REPLACING, {"crashed": 2, "hung": 1}))
    assert value(counted, "marotte_worker_restarts_total", reason="crashed") == 2
    assert value(counted, "marotte_worker_restarts_total", reason="hung") == 1
    states = {state: value(counted, "marotte_worker_state", state=state.value) for state in State}
    assert [state for state, set_ in states.items() if set_] == [State.REPLACING]


def test_no_series_grows_with_what_comes_in() -> None:
    """A thousand sessions, and words from outside in every label, leave the series that were there at the start."""
    counted = Metrics()
    names = re.compile(rb"^marotte\S*", re.M)
    before = names.findall(counted.render())
    for number in range(1000):
        word = f"word {number}"
        counted.session_opened(word)
        counted.bitrate(word, word, 1000)
        counted.frame_dropped(word)
        counted.frame_left(report(Outcome.FADED, word), 0.1, {word: 0.1})
        counted.fallback_left(word, word)
        counted.encoded(word, 0.1, 10, True)
        counted.encoder_opened(word, word)
        counted.source_added(word)
        counted.refused(word)
        counted.session_closed(word)
        counted.enrolled(word)
    assert names.findall(counted.render()) == before
    assert value(counted, "marotte_encoders_opened_total", codec="other", reason="other") == 1000
    assert value(counted, "marotte_requests_refused_total", reason="other") == 1000
    for number in range(1000):
        counted.bitrate(f"lost {number}", "vp8", 8)
    assert value(counted, "marotte_encoder_target_bytes_per_second", codec="vp8") == 256


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), float("-inf"), -0.5])
def test_a_damaged_time_spoils_no_sum(seconds: float) -> None:
    """One NaN in a sum would stay for ever; a clock that stepped back counts as no time."""
    counted = Metrics()
    counted.frame_left(report(lag_s=seconds), seconds, {"track": seconds})
    counted.encoded("vp8", seconds, -5, False)
    counted.round_trip(seconds)
    for name, labels in (
        ("marotte_frame_age_seconds_sum", {}),
        ("marotte_stage_seconds_sum", {"stage": "track"}),
        ("marotte_filter_lag_seconds_sum", {}),
        ("marotte_encode_seconds_sum", {"codec": "vp8"}),
        ("marotte_encoded_bytes_total", {"codec": "vp8"}),
        ("marotte_round_trip_seconds_sum", {}),
    ):
        assert value(counted, name, **labels) == 0, name


def test_threads_lose_no_count() -> None:
    """Eight threads at once, while another one reads."""
    counted = Metrics()

    def work(number: int) -> None:
        for _ in range(500):
            counted.session_opened("camera")
            counted.frame_left(report(), 0.01, {"track": 0.01})
            counted.bitrate(str(number), "vp8", 8)
            counted.session_closed("page")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        counted.render()
    for thread in threads:
        thread.join()
    assert value(counted, "marotte_frames_sent_total", outcome="generated") == 4000
    assert value(counted, "marotte_stage_seconds_count", stage="track") == 4000
    assert value(counted, "marotte_sessions") == 0


def test_two_servers_count_apart() -> None:
    """The registry is the server's own, not the process's."""
    one, other = Metrics(), Metrics()
    one.frame_received()
    assert value(one, "marotte_frames_received_total") == 1
    assert value(other, "marotte_frames_received_total") == 0


def test_every_word_in_the_code_has_its_series() -> None:
    """What the live path says as a reason or stage is listed, so that nothing of ours counts as other."""
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("streaming", "engine")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        if path.name not in ("metrics.py", "trust_metrics.py", "measured.py")
    )
    for pattern, known in (
        (r'\.frame_dropped\("([^"]+)"\)', metrics.DROPPED),
        (r'seconds\["([^"]+)"\] =', (*metrics.STAGES, "run", "all")),  # the last two: engine/bench.py
        (r'measure\(\w+, \{"(\w+)"', metrics.STAGES),
        (r'Timed\(\w+, "([^"]+)"', metrics.STAGES),
        (r'encoder_opened\(\S+ "([^"]+)"\)', metrics.OPENED),
        (r'\._end(?:_by_itself)?\("([^"]+)"\)', metrics.CLOSED),
        (r'\.close\("([^"]+)"\)', metrics.CLOSED),
    ):
        assert set(re.findall(pattern, code)) <= set(known), pattern
