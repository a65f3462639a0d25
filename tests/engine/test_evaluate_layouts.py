"""How far a picture follows a layout, on a face that a picture's colour tells: red opens the jaw, green the brows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.crop import crop_of, points_in
from engine.errors import ManifestError
from engine.evaluate import request_run
from engine.evaluate.changers import Changed, Plain
from engine.evaluate.items import Tools
from engine.evaluate.layout_scores import (
    Answer,
    Overlap,
    colours_of,
    judge_layouts,
    mean_of_layouts,
    measure_layouts,
)
from engine.evaluate.layouts import REQUESTS, LayoutInCrop, Seat, Wanted, open_layouts, portrait_requests
from engine.evaluate.request_run import Plan, evaluate_requests, takes_layouts
from engine.evaluate.subjects import Subject, subject_of
from engine.evaluate.work import Settings
from engine.media import write_picture
from engine.parsing.classes import CELEBAMASK, Part
from engine.types import F32, U8, Face, Frame, Mode
from tests.engine.bundle_files import write_maskgan
from tests.engine.request_fakes import SpotTracker, picture, points_of

SIDE, SMALL = 512, 64
CROP = crop_of("face", points_of(0.0, 0.0, (SIDE, SIDE, 3)), SMALL)


class ColourTracker:
    """Finds the face that a picture's colour says: in the whole picture, and in the square however it is enlarged."""

    def __init__(self) -> None:
        self.sides: list[int] = []

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        self.sides.append(len(rgb))
        jaw, brow, seen = (float(value) / 255 for value in rgb.mean((0, 1)))
        if seen < 0.1:
            return ()
        points = points_of(jaw, brow, (SIDE, SIDE, 3))
        if len(rgb) != SIDE:
            times = len(rgb) / SMALL
            points = points_in(CROP, points)
            points = (times * points + (0.5 * times - 0.5) * np.array([1, 1, 0])).astype(np.float32)
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        return (Face(box, points, 1.0, 1),)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return self.detect(frame.rgb)

    def reset(self) -> None:
        """It remembers nothing."""

    def close(self) -> None:
        """Nothing is open."""


def coloured(jaw: float, side: int = SMALL, seen: float = 1.0) -> U8:
    return np.full((side, side, 3), (round(255 * jaw), 0, round(255 * seen)), np.uint8)


def subject(person: str = "one") -> Subject:
    return subject_of(coloured(0.0, SIDE), ColourTracker(), name=person, person=person)


def opened(seat: Seat) -> dict[str, Wanted]:
    return {"open": Wanted(seat.layout(points_of(1.0, 0.0, (SIDE, SIDE, 3))), coloured(1.0))}


def opens(share: float) -> LayoutInCrop:
    """Follows a layout with a mouth in it by this share of the way."""

    def call(image: U8, own: U8, wanted: U8) -> U8:
        return coloured(share) if (wanted == Part.MOUTH).any() else image

    return LayoutInCrop(call, SMALL, "face")


def test_a_picture_that_follows_gains_and_one_that_does_not_has_none() -> None:
    """Asked, drawn, enlarged, tracked, drawn again: the whole circle, pixel on pixel."""
    detector = ColourTracker()
    scores = measure_layouts(subject(), opens(1.0), opened, detector)
    mouth = scores["requests"]["open"]["mouth"]
    assert mouth["asked"]
    assert mouth["edited"] == mouth["tracker"] > 0.97
    assert mouth["unedited"] == mouth["own"] == 0.0
    assert detector.sides == [256] * 3
    mean = mean_of_layouts([scores])
    assert mean["iou"]["mouth"]["gain"] == mouth["edited"]
    assert mean["detected"] == 1.0
    assert mean["psnr_own"] == 60.0
    deaf = mean_of_layouts([measure_layouts(subject(), opens(0.0), opened, ColourTracker())])
    assert deaf["iou"]["mouth"]["gain"] == 0.0
    half = mean_of_layouts([measure_layouts(subject(), opens(0.5), opened, ColourTracker())])
    assert 0.1 < half["iou"]["mouth"]["edited"] < mouth["edited"]


def test_a_part_that_nothing_is_asked_of_does_not_count() -> None:
    """Eyes that are wanted as they are would otherwise share in what a mouth gains, and dilute what eyes do."""
    scores = measure_layouts(subject(), opens(1.0), opened, ColourTracker())
    eyes = scores["requests"]["open"]["eyes"]
    assert (eyes["asked"], eyes["own"]) == (False, 1.0)
    assert scores["overlap"]["eyes"] == {}
    mean = mean_of_layouts([scores])
    assert mean["iou"]["eyes"]["gain"] is None
    assert mean["gain"] is None


def test_an_answer_without_a_face_follows_nothing() -> None:
    """It counts as wrong, not as missing."""

    def call(image: U8, own: U8, wanted: U8) -> U8:
        return coloured(1.0, seen=0.0) if (wanted == Part.MOUTH).any() else image

    scores = measure_layouts(subject(), LayoutInCrop(call, SMALL, "face"), opened, ColourTracker())
    assert scores["requests"]["open"]["mouth"]["edited"] == 0.0
    assert scores["detected"] == 0.5


def test_colours_are_compared_part_by_part_in_lab() -> None:
    """CIE76 of the means; a part of a few pixels has none."""
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:8] = 255
    labels = np.full((16, 16), Part.SKIN, np.uint8)
    labels[8:] = Part.HAIR
    found = colours_of(rgb, labels)
    assert found["skin"] == pytest.approx((100, 0, 0), abs=0.01)
    assert found["hair"] == pytest.approx((0, 0, 0), abs=0.01)
    labels[8:] = Part.CLOTH
    assert colours_of(rgb, labels)["hair"] is None
    # Blue as it is in the picture and purple in the answer: the same skin, another colour.
    scores = measure_layouts(subject(), opens(1.0), opened, ColourTracker())
    blue, purple = ((32.30, 79.19, -107.86), (60.32, 98.24, -60.83))
    apart = float(np.linalg.norm(np.subtract(blue, purple)))
    assert scores["delta_e"]["skin"] == pytest.approx(apart / 2, abs=0.1)  # of two answers one is blue
    assert scores["delta_e"]["hair"] is None


