"""The figures of a bundle: words, sheets, and what is on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marotte
from engine.bundle import CropRule, Extractor, Parameters
from engine.errors import ConfigError, ManifestError, UneditedError
from engine.evaluate.changers import Changed
from engine.expressions import EXPRESSIONS
from engine.media import open_media, read_picture, write_picture
from engine.puppet import Opening
from engine.sweep import film, strengths
from engine.sweep.asked import Ends, learnt, random_sets, vector
from engine.sweep.paper import GROUND, Block, Cell, Row, clipped, measured, sheet
from engine.sweep.run import Wanted, sweep, unique_names
from engine.sweep.views import flow_picture, grey, head_crop, sampled
from engine.sweep.words import au_names, au_set
from engine.types import AU_NAMES, U8, Controls, Mode
from tests.engine.bundle_files import write_ganimation, write_geogan, write_maskgan
from tests.engine.request_fakes import SIDE, SpotTracker, picture, somebody
from tests.engine.stit_files import write_stit

ENDS = Ends("source", "happiness", None, EXPRESSIONS["happiness"])


def test_units_are_read_as_they_are_typed() -> None:
    """Numbers or names, each once, in their order."""
    assert au_names("12, AU25,au4,12") == ("AU12", "AU25", "AU04")
    for wrong in ("", "3", "12;25", "AU", "12,,25", "²", "1e1", "-12"):
        with pytest.raises(ConfigError, match="aus"):
            au_names(wrong)


def test_an_expression_is_a_name_or_a_sum() -> None:
    """Named ones scale; a sum gives each unit its own intensity; what is neither is refused with the nearest name."""
    assert au_set("happiness=0.5") == {"AU06": 0.5, "AU12": 0.5}
    assert au_set("1+2=0.5+AU26=0") == {"AU01": 1.0, "AU02": 0.5, "AU26": 0.0}
    with pytest.raises(ConfigError, match="happiness"):
        au_set("hapiness")
    for wrong in ("12=2", "12=-1", "12=x", "12+", "fear=nan", "99"):
        with pytest.raises(ConfigError):
            au_set(wrong)


def test_an_interpolation_is_linear_between_whole_expressions() -> None:
    """alpha y_g + (1 - alpha) y_r; a named expression sets every unit, the source's own is as measured."""
    subject = somebody(jaw=0.8)
    own, end = subject.reading.aus, vector(EXPRESSIONS["happiness"], subject)
    assert end.sum() == 2.0
    assert np.array_equal(ENDS.between(subject, 0.0), own)
    assert np.allclose(ENDS.between(subject, 0.25), 0.75 * own + 0.25 * end)
    assert np.array_equal(ENDS.between(subject, 1.0), end)


def test_random_expressions_are_the_same_for_a_seed() -> None:
    """A sheet can be drawn again; every set is of units that the bundle knows."""
    sets = random_sets(3, 20, ("AU12", "AU25"))
    assert sets == random_sets(3, 20, ("AU12", "AU25")) != random_sets(4, 20, ("AU12", "AU25"))
    assert all(set(one) == {"AU12", "AU25"} and 0.3 <= min(one.values()) <= 1.0 for one in sets)
    assert all(2 <= len(one) <= 3 for one in random_sets(1, 50))


