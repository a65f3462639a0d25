"""Off-line on an enrolled clip: ablations, costs of stitching by both ways, edits that bundles offer, `--paper`."""

# ruff: noqa: F811 - fixtures of other files are taken by their names

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import marotte
from engine.bundle import open_bundle
from engine.errors import ConfigError, InputError
from engine.media import open_media, read_picture
from export.enrol.ablations import COLUMNS, VARIANTS, Ablations, ablate
from export.enrol.comparison import Comparison, Costs, compare
from export.enrol.edits import EditFiles, TextEdit, reaches_of, read_edits
from export.enrol.inverting import invert
from export.enrol.moving import moving, style_directions
from export.enrol.paper import Networks, Scene
from export.enrol.person import KEPT, Person, keep, kept
from export.enrol.samples import fitted, looked_at, survey
from export.enrol.tracking import Alignment, track, track_again, write_crops
from tests.export.test_enrol import SIDE, clip, marks, silent  # noqa: F401 - fixtures
from tests.export.test_enrol_paper import DIRECTIONS, networks  # noqa: F401 - a fixture
from trainers.errors import CheckpointError
from trainers.stit.clip import Clip
from trainers.stit.directions import StyleDirection, offset_of, synthesised
from trainers.stit.live import LiveSynthesis, Stopped
from trainers.stit.stitching import Reach, Stitching

CHANNELS = 7 * 8
FEW = Stitching(steps=3, learning_rate=0.02)


@pytest.fixture
def scene(clip: Path, marks: Path, networks: Networks, tmp_path: Path) -> Scene:
    tracked = track(clip, tmp_path / "work", silent, marks)
    return Scene(clip, tracked, Alignment(SIDE), networks, DIRECTIONS)


# --- ablations -------------------------------------------------------------------------------------