def test_classes_of_a_part_are_not_exchanged() -> None:
    """The right eye where the left one is wanted is wrong twice."""
    left, right = np.full((4, 4), Part.L_EYE, np.uint8), np.full((4, 4), Part.R_EYE, np.uint8)
    assert Overlap.of(left, left, "eyes") == Overlap(16, 16)
    assert Overlap.of(left, right, "eyes") == Overlap(0, 32)
    assert Overlap.of(left, right, "mouth").iou is None


def test_means_are_over_persons() -> None:
    """Two pictures of one person count once."""
    people = [subject("a"), subject("a"), subject("b")]
    rows = [measure_layouts(one, opens(1.0), opened, ColourTracker()) for one in people[:2]]
    rows.append(measure_layouts(people[2], opens(0.0), opened, ColourTracker()))
    mean = mean_of_layouts(rows)
    assert mean["people"] == 2
    whole = rows[0]["requests"]["open"]["mouth"]["edited"]
    assert mean["iou"]["mouth"]["edited"] == pytest.approx(whole / 2)
    judged = judge_layouts(people[1:], opens(1.0), lambda one, seat: opened(seat), ColourTracker())
    assert set(judged["people"]) == {"a", "b"}


def test_a_portraits_requests_are_layouts_of_its_own_face() -> None:
    """Other units stay; an expression in which nobody is found is left out."""
    asked: list[F32] = []

    class Mover:
        name = "mover"

        def begin(self, one: Subject) -> Callable[[F32], Changed]:
            def answer(aus: F32) -> Changed:
                asked.append(aus)
                return Changed(coloured(float(aus[15]), SIDE, seen=0.0 if aus[8] else 1.0))

            return answer

    seen: dict[str, Wanted] = {}
    watched: list[str] = []

    def requests(seat: Seat) -> Mapping[str, Wanted]:
        seen.update(portrait_requests(subject(), seat, Mover(), ColourTracker()))
        return seen

    def watch(name: str, wanted: Wanted, answer: Answer) -> None:
        watched.append(name)

    measure_layouts(subject(), opens(1.0), requests, ColourTracker(), watch)
    assert len(asked) == len(REQUESTS)
    assert set(seen) == set(REQUESTS) - {"smile"}
    assert watched == ["own", *seen]
    assert (seen["mouth open"].labels == Part.MOUTH).any()
    assert not (seen["mouth closed"].labels == Part.MOUTH).any()
    assert all(one.shown is not None and one.shown.shape == (SMALL, SMALL, 3) for one in seen.values())


def test_a_bundle_is_enrolled_and_drawn_by_its_graphs(tmp_path: Path) -> None:
    """The style of the picture in its own layout, once; then the colours of each layout, dimmed by that style."""
    folder = str(write_maskgan(tmp_path / "bundle", SMALL))
    assert takes_layouts(Plan(Settings(tmp_path, folder, "auto", None)))
    assert not takes_layouts(Plan(Settings(tmp_path, folder, "auto", None), Mode.PUPPET))
    assert not takes_layouts(Plan(Settings(tmp_path, "mesh_flow", "auto", None)))
    wanted = np.full((SMALL, SMALL), Part.HAIR, np.uint8)
    with open_layouts(folder, "onnxruntime", frozenset()) as layouts:
        assert (layouts.name, layouts.size, layouts.rule) == ("bundle", SMALL, "celeba-hq")
        dark, light = (
            layouts.begin(np.full((SMALL, SMALL, 3), value, np.uint8), wanted) for value in (0, 255)
        )
        made = [draw(wanted)[32, 32].astype(int) for draw in (dark, light)]
        assert (made[1] - made[0] > 100).all()
        blue = made[0] - dark(np.full((SMALL, SMALL), Part.BACKGROUND, np.uint8))[32, 32]
        assert np.abs(blue - np.array(CELEBAMASK.palette[Part.HAIR]) / 2).max() <= 1


def test_a_bundle_of_another_class_order_is_not_judged(tmp_path: Path) -> None:
    """BiSeNet's numbers would be drawn as other parts."""
    folder = str(write_maskgan(tmp_path / "bundle", SMALL, classes="bisenet"))
    with pytest.raises(ManifestError, match="'bisenet'"), open_layouts(folder, "auto", frozenset()):
        pass


def test_a_folder_is_asked_for_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same command: metrics, a report, and a sheet with the layouts in colours."""
    monkeypatch.setattr(request_run, "code_digest", lambda: "0" * 64)
    folder, out = tmp_path / "portraits", tmp_path / "out"
    folder.mkdir()
    write_picture(folder / "calm.png", picture())
    tools = Tools(SpotTracker(), layouts=LayoutInCrop(lambda image, own, wanted: image, SMALL))
    tools.changers = (Plain(lambda rgb, aus: rgb, "still"),)
    metrics = evaluate_requests(folder, out, tools=tools)
    assert set(metrics) == {"layouts"}
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["layouts"]["people"]["calm"]["psnr_own"] == 60.0
    assert (out / "sheets" / "layouts" / "calm.png").is_file()
    report = (out / "report.html").read_text()
    assert "Layouts that were asked for" in report
    assert "Delta E skin" in report
