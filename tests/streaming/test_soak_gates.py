"""The soak's gates, closed over rows that leak, age or stay as they are; and its command, for a minute."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.streaming.soak import options_of, soak
from tests.streaming.soak_gates import Row, age_s, judged, slope_mb

FLAT = Row(
    0.0, 900.0, 400.0, 80, 75, 40, 4, 1.0, 40.0, 0.0, 0, ((0.05, 0.0), (0.1, 0.0), (float("inf"), 0.0))
)
REST = {"fds": 20, "tasks": 1}


def rows(minutes: float, leak_mb: float = 0.0, threads: float = 0.0, late: float = 0.0) -> list[Row]:
    """A look every ten seconds. leak_mb: in ten minutes. threads: more each minute. late: from minute 20 on, the share
    of frames that are slow."""
    made, quick, slow = [], 0.0, 0.0
    for number in range(int(minutes * 6)):
        at = 10.0 * number
        quick, slow = (quick + 400 * (1 - late), slow + 400 * late) if at > 1200 else (quick + 400, slow)
        ages = ((0.05, quick), (0.1, quick + slow), (float("inf"), quick + slow))
        warm = 100.0 * (at < 300)
        row = replace(
            FLAT,
            at_s=at,
            rss_mb=900.0 + leak_mb * at / 600 - warm + 5 * (number % 3),
            threads=80 + int(threads * at / 60),
            ages=ages,
        )
        made.append(row)
    return made


def failed(of: list[Row], at_end: dict[str, int] | None = None) -> set[str]:
    return {line.partition(":")[0] for line in judged(of, REST, at_end or REST)[1]}


def test_what_stays_as_it_is_passes() -> None:
    """Memory that grows while it warms up, and looks that fall into a reconnect, are no leak."""
    assert failed(rows(60)) == set()
    assert slope_mb(rows(60)) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(
    ("gate", "leaks"),
    [("memory", {"leak_mb": 1.5}), ("threads", {"threads": 0.2}), ("age", {"late": 0.3})],
)
def test_each_gate_fails_for_what_it_is_there_for(gate: str, leaks: dict[str, float]) -> None:
    """And for nothing else."""
    assert failed(rows(60, **leaks)) == {gate}


def test_what_is_left_at_rest_fails_however_short() -> None:
    """What is held when no session is open is the same number before and after; the rest needs time to be judged."""
    assert failed(rows(1), {"fds": 21, "tasks": 1}) == {"at rest"}
    assert failed(rows(1, leak_mb=500, threads=5)) == set()
    assert all(
        "too short" in line for line in judged(rows(1), REST, REST)[0] if not line.startswith("at rest")
    )


def test_ages_are_read_from_the_histogram_between_two_looks() -> None:
    """Of the frames of that time alone, straight within a bucket."""
    early = replace(FLAT, ages=((0.05, 100.0), (0.1, 100.0), (float("inf"), 100.0)))
    late = replace(early, at_s=60.0, ages=((0.05, 150.0), (0.1, 200.0), (float("inf"), 200.0)))
    assert age_s([early, late], 0.5, 0, 60) == pytest.approx(0.05)
    assert age_s([early, late], 0.75, 0, 60) == pytest.approx(0.075)
    assert age_s([early], 0.5, 0, 60) is None


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="what is held is read from /proc")
def test_a_minute_of_several_sessions_leaves_nothing_behind(
    models: None, faces_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command's short form: what the server holds when nothing is open is the same before and after, every call
    came about, no worker was replaced; what a minute cannot judge is said to be too short."""
    driver = faces_root / "drivers" / "man_wide_mouth_frontal.mp4"
    line = ["--minutes", "1", "--reconnect-s", "10", "--driver", str(driver), "--out", str(tmp_path / "soak")]
    told, failed = soak(options_of(line), lambda line: None)
    with capsys.disabled():
        print("\n" + "\n".join(told))
    assert failed == []
    assert (tmp_path / "soak" / "soak.svg").read_text(encoding="utf-8").startswith("<svg")
    assert len((tmp_path / "soak" / "soak.csv").read_text(encoding="utf-8").splitlines()) > 5