def test_the_ablations_make_one_sheet_and_one_table(scene: Scene, tmp_path: Path) -> None:
    """Every variant is rendered and measured; one that was done is found again, and only the missing one is made."""
    out = tmp_path / "ablations"
    asked = Ablations(out, {"smile": 2.0}, 3, FEW)
    lines = ablate(scene, asked, silent)
    with (out / "borders.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == [one.name for one in VARIANTS]
    assert tuple(rows[0]) == COLUMNS
    border = {row["variant"]: float(row["border"]) for row in rows}
    assert border["paper"] < border["no stitching"], "stitching lowers it"
    assert {float(row["stitch_ms"]) == 0.0 for row in rows if row["variant"] == "no stitching"} == {True}
    seams = {row["variant"]: float(row["seam"]) for row in rows}
    assert seams["paper"] == border["paper"]
    assert seams["no mask"] != border["no mask"], "the whole square has another edge"
    assert {row["jitter"] for row in rows} == {""}, "two frames with a face have no second difference"
    assert "| paper |" in (out / "borders.md").read_text()
    assert any("no mask" in line for line in lines)
    height, width, _ = read_picture(out / "sheet.png").shape
    assert width > 2 * 256
    assert height > (1 + len(VARIANTS)) * 200
    with open_media(out / "no_mask" / "video.mp4") as media:
        assert sum(1 for _ in media) == 3
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/video.mp4")}
    (out / "paper" / "result.json").write_text("{")
    assert ablate(scene, asked, silent)[1:] != []
    anew = {path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert anew == {"paper"}
    with pytest.raises(ConfigError, match="did you mean 'smile'"):
        ablate(scene, dataclasses.replace(asked, strengths={"smlie": 1.0}), silent)
    with pytest.raises(ConfigError, match="no face in the first 1 frames"):
        ablate(scene, dataclasses.replace(asked, most=1), silent)


# --- comparison ------------------------------------------------------------------------------------


def test_costs_are_counted_to_the_step_of_equal_error() -> None:
    """Frame by frame as many steps as are needed, amortised the passes once; the synthesis is that of any rendering."""
    costs = Costs(1.0, 0.4, [1.0, 0.7, 0.5, 0.4, 0.3], passes_s=10.0, step_s=0.5, synthesis_s=0.1)
    assert costs.steps == 3
    assert costs.framewise_s(100) == pytest.approx(150.0)
    assert costs.ratio(100) == pytest.approx(15.0)
    assert costs.frames_for(15.0) == 100
    assert costs.frames_for(15.1) == 101
    assert dataclasses.replace(costs, amortised=1.0).frames_for(1.0) is None
    never = dataclasses.replace(costs, amortised=0.1)
    assert (never.steps, never.framewise_s(1)) == (None, pytest.approx(2.0))
    assert "never as low" in never.lines([300])[1]
    assert costs.table([100])["costs"][0]["ratio"] == pytest.approx(15.0)


def test_both_ways_are_measured_on_an_enrolment(scene: Scene, tmp_path: Path) -> None:
    """Per-frame courses fall and are found again; without border passes there is nothing to compare."""
    work = tmp_path / "work"
    write_crops(scene.clip, scene.tracked, work, scene.alignment, silent)
    invert(work, scene.networks.inversion, silent, torch.device("cpu"))
    opened, asked = Clip(work), Comparison(tmp_path / "compared", {"smile": 2.0}, 2, FEW)
    with pytest.raises(ConfigError, match="no border passes"):
        compare(scene, opened, asked, silent)
    made = dataclasses.replace(scene.networks.made, seconds={"stitching": 2.0})
    timed = dataclasses.replace(scene, networks=dataclasses.replace(scene.networks, made=made))
    lines = compare(timed, opened, asked, silent)
    assert "border error" in lines[0]
    table = json.loads((asked.out / "stitching.json").read_text())
    assert len(table["course"]) == 4
    assert table["course"][-1] < table["course"][0] == pytest.approx(table["border_before"], rel=1e-4)
    assert [one["frames"] for one in table["costs"]] == [4, 300]
    assert table["passes_cpu_s"] == 2.0
    courses = {path: path.stat().st_mtime_ns for path in (asked.out / "courses").iterdir()}
    assert len(courses) == 2
    compare(timed, opened, asked, silent)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in courses.items())


# --- edits -----------------------------------------------------------------------------------------


def test_frozen_rows_are_the_mean_of_the_clip(scene: Scene, tmp_path: Path) -> None:
    """In the codes of the enrolment, in a rendering, and live; another row asks for other codes."""
    work = tmp_path / "work"
    write_crops(scene.clip, scene.tracked, work, scene.alignment, silent)
    encoder = scene.networks.inversion
    invert(work, encoder, silent, torch.device("cpu"))
    free = np.load(work / "codes.npy")
    invert(work, encoder, silent, torch.device("cpu"), 5)
    still = np.load(work / "codes.npy")
    assert np.array_equal(still[:, :5], free[:, :5])
    assert still[:, 5:] == pytest.approx(np.broadcast_to(free[:, 5:].mean(0), still[:, 5:].shape), abs=1e-6)
    with pytest.raises(ConfigError, match=r"row 8, expected 0 \.\. 7"):
        invert(work, encoder, silent, torch.device("cpu"), 8)
    person = Clip(work).mean_code()
    plan = moving(person, (Reach("smile", -1, 1),), DIRECTIONS, 5)
    ws, none, ones = torch.ones(1, 8, 8), torch.zeros(1, 1), torch.ones(1, 1)
    moved = plan.module(ws, none, ws, none)
    assert torch.equal(moved[:, :5], ws[:, :5])
    assert torch.allclose(moved[:, 5:], person[:, 5:])
    smiled = plan.module(ws, 2 * ones, ws, none)
    assert torch.allclose(smiled - moved, torch.from_numpy(DIRECTIONS["smile"]).float().expand(1, 8, 8))


def test_strengths_of_styles_ride_in_a_row_behind_the_codes(networks: Networks) -> None:
    """From `moving` to the synthesis, which gives what edits of both spaces give."""
    numbers, generator = np.random.default_rng(2), networks.generator
    directions = {**DIRECTIONS, "grey": StyleDirection(numbers.normal(size=CHANNELS))}
    reaches = (Reach("grey", -3, 3), Reach("smile", -1, 1))
    styles = style_directions(reaches, directions)
    assert styles is not None
    plan = moving(torch.zeros(1, 8, 8), reaches, directions)
    assert plan.inputs[0].shape == (1, 9, 8)
    ws = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = torch.cat([ws, torch.zeros(1, 1, 8)], 1)
    with torch.no_grad():
        moved = plan.module(seen, torch.tensor([[1.5, -1.0]]), seen, torch.zeros(1, 1))
        assert moved[0, 8].tolist() == [1.5, *[0.0] * 7]
        wanted = synthesised(generator.synthesis, ws, offset_of(directions, {"grey": 1.5, "smile": -1.0}))
        for network in (LiveSynthesis(generator.synthesis, 32, styles), Stopped(generator, 32, styles)):
            assert torch.allclose(network(moved), wanted, atol=1e-4)
        pair = Stopped(generator, 32, styles)(torch.cat([seen, moved]))
        assert torch.allclose(pair[1:], wanted, atol=1e-4)
    assert style_directions(reaches[1:], directions) is None


def npy(path: Path, values: Any) -> Path:
    np.save(path, np.asarray(values, np.float64))
    return path


def test_styleclip_directions_are_read_by_command(networks: Networks, tmp_path: Path) -> None:
    """From statistics and the features of two texts; what is missing is told by its name."""
    statistics = npy(tmp_path / "fs3.npy", np.random.default_rng(0).normal(0, 0.4, (CHANNELS, 4)))
    texts = [npy(tmp_path / f"{name}.npy", row) for name, row in (("a", [1, 0, 0, 0]), ("b", [0, 1, 0, 0]))]
    one = TextEdit("grin", *map(str, texts))
    found = read_edits(EditFiles(None, (one,), statistics), networks.generator)["grin"]
    assert isinstance(found, StyleDirection)
    assert found.values.shape == (CHANNELS,)
    assert np.abs(found.values).max() == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"fs3\.npy by --statistics"):
        read_edits(EditFiles(None, (one,)), networks.generator)
    with pytest.raises(ConfigError, match="'a smile' is a text"):
        read_edits(
            EditFiles(None, (TextEdit("grin", str(texts[0]), "a smile"),), statistics), networks.generator
        )
    short = npy(tmp_path / "short.npy", [[2.0, 0, 0, 0]] * 3)
    with pytest.raises(CheckpointError, match="another generator"):
        read_edits(EditFiles(None, (one,), short), networks.generator)
    with pytest.raises(ConfigError, match="that hold 0"):
        reaches_of(["smile=1:3"])


