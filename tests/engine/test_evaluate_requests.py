"""What a generator does to requested AUs, on a face that is exactly known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.errors import ConfigError, PortError
from engine.evaluate import effects, request_run
from engine.evaluate.changers import Changed, InCrop, Plain
from engine.evaluate.items import Tools
from engine.evaluate.pairs import ClipPairs, Target, judge_pairs
from engine.evaluate.request_run import evaluate_requests
from engine.evaluate.requests import judge, lines, mean_of, measure
from engine.evaluate.subjects import Subject, read
from engine.evaluate.transfers import DonorInCrop, couples, judge_removal, judge_transfer
from engine.media import write_picture
from engine.types import AU_NAMES, F32, U8
from tests.engine.request_fakes import SIDE, SpotTracker, painted, picture, somebody
from tests.engine.stit_files import write_stit

AU01, AU26 = AU_NAMES.index("AU01"), AU_NAMES.index("AU26")


def obedient(rgb: U8, aus: F32) -> U8:
    """Each AU where it belongs."""
    return painted(rgb, float(aus[AU26]), float(aus[AU01]))


def leaking(rgb: U8, aus: F32) -> U8:
    """The brow moves the jaw as well."""
    return painted(rgb, max(float(aus[AU26]), float(aus[AU01])), float(aus[AU01]))


def test_rank_correlation_shares_ranks_and_calls_a_still_output_zero() -> None:
    """Dead zones make ties: they may neither count as a rise nor spoil the whole figure."""
    levels = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert effects.spearman(levels, [0, 1, 4, 9, 16]) == pytest.approx(1.0)
    assert effects.spearman(levels, [5, 4, 3, 2, 1]) == pytest.approx(-1.0)
    assert effects.spearman(levels, [0, 0, 0, 1, 2]) == pytest.approx(0.8944, abs=1e-3)
    assert effects.spearman(levels, [0.3] * 5) == 0.0
    assert effects.spearman([0.0, 1.0], [0.0, 1.0]) is None
    assert effects.slope(levels, [0.5 * level + 0.1 for level in levels]) == pytest.approx(0.5)


def test_an_obedient_generator_rises_and_leaks_nothing() -> None:
    """The whole way: asked, painted, read again, compared with the picture asked for nothing."""
    scores = measure(somebody(), Plain(obedient), SpotTracker(), aus=("AU26", "AU01"))
    for name in ("AU26", "AU01"):
        row = scores["aus"][name]
        assert row["spearman"] == pytest.approx(1.0)
        assert row["direct"] > 0.005
        assert row["leak"] == row["leak_pixels"] == 0.0
    assert scores["psnr_zero"] == scores["psnr_outside"] == 60.0
    assert scores["detected"] == 1.0
    assert scores["attention"] is None


def test_a_leak_is_what_the_other_regions_pixels_do() -> None:
    """A brow that opens the jaw leaks at least as much as it moves the jaw by."""
    row = measure(somebody(), Plain(leaking), SpotTracker(), aus=("AU01",))["aus"]["AU01"]
    jaw = effects.shift(_shape(1.0, 1.0), _shape(0.0, 1.0), effects.LOWER_POINTS)
    brow = effects.shift(_shape(1.0, 1.0), _shape(0.0, 0.0), effects.UPPER_POINTS)
    assert row["leak"] == pytest.approx(jaw / brow, rel=0.02)
    assert row["leak_pixels"] > 0


def _shape(jaw: float, brow: float):  # type: ignore[no-untyped-def]
    found = read(picture(jaw, brow), SpotTracker())
    assert found is not None
    return found.shape


def test_what_is_outside_the_face_counts_only_inside_the_crop() -> None:
    """An error in a corner is averaged over all that lies inside the crop and beyond the face oval."""
    subject = somebody()

    def corner(rgb: U8, aus: F32) -> U8:
        rgb = rgb.copy()
        rgb[20:30, 2:12] += 10
        return rgb

    scores = measure(subject, Plain(corner), SpotTracker(), aus=("AU26",))
    outside = effects.surroundings(subject.source.face.points, _crop(subject), (SIDE, SIDE))
    assert outside[20:30, 2:12].all()
    assert scores["psnr_outside"] == pytest.approx(effects.decibels(100.0 * 100 / outside.sum()), abs=1e-3)
    assert scores["psnr_zero"] == 60.0


def _crop(subject: Subject):  # type: ignore[no-untyped-def]
    from engine.evaluate.changers import crop_of_subject

    return crop_of_subject(subject)


def test_a_network_on_crops_is_pasted_by_its_attention() -> None:
    """Attention 1 keeps every pixel of the picture as it was; .6 lets 40 % of the colour in, at the picture's size."""
    subject = somebody()

    def network(keep: float) -> InCrop:
        def call(crop: U8, aus: F32) -> tuple[F32, F32]:
            assert crop.shape == (32, 32, 3)
            return np.ones((1, 3, 32, 32), np.float32), np.full((1, 32, 32), keep, np.float32)

        return InCrop(call, size=32)

    kept = network(1.0).begin(subject)(subject.reading.aus)
    assert np.array_equal(kept.rgb, subject.rgb)
    changed = network(0.6).begin(subject)(subject.reading.aus)
    middle = changed.rgb[SIDE // 2, SIDE // 2].astype(float)
    assert middle == pytest.approx(0.6 * np.array((0, 0, 90)) + 0.4 * 255, abs=1.5)
    scores = measure(subject, network(0.6), SpotTracker(), aus=("AU26",))
    assert scores["attention"] == pytest.approx(0.6, abs=0.01)


def test_aus_are_measured_against_the_sources_rest_or_each_pictures_own() -> None:
    """A face by itself explains part of its expression away; against the source's rest it is all seen."""
    subject = somebody()
    found = read(picture(jaw=0.8), SpotTracker())
    assert found is not None
    alone, against = (subject.aus_of(found, mode)[AU26] for mode in ("static", "dynamic"))
    assert alone < against
    assert against == pytest.approx(0.8, abs=0.05)
    assert np.array_equal(subject.aus_of(subject.reading, "dynamic"), subject.reading.aus)


def test_the_mean_is_over_persons_and_leaks_are_pooled() -> None:
    """Two pictures of one person count as one; a face that hardly moves does not decide a leak."""
    row = {"psnr_zero": 30.0, "psnr_outside": 40.0, "attention": None, "detected": 1.0}
    ranks = ("spearman", "slope", "spearman_static", "spearman_dynamic")
    still = dict.fromkeys(ranks, 0.0) | {"direct": 0.001, "other": 0.001}
    moving = dict.fromkeys(ranks, 1.0) | {"direct": 0.099, "other": 0.0}
    rest = {"leak": None, "other_seen": None, "pixels_own": None, "pixels_other": None}
    people = [
        row | {"person": person, "aus": {"AU12": one | rest}}
        for person, one in (("a", still), ("a", still), ("b", moving))
    ]
    mean = mean_of(people)
    assert mean["people"] == 2
    assert mean["spearman"]["AU12"] == pytest.approx(0.5)
    assert mean["leak"]["AU12"] == pytest.approx(0.002 / 0.101)
    assert mean["leak_seen_lower"] is None
    assert mean["attention"] is None


def test_judging_gives_a_table_for_the_terminal() -> None:
    """What a training's check prints."""
    scores = judge(
        [somebody("a"), somebody("b", jaw=0.2)], Plain(obedient), detector=SpotTracker(), aus=("AU26",)
    )
    assert set(scores["people"]) == {"a", "b"}
    assert "AU26" in lines(scores)


def test_real_frames_are_the_measure_and_the_unchanged_source_stands_beside() -> None:
    """A changer that gives back the real frame has no error; one that changes nothing has that of the source."""
    targets = []
    for index, jaw in enumerate((0.4, 0.8)):
        rgb = picture(jaw)
        found = read(rgb, SpotTracker())
        assert found is not None
        targets.append(Target(index, rgb, found, found.aus))
    clip = ClipPairs("clip", somebody(), tuple(targets))

    def knowing(rgb: U8, aus: F32) -> U8:
        return next(one.rgb for one in targets if np.array_equal(one.reading.aus, aus))

    changers = [Plain(knowing, "knowing"), Plain(lambda rgb, aus: rgb, "idle")]
    mean = judge_pairs([clip], changers, detector=SpotTracker())["mean"]
    assert mean["knowing"]["lip"] == 0.0
    assert mean["idle"] == mean["unchanged"]
    assert mean["unchanged"]["lip"] > 0.03


def test_a_transfer_is_measured_by_its_share_of_the_way() -> None:
    """The donor's own mouth is the whole way; nothing changed is none of it."""
    people = [somebody("closed"), somebody("open", jaw=1.0), somebody("also", jaw=0.9, person="open")]

    class Whole:
        name = "whole"

        def bring(self, target: Subject, donor: Subject) -> Changed:
            return Changed(donor.rgb, np.full((SIDE, SIDE), 255, np.uint8))

    assert [(a.name, b.name) for a, b in couples(people, "AU26")] == [("closed", "open"), ("closed", "also")]
    scores = judge_transfer(people, Whole(), "AU26", detector=SpotTracker())
    assert scores["mean"]["share"] == pytest.approx(1.0)
    assert scores["mean"]["psnr_kept"] is None

    def none(target: U8, donor: U8) -> tuple[F32, F32]:
        return target.transpose(2, 0, 1) / np.float32(127.5) - 1, np.zeros((1, 32, 32), np.float32)

    scores = judge_transfer(people, DonorInCrop(none, 32), "AU26", detector=SpotTracker())
    assert scores["mean"]["share"] == pytest.approx(0.0, abs=1e-6)
    assert scores["mean"]["psnr_kept"] == 60.0
    with pytest.raises(ConfigError, match="AU45"):
        judge_transfer(people, Whole(), "AU45", detector=SpotTracker())


def test_a_removal_is_measured_by_what_is_gone() -> None:
    """Only those who have the attribute are asked."""

    class Closes:
        name = "closes"

        def remove(self, target: Subject, donor: Subject | None) -> Changed:
            return Changed(painted(target.rgb, 0.0, None))

    scores = judge_removal(
        [somebody("closed"), somebody("open", jaw=1.0)], Closes(), "AU26", detector=SpotTracker()
    )
    assert scores["mean"] == {"removed": 1.0, "psnr_outside": 60.0, "people": 1}


# --- from a folder to files -----------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def same_code() -> Iterator[None]:
    """The key of a result holds the engine's code: here it stands still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_run, "code_digest", lambda: "0" * 64)
        yield


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    folder = tmp_path / "portraits"
    folder.mkdir()
    write_picture(folder / "calm.png", picture())
    nobody = picture()
    nobody[..., 2] = 0
    write_picture(folder / "nobody.png", nobody)
    return folder


class Counted(Plain):
    """Counts its requests."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__(self._call_counted, "counted")

    def _call_counted(self, rgb: U8, aus: F32) -> U8:
        self.asked += 1
        return obedient(rgb, aus)


def test_a_folder_becomes_metrics_report_and_sheets_and_is_not_measured_twice(
    portraits: Path, tmp_path: Path
) -> None:
    """What cannot be used is listed; a second run reads what the first kept; a lost sheet is made anew."""
    out, changer, told = tmp_path / "out", Counted(), []
    metrics = evaluate_requests(
        portraits, out, tools=Tools(SpotTracker(), changers=(changer,)), progress=lambda *at: told.append(at)
    )
    assert metrics["requests"]["mean"]["spearman"]["AU26"] == pytest.approx(1.0)
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert "nobody" in (out / "report.html").read_text()
    assert (out / "sheets" / "requests" / "calm.png").is_file()
    assert told[-1] == (2, 2)
    asked = changer.asked
    again = evaluate_requests(portraits, out, tools=Tools(SpotTracker(), changers=(changer,)))
    assert again == metrics
    assert changer.asked == asked
    next((out / "parts").glob("*.png")).unlink()
    evaluate_requests(portraits, out, tools=Tools(SpotTracker(), changers=(changer,)))
    assert changer.asked == 2 * asked


def test_an_answer_that_cannot_be_shown_is_listed(portraits: Path, tmp_path: Path) -> None:
    """One NaN of a network does not end an evaluation, and is not passed over either."""

    def broken(rgb: U8, aus: F32) -> U8:
        raise PortError("port 'colour': expected finite numbers")

    tools = Tools(SpotTracker(), changers=(Plain(broken),))
    assert evaluate_requests(portraits, tmp_path / "out", tools=tools) == {}
    assert "finite numbers" in (tmp_path / "out" / "report.html").read_text()


def test_another_evaluations_folder_is_left_alone(portraits: Path, tmp_path: Path) -> None:
    """Two kinds of metrics.json never take each other's place."""
    (tmp_path / "metrics.json").write_text('{"self": {}, "cross": {}}')
    with pytest.raises(ConfigError, match="another"):
        evaluate_requests(portraits, tmp_path, tools=Tools(SpotTracker(), changers=(Plain(obedient),)))
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"self": {}, "cross": {}}


