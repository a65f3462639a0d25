"""The bench: what it writes, how it scales, how two are compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import bench
from engine.errors import ConfigError
from tests.engine.bundle_files import write_ganimation


@pytest.mark.usefixtures("models")
def test_every_stage_is_measured_and_scaled(tmp_path: Path) -> None:
    """bench.json holds median and p95 per stage, also scaled to the reference core, and what ran them."""
    result = bench.run_bench(tmp_path, frames=25)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content == result.content
    assert set(content["stages"]) == set(bench.STAGES)
    scale = bench.REFERENCE_REMAP_MS / content["calibration"]["remap_ms"]
    for stage, figures in content["stages"].items():
        assert 0 < figures["median_ms"] <= figures["p95_ms"] or stage == "occlusion"
        assert figures["median_scaled_ms"] == pytest.approx(figures["median_ms"] * scale)
    assert content["backend"]["reason"]
    assert content["versions"]["numpy"]
    assert "scaled" in str(result)


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("mode", [pytest.param("puppet", marks=pytest.mark.full), "edit"])
def test_a_bundle_is_measured_in_both_of_its_modes(mode: str, tmp_path: Path) -> None:
    """The same stages for a network's portrait and for the driver's own face, with what stands in front of it as live;
    what was measured stands in the file."""
    folder = str(write_ganimation(tmp_path / "closed_form"))
    content = bench.run_bench(tmp_path, bundle=folder, mode=mode, frames=25).content
    assert (content["bundle"], content["mode"], content["frames"]) == ("closed_form", mode, 25)
    assert content["stages"]["run"]["median_ms"] > 0
    assert content["stages"]["occlusion"]["median_ms"] > 0


@pytest.mark.usefixtures("models")
def test_a_bench_of_what_a_bundle_cannot_do_is_refused(tmp_path: Path) -> None:
    """Before anything is measured."""
    folder = str(write_ganimation(tmp_path / "closed_form"))
    with pytest.raises(ConfigError, match="cannot take an attribute away"):
        bench.run_bench(tmp_path, bundle=folder, mode="edit", remove=True)


def test_the_calibration_is_a_few_positive_milliseconds() -> None:
    """The figure of this core is CPU time of real work."""
    seconds = bench.remap_seconds(5)
    assert len(seconds) == 5
    assert all(0 < one < 1 for one in seconds)


def written(path: Path, median: float) -> Path:
    stages = {stage: {"median_scaled_ms": median} for stage in bench.STAGES}
    path.write_text(json.dumps({"stages": stages}))
    return path


def test_comparing_gives_ratios(tmp_path: Path) -> None:
    """B / A per stage, on scaled figures, so that two machines can be compared."""
    table = bench.compare(written(tmp_path / "a.json", 4.0), written(tmp_path / "b.json", 5.0))
    rows = table.splitlines()[1:]
    assert len(rows) == len(bench.STAGES)
    assert all(row.split()[-1] == "1.250" for row in rows)


def test_comparing_something_else_is_refused(tmp_path: Path) -> None:
    """A file that is no bench is one line of error."""
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(ConfigError, match="marotte bench"):
        bench.compare(other, tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="frames"):
        bench.run_bench(tmp_path, frames=3)


@pytest.mark.parametrize("median", ['"4"', "null", "NaN", "-1", "true", "[]", "1" + "0" * 400])
def test_comparing_what_is_damaged_is_refused(median: str, tmp_path: Path) -> None:
    """What is no figure, or no table of them, is one line of error whatever it is instead."""
    damaged = written(tmp_path / "damaged.json", 4.0)
    damaged.write_text(damaged.read_text().replace("4.0", median))
    good = written(tmp_path / "good.json", 4.0)
    for name, text in (("deep", "[" * 100_000), ("flat", '{"stages": 3}'), ("list", "[]"), ("none", "null")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=name):
            bench.compare(good, tmp_path / name)
    with pytest.raises(ConfigError, match="damaged"):
        bench.compare(damaged, damaged)


def test_comparing_reads_the_file_that_was_named(tmp_path: Path) -> None:
    """d.txt is d.txt, even beside a d.json."""
    good = written(tmp_path / "d.json", 4.0)
    (tmp_path / "d.txt").write_text("text")
    with pytest.raises(ConfigError, match=r"d\.txt"):
        bench.compare(good, tmp_path / "d.txt")


def test_memory_is_known_here_or_none() -> None:
    """Resident memory is in megabytes where the system tells it."""
    memory = bench.resident_mb()
    assert memory is None or 10 < memory < 100_000