def test_a_person_is_kept_whole(tmp_path: Path) -> None:
    """Mean, frozen row and directions of both spaces come back; a folder of nobody is told."""
    styled = StyleDirection(np.arange(3.0))
    keep(Person(torch.ones(1, 2, 3), 1, {"a/b": np.arange(3.0), "c": styled}), tmp_path)
    found = kept(tmp_path)
    assert (found.frozen, found.mean.tolist()) == (1, [[[1.0] * 3] * 2])
    assert np.array_equal(found.directions["a/b"], np.arange(3.0))
    assert isinstance(found.directions["c"], StyleDirection)
    (tmp_path / KEPT).write_bytes(b"no zip")
    with pytest.raises(InputError, match="enrol the clip again"):
        kept(tmp_path)


def test_another_clip_does_not_take_the_place_of_the_enrolled_one(
    clip: Path,
    marks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The enrolment's own tracking is found, by landmarks of a file as it is; another's goes into a folder below."""
    work = tmp_path / "work"
    first = track(clip, work, silent, marks)
    assert track_again(clip, work, silent).frames == first.frames
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    monkeypatch.setattr("export.enrol.tracking._tracked", lambda *given: first)
    track_again(other, work, silent)
    assert (work / "clips" / "other.mp4" / "track.npz").is_file()
    assert track_again(clip, work, silent).frames == first.frames


# --- samples ---------------------------------------------------------------------------------------


def test_samples_are_looked_at_enlarged_and_counted(networks: Networks) -> None:
    """Every one, by the seed; a finder of nobody finds none."""
    sizes = []

    class Nobody:
        def detect(self, rgb: np.ndarray, *, thorough: bool = True, passes: int = 1) -> tuple[()]:
            sizes.append((rgb.shape, thorough))
            return ()

    table, codes, signals, shown = survey(networks.generator, Nobody(), 5, 0.5)
    assert (table["found"], table["share"], table["psi"]) == (0, 0.0, 0.5)
    assert (codes.shape, signals.shape, len(shown)) == ((0, 8), (0, 5), 5)
    assert set(sizes) == {((256, 256, 3), False)}
    assert looked_at(np.zeros((300, 300, 3), np.uint8), Nobody()) is None
    assert sizes[-1][0] == (300, 300, 3)


def test_a_fitted_direction_moves_its_signal_by_one_standard_deviation() -> None:
    """Of a signal that is linear in the codes; too few samples, or a signal at rest, are told."""
    numbers = np.random.default_rng(0)
    codes, slope = numbers.normal(size=(4000, 6)) * [1, 2, 3, 1, 1, 1], np.array([2.0, 0, -1.0, 0, 0, 0])
    direction = fitted(codes, codes @ slope)
    assert direction @ slope == pytest.approx((codes @ slope).std(), rel=0.1)
    with pytest.raises(InputError, match="draw more"):
        fitted(codes[:40], codes[:40, 0])
    with pytest.raises(InputError, match="the same in all"):
        fitted(codes, np.ones(4000))


# --- the commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--paper", "nowhere"], "nowhere holds no enrolment"),
        (["--paper", "--output-size", "256"], "output-size: not with --paper"),
        (["--paper", "--source", "p.png"], "source: not with --paper"),
        (["--paper", "nowhere", "--direction", "smile"], "expected a name and a strength"),
    ],
)
def test_a_wrong_paper_rendering_is_one_line(
    words: list[str],
    said: str,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 2, before anything is tracked."""
    from tests.engine.stit_files import write_stit

    bundle = write_stit(tmp_path / "person")
    line = ["render", "--driver", str(clip), "--out", str(tmp_path / "o.mp4"), "--bundle", str(bundle)]
    assert marotte.main([*line, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_paper_wants_a_bundle_of_a_person(
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another system's is told by name."""
    line = ["render", "--driver", str(clip), "--out", str(tmp_path / "o.mp4"), "--paper"]
    assert marotte.main([*line, "--bundle", "ganimation_small"]) == 2
    assert "is of ganimation" in capsys.readouterr().err


@pytest.mark.full
def test_an_enrolment_is_rendered_compared_and_exported_again(
    clip: Path,
    marks: Path,
    stit: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With edits of both spaces and frozen rows: bundle, ablations and comparison at once; then `render --paper`, and
    another bundle of the same person with another reach, without a tuning."""
    weights = stit(widths=[8, 8, 8, 8])
    (tmp_path / "d").mkdir()
    npy(tmp_path / "d" / "smile.npy", np.full((18, 8), 0.3))
    statistics = npy(tmp_path / "fs3.npy", np.random.default_rng(0).normal(0, 0.4, (CHANNELS, 4)))
    texts = [npy(tmp_path / f"{name}.npy", row) for name, row in (("a", [1, 0, 0, 0]), ("b", [0, 1, 0, 0]))]
    out = tmp_path / "person"
    line = [
        *("enrol", "stit", str(clip), "--weights", str(weights), "--out", str(out), "--device", "cpu"),
        *("--landmarks", str(marks), "--directions", str(tmp_path / "d"), "--edit", "smile=-2:2"),
        *("--styleclip", f"grin={texts[0]},{texts[1]}", "--statistics", str(statistics)),
        *("--edit", "grin=-3:3", "--freeze", "6", "--set", "pivotal.passes=1"),
        *("--set", "pivotal.perceptual=gradient", "--set", "stitching.steps=3"),
        *("--strength", "smile=1", "--strength", "grin=2", "--stitch-steps", "2"),
        *("--ablations", str(tmp_path / "ablations"), "--ablation-frames", "3"),
        *("--compare", str(tmp_path / "compared"), "--compare-frames", "2"),
    ]
    assert marotte.main(line) == 0
    said = capsys.readouterr().out
    assert "border error of grin 3" in said
    assert "| no mask |" in said
    assert "times cheaper" in said
    graphs = open_bundle(out).manifest.graphs
    assert {port.name: port.shape for port in graphs["e4e"].outputs} == {"ws": (1, 9, 8)}
    film = tmp_path / "film.mp4"
    paper = ["render", "--driver", str(clip), "--bundle", str(out), "--out", str(film), "--paper"]
    assert (
        marotte.main(
            [*paper, "--direction", "grin=1", "--stitch-steps", "1", "--report", str(tmp_path / "r")]
        )
        == 0
    )
    assert "rendered 6 frames, 4 of them edited" in capsys.readouterr().out
    assert json.loads((tmp_path / "r").read_text())["edited"] == 4
    again = tmp_path / "again"
    enrolled = tmp_path / "person.enrolment" / "enrolled"
    export = ["export", str(enrolled), "--out", str(again), "--no-frame-graph", "--licence", "CC0-1.0"]
    assert marotte.main([*export, "--edit", "grin=-1:1"]) == 0
    facts = open_bundle(again).manifest.parameters.facts
    assert (facts["edits"], facts["edits_high"]) == (["grin"], [1.0])
    assert marotte.main([*export, "--edit", "frown=-1:1"]) == 2
    assert "frown" in capsys.readouterr().err