def test_a_random_expression_asks_for_what_could_be_learnt() -> None:
    """A unit that the extractor never sees was 0 in every picture of the training: what the network makes of it says
    nothing. Another extractor sees its own units, and a generator without a bundle was taught none."""
    ours, other = Extractor("marotte-geometry", "1", "static"), Extractor("openface", "2", "static")

    def bundle(extractor: Extractor | None, aus: tuple[str, ...] = ("AU06", "AU07", "AU12")) -> Parameters:
        return Parameters(CropRule("face", 64), aus, extractor, None, frozenset({Mode.EDIT}), {})

    assert learnt(bundle(ours)) == ("AU12",)
    assert learnt(bundle(other)) == learnt(bundle(None)) == ("AU06", "AU07", "AU12")
    assert learnt(bundle(ours, ("AU06",))) == ("AU06",)
    assert learnt(None) == AU_NAMES
    assert set(AU_NAMES) - set(learnt(bundle(ours, AU_NAMES))) == {"AU06", "AU07"}


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["a"], "a"),
        (["--bundle", "a"], "a"),
        (["a", "--bundle", "a"], "a"),
        (["--source", "s", "a"], "a"),
        ([], "mesh_flow"),
        (["a", "--bundle", "b"], None),
    ],
)
def test_a_bundle_is_named_as_elsewhere_or_first(
    words: list[str], asked: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind --bundle as every command takes it, or at once; two different ones are one clear line."""
    called: list[str] = []
    monkeypatch.setattr("engine.sweep.run.sweep", lambda bundle, *_, **__: called.append(bundle) or [])
    monkeypatch.setattr("engine.evaluate.request_run.parameters_of", lambda bundle: None)
    status = marotte.main(["sweep", *words, "--source", "s"])
    assert (status, called) == ((0, [asked]) if asked else (2, []))
    told = capsys.readouterr().err
    assert told == ("" if asked else "marotte: bundle: got 'a' and --bundle 'b', expected one of them\n")


def test_a_sheet_has_each_picture_in_its_place() -> None:
    """Rows below each other, columns beside each other, the ground where a cell is empty."""
    red, blue = (np.full((50, 50, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    block = Block("heading", ["a", "b"], [Row("one", [Cell(red), None]), Row("two", [Cell(blue), Cell(red)])])
    drawn = sheet("title", "a note", [block], 50)
    reds, blues = (np.argwhere((drawn == colour).all(2)) for colour in ((255, 0, 0), (0, 0, 255)))
    assert len(reds) == 2 * 2500
    assert len(blues) == 2500
    assert blues.min(0)[0] > reds.min(0)[0] + 50
    assert blues.min(0)[1] == reds.min(0)[1]
    assert reds.max(0)[1] == blues.max(0)[1] + 56
    assert tuple(drawn[0, 0]) == GROUND
    with pytest.raises(ConfigError, match="fewer"):
        sheet("", "", [Block("", [], [Row("", [Cell(red)] * 600)])], 500)


def test_text_stays_within_its_cell() -> None:
    """A long caption ends in dots before its neighbour begins."""
    long = "12=0.5  14=0.9  15=0.3  25=0.9"
    cut = clipped(long, 100, 13)
    assert cut.endswith("...")
    assert measured(cut, 13) <= 100
    assert clipped("12", 100, 13) == "12"


def test_maps_become_pictures() -> None:
    """No motion is white; a shift of one direction is of one hue; a flow of a grid unit samples half a side away."""
    still = np.zeros((2, 8, 8), np.float32)
    assert (flow_picture(still) == 255).all()
    moved = still.copy()
    moved[0] = 0.5
    assert len(np.unique(flow_picture(moved).reshape(-1, 3), axis=0)) == 1
    assert grey(np.array([[0.0, 1.0, 2.0]]))[0, :, 0].tolist() == [0, 255, 255]
    donor = np.zeros((9, 9, 3), np.uint8)
    donor[:, 4:] = 200
    flow = np.zeros((2, 9, 9), np.float32)
    flow[0] = 1.0  # half of 9 - 1 pixels
    assert (sampled(donor, flow)[:, 0] == 200).all()
    subject = somebody()
    middle = head_crop(subject, 100).matrix @ np.array([SIDE / 2, SIDE / 2, 1.0])
    assert middle == pytest.approx([49.5, 49.5], abs=3)


def test_files_of_one_name_keep_apart() -> None:
    """Two sources called alike give two sheets."""
    paths = [Path("a/x.png"), Path("b/x.jpg"), Path("y.png"), Path("c/x.webp")]
    assert unique_names(paths) == ["x", "x-2", "y", "x-3"]


# --- from a bundle to files -----------------------------------------------------------------------


class _NoSegmenter:
    def mask(self, rgb: U8) -> U8:
        return np.full(rgb.shape[:2], 255, np.uint8)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are those of request_fakes; videos are short."""
    monkeypatch.setattr(Opening, "detector", lambda self: SpotTracker())
    monkeypatch.setattr(Opening, "segmenter", lambda self: _NoSegmenter())
    for name, frames in (("_RISE", 3), ("_HOLD", 1), ("_FALL", 2), ("_MORPH", 2), ("_STAY", 1)):
        monkeypatch.setattr(film, name, frames)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "calm.png", tmp_path / "open.png"]
    write_picture(paths[0], picture())
    write_picture(paths[1], picture(jaw=0.9))
    return paths


def wanted(aus: Sequence[str] = ("AU12",), **options: Any) -> Wanted:
    return Wanted(aus, ENDS, random_sets(1, 2, ("AU12", "AU26")), **options)


def _has(drawn: U8, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(drawn.astype(int) - colour).max(2) <= 2).sum() > 500)


@pytest.mark.usefixtures("seen")
def test_a_bundle_that_is_asked_gives_a_sheet_and_a_video_per_source(
    sources: list[Path], tmp_path: Path
) -> None:
    """The closed form paints red for AU12: it stands on the sheet as output and colour, with a black attention."""
    bundle, out, told = write_ganimation(tmp_path / "bundle"), tmp_path / "out", []
    files = sweep(str(bundle), sources, out, wanted(), progress=lambda *at: told.append(at))
    assert [file.name for file in files] == ["calm.png", "calm.mp4", "open.png", "open.mp4"]
    drawn = read_picture(out / "calm.png")
    assert _has(drawn, (255, 0, 0))
    assert _has(drawn, (0, 0, 0))
    with open_media(out / "calm.mp4") as media:
        assert sum(1 for _ in media) == film.asked_frames(["AU12"], [1, 2])
    assert told[-1][0] == told[-1][1] == len(told)