def test_wrong_names_are_told_before_anything_is_opened(portraits: Path, tmp_path: Path) -> None:
    """A mode, an attribute, a bundle, a folder."""
    for options, named in (
        ({"mode": "pupet"}, "puppet"),
        ({"attributes": ["AU99"]}, "attributes"),
        ({"bundle": "mesh_flo"}, "mesh_flow"),
    ):
        with pytest.raises(ConfigError, match=named):
            evaluate_requests(portraits, tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no such folder"):
        evaluate_requests(
            tmp_path / "none", tmp_path / "out", tools=Tools(SpotTracker(), changers=(Plain(obedient),))
        )
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_belong_together_are_told(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and status 2, and nothing is measured."""
    whole = ["evaluate", "--portraits", str(portraits), "--out", str(tmp_path / "out")]
    for further, named in (
        ([], "drivers"),
        (["--drivers", str(portraits), "--mode", "edit"], "--requests"),
        (["--requests", "--pairs", "3"], "pairs"),
        (["--requests", "--attributes", "smile"], "smile"),
    ):
        assert marotte.main([*whole, *further]) == 2
        assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("models")
def test_a_bundle_that_heeds_no_request_is_refused(portraits: Path, tmp_path: Path) -> None:
    """Figures of action units that nothing heeds would say 0 as if they had been measured."""
    person = write_stit(tmp_path / "person")
    with pytest.raises(ConfigError, match="takes neither action units nor donors nor layouts"):
        evaluate_requests(portraits, tmp_path / "out", bundle=str(person), jobs=1)
    assert not (tmp_path / "out" / "metrics.json").exists()