@pytest.mark.usefixtures("seen")
def test_a_bundle_that_takes_donors_gives_one_sheet_of_all(sources: list[Path], tmp_path: Path) -> None:
    """Targets by donors without those of themselves; a single face is told that it needs a donor."""
    bundle = write_geogan(tmp_path / "bundle", mask=0.5, flow=(0.1, 0.0))
    told: list[Any] = []
    files = sweep(str(bundle), sources, tmp_path / "out", wanted(), progress=lambda *at: told.append(at))
    assert [file.name for file in files] == ["transfer.png", "transfer.mp4"]
    assert told[-1][0] == told[-1][1] == len(told)
    assert _has(read_picture(files[0]), (128, 128, 128))  # the mask
    with pytest.raises(ConfigError, match="donor"):
        sweep(str(bundle), sources[:1], tmp_path / "other", wanted())
    more = sweep(str(bundle), sources[:1], tmp_path / "more", wanted(video=False), donors=sources[1:])
    assert [file.name for file in more] == ["transfer.png"]


@pytest.mark.usefixtures("seen")
def test_edits_with_strengths_have_a_row_each(sources: list[Path], tmp_path: Path) -> None:
    """A person's directions from one end of their reach to the other, without rows of action units that nothing heeds;
    parts of a layout above those that it does heed."""
    told: list[Any] = []
    person = write_stit(tmp_path / "person", facts={"edits_high": [1.0, 1.0]})
    files = sweep(
        str(person),
        sources[:1],
        tmp_path / "p",
        wanted(),
        mode="edit",
        progress=lambda *at: told.append(at),
    )
    assert [file.name for file in files] == ["calm.png"]
    assert told[-1] == (10, 10)
    drawn = wanted(video=False)
    files = sweep(
        str(write_maskgan(tmp_path / "m")),
        sources[:1],
        tmp_path / "o",
        drawn,
        progress=lambda *at: told.append(at),
    )
    assert [file.name for file in files] == ["calm.png"]
    assert told[-1][0] == told[-1][1] == len(told) - 10 > 6 * 5


def test_an_edit_is_asked_for_within_its_reach() -> None:
    """Shares of either side of an uneven reach; an edit that was refused leaves the source, and says so."""
    dial = strengths.Dial("directions", "smile", -2.0, 4.0)
    assert [dial.at(share) for share in strengths.SHARES] == [-2.0, -1.0, 0.0, 2.0, 4.0]
    subject, asked = somebody(), []

    def made(controls: Controls) -> Changed:
        asked.append(controls.directions["smile"])
        if controls.directions["smile"] > 3:
            raise UneditedError("nothing moved")
        return Changed(np.full_like(subject.rgb, 40), None)

    block = strengths.block(subject, made, [dial], lambda: None)
    assert asked == [-2.0, -1.0, 0.0, 2.0, 4.0]
    assert [cell.caption for cell in block.rows[0].cells if cell] == [
        "",
        "-2",
        "-1",
        "0",
        "2",
        "4: nothing changed",
    ]
    assert not np.array_equal(block.rows[0].cells[4].picture, block.rows[0].cells[5].picture)


@pytest.mark.usefixtures("seen")
def test_what_cannot_be_drawn_is_told_before_anything_is_written(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and status 2 for each, and no folder left behind."""
    bundle = str(write_ganimation(tmp_path / "bundle", aus=("AU12", "AU26"), modes=["puppet"]))
    out, source = tmp_path / "out", str(sources[0])
    lines = {
        ("sweep", "mesh_flo", "--source", source): "mesh_flow",
        ("sweep", bundle, "--source", source, "--aus", "45"): "AU45",
        ("sweep", bundle, "--source", source, "--aus", "3"): "aus",
        ("sweep", bundle, "--source", source, "--aus", "12", "--mode", "edit"): "puppet",
        ("sweep", bundle, "--source", source, "--aus", "12", "--donor", source): "donor",
        ("sweep", bundle, "--source", source, "--aus", "12", "--to", "joi"): "happiness",
        ("sweep", bundle, "--source", source, "--aus", "12", "--seed", "-1"): "seed",
        ("sweep", bundle, "--source", str(tmp_path / "no.png"), "--aus", "12"): "no.png",
    }
    for line, named in lines.items():
        assert marotte.main([*line, "--out", str(out)]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert named in told[-1]
        assert not out.exists()
    for place in (source, f"{source}/below"):
        assert marotte.main(["sweep", bundle, "--source", source, "--aus", "12", "--out", place]) == 2
        assert "is a file; expected the name of a folder" in capsys.readouterr().err
    manifest = Path(bundle) / "manifest.json"
    manifest.write_text("{", "utf-8")
    with pytest.raises(ManifestError):
        sweep(bundle, sources, out, wanted())
    assert not out.exists()
