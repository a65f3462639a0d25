"""Photos of a person to a tuned bundle: what decides it, what is found again, what is refused, and what it holds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import marotte
from engine import canonical
from engine.annotate.stills import StillFrame, before, still_frames
from engine.bundle import open_bundle
from engine.errors import BundleError, ConfigError, DifferentPeopleError, InputError
from engine.features.shape import fit_shape
from engine.generators.liquid_warping.own import read_person
from engine.geometry import pose_rotation
from engine.several import ENROLLED, Look
from engine.types import Face, FaceShape, HeadPose, Outcome, Source
from engine.worker.pictures import parted as pictures_in
from export.checkpoints import load
from export.enrol import kept
from export.enrol import liquid_warping as enrolling
from export.enrol import liquid_warping_looking as looking
from export.enrol.liquid_warping import Enrolment
from export.enrol.liquid_warping_looking import FEW, clip_parted, parted
from export.enrol.liquid_warping_person import person_graph
from export.enrol.liquid_warping_recipe import base_of, count_of, recipe_of
from export.onnx import write_graph
from export.pack import Label
from streaming.own_person import upload_of
from trainers import checkpoint
from trainers.config import load as load_recipe
from trainers.errors import CheckpointError

Make = Callable[..., Path]
CONFIGS = Path(__file__).parents[2] / "configs"
SIDE = 160
LABEL = Label("CC0-1.0", "drawn", "drawn", "nobody is shown")
QUICK = ("losses.perceptual=gradient", "losses.face=0.0", "critic.layers=1", "critic.width=4")


def photo(yaw: float = 0.0, tone: int = 200, name: str = "photo", wide: float = 1.0) -> Source:
    """A head of one tone before a wall of another."""
    local = canonical.VERTICES * np.array([wide, 1.0, 1.0], np.float32)
    shape = FaceShape(local, pose_rotation(HeadPose(yaw, 0, 0)), 4.0, np.array([80.0, 76.0, 0.0]))
    points = shape.points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    person = np.where(np.hypot((x - 80) / 46.0, (y - 70) / 58.0) < 1.0, 255, 0).astype(np.uint8)
    person[120:] = 255
    rgb = np.full((SIDE, SIDE, 3), tone // 4, np.uint8)
    rgb[person > 0] = tone
    rgb[..., 0] = np.where(person > 0, tone - 60 + x * 60 // SIDE, rgb[..., 0])
    return Source(rgb, Face(box, points, 1.0, 1), person, name, name)


def look(yaw: float) -> Look:
    return Look(yaw, 0.0, 0.0, 0.0, 0.3, 1.0)


def stills(photos: int, drawn: int = 0) -> list[StillFrame]:
    frame: Any = None
    return [StillFrame(frame, number, place > 0) for number in range(photos) for place in range(1 + drawn)]


# --- looking ---------------------------------------------------------------------------------------


def test_of_several_photos_one_is_held_back_that_others_can_do_without() -> None:
    """Never the one that looks ahead, nor the one that is turned farthest; it is no source, and the others are."""
    looks = [look(yaw) for yaw in (0.0, 60.0, 20.0, -35.0)]
    held, shown = parted(stills(4), looks, 4)
    assert (held, shown[0]) == ((3,), 0)
    assert set(shown) == {0, 1, 2}
    assert parted(stills(FEW), looks[:FEW], 2)[0] == (1,)


@pytest.mark.parametrize("photos", [1, 2])
def test_of_one_or_two_photos_drawn_expressions_are_held_back(photos: int) -> None:
    """Each photo shows what no other does: all are learnt from, and sources are photos alone."""
    made = stills(photos, 6)
    held, shown = parted(made, [look(0.0), look(30.0)][:photos], 4)
    assert held
    assert all(made[number].drawn for number in held)
    assert [made[number].drawn for number in shown] == [False] * photos
    assert parted(stills(1), [look(0.0)], 4) == ((), (0,))  # no expression became what was asked for


def test_photos_stand_before_the_first_ones_background() -> None:
    """One network makes one background: that of the first is everybody's, and the person stays their own."""
    first, second = still_frames([photo(tone=200), photo(yaw=20.0, tone=120)], 32)
    beside = (first.frame.person < 8) & (second.frame.person < 8)
    assert beside.sum() > 100
    np.testing.assert_array_equal(first.frame.rgb[beside], second.frame.rgb[beside])
    middle = second.frame.rgb[12:18, 14:18, 1]
    assert abs(middle.mean() - 120) < 2
    assert second.frame.yaw == pytest.approx(20.0, abs=2.0)
    half = before(
        np.full((1, 1, 3), 200, np.uint8), np.full((1, 1), 51, np.uint8), np.zeros((1, 1, 3), np.uint8)
    )
    assert half.tolist() == [[[40, 40, 40]]]


def test_in_a_clip_others_are_counted_and_passed_over() -> None:
    """By the shape of the first picture's face."""
    same = looking._Same(fit_shape(photo().face.points))
    assert [same(fit_shape(one.face.points)) for one in (photo(20.0), photo(wide=1.4))] == [True, False]
    assert same.others == 1


def test_of_a_clip_the_tuning_is_given_what_the_bundle_holds() -> None:
    """The frames at the times of the pictures, or next to them, in their order, each once; never what is held back,
    which is spread over the yaws of the others."""
    times, yaws = [0.2 * k for k in range(20)], [3.0 * (7 * k % 20) for k in range(20)]
    held, shown = clip_parted(times, yaws, [1.23, 3.8, 0.05, 1.25])
    assert shown == (6, 19, 0)
    assert len(held) == 3
    assert not {*held} & {*shown}
    turned = sorted(yaws[k] for k in held)
    assert turned[0] < 20 < turned[1] < 40 < turned[2]
    assert clip_parted(times[:3], yaws[:3], [0.4, 0.0, 0.2]) == ((1,), (2, 0))
    assert clip_parted(times[:2], yaws[:2], [0.2, 0.0]) == ((), (1, 0))
    assert clip_parted(times[:1], yaws[:1], [0.3, 0.0]) == ((), (0,))


# --- by what it is tuned -----------------------------------------------------------------------------


def test_without_weights_the_next_step_is_said(tmp_path: Path, liquid_warping: Make) -> None:
    """None named, none there, another system's, and one that can make no background."""
    with pytest.raises(ConfigError, match="--weights CHECKPOINT; train some by `marotte train configs/"):
        base_of(None)
    with pytest.raises(CheckpointError, match="is not there; train some by"):
        base_of(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no background network"):
        base_of(liquid_warping(background=False))


@pytest.mark.parametrize("recipe", [{"optimiser": {}}, {"optimiser": 3}, {"losses": {}}])
def test_weights_with_a_recipe_of_another_make_are_refused(recipe: Any, liquid_warping: Make) -> None:
    """By name, before a photo is looked at."""
    weights = liquid_warping()
    about = json.loads((weights / "checkpoint.json").read_text())
    (weights / "checkpoint.json").write_text(json.dumps(about | {"recipe": recipe}))
    with pytest.raises(CheckpointError, match="its recipe is damaged"):
        base_of(weights)


def test_the_recipe_is_the_one_that_is_shipped(liquid_warping: Make) -> None:
    """configs/liquid_warping_person.toml says what is done with the small training's weights."""
    weights = liquid_warping(size=64)
    small = load_recipe(CONFIGS / "liquid_warping_small.toml").table()
    about = json.loads((weights / "checkpoint.json").read_text())
    about["recipe"], about["arguments"]["generator"] = small, dict(small["generator"])
    for name in ("temporal", "checkpointed"):
        del about["arguments"]["generator"][name]
    base = enrolling.Base(load(weights), about["arguments"]["generator"], 64, 3, small)
    made = recipe_of(base, sources=2, device="cpu").table()
    wanted = load_recipe(CONFIGS / "liquid_warping_person.toml").table()
    for name in ("generator", "critic", "losses", "personalising", "optimiser", "stages"):
        assert made[name] == wanted[name], name
    for text in ("run.weights=x", " data.size=32", "data={}", "generator.widths=[8]", "stages=[]", "run={}"):
        with pytest.raises(ConfigError, match="says that itself"):
            recipe_of(base, sources=2, changes=[text])
    assert recipe_of(base, sources=2, changes=["generator.checkpointed=true"]).options.generator.checkpointed


def test_a_person_is_tuned_at_the_trainings_size_or_at_another_one(liquid_warping: Make) -> None:
    """At another one with a texture of twice its side; another one is another enrolment; a side that the generator
    cannot make is refused before anything is looked at."""
    weights = liquid_warping(widths=[4, 6, 8])
    asked = {size: Enrolment(size=size, changes=QUICK, device="cpu") for size in (None, 32, 64)}
    bases = {size: enrolling.check(weights, one) for size, one in asked.items()}
    assert {size: (base.size, base.texture) for size, base in bases.items()} == {
        None: (32, 32), 32: (32, 32), 64: (64, 128),
    }  # fmt: skip
    assert recipe_of(bases[64], sources=2).table()["data"]["size"] == 64
    rules = {size: enrolling._rules(base, asked[size]) for size, base in bases.items()}
    assert rules[32] == rules[None]
    assert rules[64] != rules[None]
    for size in (36, 0, -64, 8, 8192):
        with pytest.raises(ConfigError, match=f"size: got {size}, expected a multiple of 8 in 16 .. 1024"):
            base_of(weights, size)


def test_counts_of_sources() -> None:
    """The next one that there is, within what is asked for."""
    assert [count_of(pictures, 8) for pictures in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    assert count_of(8, 2) == 2


def test_the_key_tells_contents_and_rules_and_nothing_else() -> None:
    """Neither names nor order count; a step more does."""
    key = kept.key_of(["b", "a"], {"steps": 3})
    assert key == kept.key_of(["a", "b"], {"steps": 3})
    assert len({key, kept.key_of(["a"], {"steps": 3}), kept.key_of(["a", "b"], {"steps": 4})}) == 3


# --- what the bundle holds ---------------------------------------------------------------------------


@pytest.mark.full
def test_pictures_come_back_out_of_their_graph_as_they_were() -> None:
    """To the last value, whatever their sizes, at two bytes a value."""
    numbers = np.random.default_rng(0)
    pictures = [numbers.integers(0, 256, (height, 24, 3), np.uint8) for height in (16, 34)]
    plan = person_graph(pictures)
    data = write_graph(plan)
    assert len(data) < 2.2 * sum(picture.size for picture in pictures) + 2000

    class Bundle:
        name = "drawn"
        manifest: Any

        def info(self, name: str) -> Any:
            from engine.bundle import GraphInfo

            return GraphInfo(name, "", "", 0, plan.inputs, plan.outputs)

        def graph(self, name: str, backend: str, threads: int) -> Any:
            from engine.backends import open_graph

            return open_graph(Path(name), backend, threads, data=data)

    bundle: Any = Bundle()
    facts = {"pictures": ["a\n.jpg" + 200 * "g"], "accepted": ["different-people", "whatever"]}
    bundle.manifest = type("M", (), {"parameters": type("P", (), {"facts": facts})})
    found = read_person(bundle)
    for one, picture in zip(found.pictures, pictures):
        np.testing.assert_array_equal(one, picture)
    assert found.names == ("'a\\n.jpg" + 112 * "g", "picture 2")
    assert found.accept == {"different-people"}


# --- the whole of it ---------------------------------------------------------------------------------


class Faces:
    """In the place of the stage: it finds in a picture the face that its red pixel in the corner numbers."""

    found: Sequence[Source] = ()

    def __init__(self, **_: Any) -> None:
        self.detector = self.segmenter = self

    def __enter__(self) -> Faces:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def _of(self, rgb: np.ndarray) -> Source:
        return self.found[round(int(rgb[:4, :4, 0].mean()) / 20)]

    def detect(self, rgb: np.ndarray, **_: Any) -> tuple[Face, ...]:
        return (self._of(rgb).face,)

    def mask(self, rgb: np.ndarray) -> Any:
        return self._of(rgb).person


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Four photos of one person, and of one whose face is much wider."""
    people = [photo(yaw) for yaw in (0.0, 30.0, -30.0, 15.0)] + [photo(50.0, wide=1.4)]
    paths = []
    for number, one in enumerate(people):
        rgb = one.rgb.copy()
        rgb[:8, :8] = 20 * number
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), rgb[..., ::-1])
        paths.append(path)
    monkeypatch.setattr(Faces, "found", people)
    monkeypatch.setattr(looking, "Stage", Faces)
    return paths


@contextmanager
def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tuning is asked to end after so many steps, as by a signal."""
    from trainers import loop

    class Stopping(loop.Stopping):
        made = 0

    real = loop.Loop._step

    def one(self: Any, *given: Any) -> None:
        real(self, *given)
        Stopping.made += 1

    with monkeypatch.context() as patched:
        patched.setattr(loop.Loop, "_step", one)
        asked = property(lambda self: "SIGTERM" if Stopping.made >= step else "", lambda self, value: None)
        patched.setattr(Stopping, "asked", asked, raising=False)
        patched.setattr(loop, "Stopping", Stopping)
        yield


def silent(stage: str, done: int, total: int | None) -> None:
    """Nobody is told."""


def test_photos_of_different_people_are_refused_with_the_measure(
    photos: list[Path], liquid_warping: Make, tmp_path: Path
) -> None:
    """Before anything is tuned; a clip among photos, no file and an unknown acceptance are refused too."""
    weights, out = liquid_warping(), tmp_path / "out"
    with pytest.raises(
        DifferentPeopleError, match=r"differs .* \d\.\d\d mm of shape.*--accept different-people"
    ):
        enrolling.enrol(photos, weights, out, tmp_path / "w", Enrolment(changes=QUICK), LABEL, silent)
    assert not out.exists()
    with pytest.raises(ConfigError, match="got 0 files"):
        enrolling.enrol([], weights, out, tmp_path / "w", Enrolment(changes=QUICK), LABEL, silent)
    with pytest.raises(ConfigError, match="accept"):
        Enrolment(accept=frozenset({"anything"}))
    with pytest.raises(InputError, match="cannot be read"):
        enrolling.enrol([out], weights, out, tmp_path / "w", Enrolment(changes=QUICK), LABEL, silent)


@pytest.mark.full
def test_interrupted_and_gone_on_with_gives_the_same_bundle(
    photos: list[Path], liquid_warping: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte; the second run with the same photos, by other names and in another order, tunes nothing and carries
    its own label; the bundle holds its person, and says what was measured."""
    weights = liquid_warping(widths=[4, 6])
    changes = (*QUICK, "stages.0.steps=6", "personalising.check_every=2", "run.save_every=1")
    asked = Enrolment(changes=changes, device="cpu", cache=tmp_path / "cache")
    alone = Enrolment(changes=changes, device="cpu")
    four = photos[:4]
    through = enrolling.enrol(four, weights, tmp_path / "a", tmp_path / "wa", asked, LABEL, silent)
    assert not through.cached
    assert "held-back photos" in "\n".join(through.lines)
    with stopped_at(3, monkeypatch):
        cut = enrolling.enrol(four, weights, tmp_path / "b", tmp_path / "wb", alone, LABEL, silent)
    assert cut.interrupted == "SIGTERM"
    assert not (tmp_path / "b").exists()
    enrolling.enrol(four, weights, tmp_path / "b", tmp_path / "wb", alone, LABEL, silent)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name

    renamed = [Path(shutil.copy(path, tmp_path / f"of-{path.name}")) for path in reversed(four)]
    label = Label("CC0-1.0", "drawn", "drawn", "asked again", "Another title")
    with monkeypatch.context() as patched:
        patched.setattr(enrolling, "train", lambda *given, **named: pytest.fail("it was tuned again"))
        again = enrolling.enrol(renamed, weights, tmp_path / "c", tmp_path / "wc", asked, label, silent)
    assert again.cached
    assert again.lines[0].startswith("cache hit")
    manifest = open_bundle(tmp_path / "c").manifest
    assert (manifest.title, manifest.consent) == ("Another title", "asked again")
    facts = manifest.parameters.facts
    assert facts["held_back"] == "photos"
    assert facts["held_psnr_after_db"] >= facts["held_psnr_before_db"]
    assert facts["sources"] == 4
    assert read_person(open_bundle(tmp_path / "c")).names == tuple(facts["pictures"])

    (tmp_path / "cache" / facts["enrolled_key"] / "bundle" / "person.onnx").write_bytes(b"another")
    assert kept.find(tmp_path / "cache", facts["enrolled_key"]) is None


@pytest.mark.full
@pytest.mark.parametrize(("sources", "size"), [(1, 64), (8, 32)])
def test_bundles_of_one_and_of_eight_sources_are_moved_by_a_driver_alone(
    sources: int,
    size: int,
    photos: list[Path],
    liquid_warping: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the command, which is told to take different people; what it makes is opened without a photo, by the network's
    side too. The weights are of 32 pixels, the first bundle of 64."""
    line = ["enrol", "liquid_warping", *map(str, photos), "--weights", str(liquid_warping()), "--out"]
    line += [str(tmp_path / "out"), "--no-cache", "--device", "cpu", "--sources", str(sources)]
    line += ["--size", str(size)]
    line += ["--accept", "different-people", "--set", "stages.0.steps=1"]
    line += [word for text in QUICK for word in ("--set", text)]
    assert marotte.main(line) == 0
    assert "is written" in capsys.readouterr().out
    bundle = open_bundle(tmp_path / "out")
    facts, crop = bundle.manifest.parameters.facts, bundle.manifest.parameters.crop
    assert facts["sources"] == sources
    assert crop is not None
    assert (crop.size, facts["tuned_size"], facts["trained_size"]) == (size, size, 32)
    assert facts["texture"] == (32 if size == 32 else 128)
    own = read_person(bundle)
    assert own.accept == {"different-people"}
    assert len(own.pictures) == min(sources, 5)
    passed = pictures_in(upload_of(tmp_path / "out", "Ann").data, "Ann")
    assert passed is not None
    assert (len(passed.pictures), passed.accept) == (len(own.pictures), own.accept | {ENROLLED})


@pytest.mark.full
def test_a_clip_of_a_real_person_is_enrolled_and_driven_without_a_photo(
    models: None, faces_root: Path, liquid_warping: Make, tmp_path: Path
) -> None:
    """Tracked, prepared, tuned for a step and packed; a still driver moves whom the bundle holds."""
    out, clip = tmp_path / "out", faces_root / "drivers" / "man_beard_steady_smile.mp4"
    line = ["enrol", "liquid_warping", str(clip), "--weights", str(liquid_warping()), "--out", str(out)]
    line += ["--no-cache", "--device", "cpu", "--frames", "8", "--set", "stages.0.steps=1"]
    line += [word for text in QUICK for word in ("--set", text)]
    assert marotte.main(line) == 0
    facts = open_bundle(out).manifest.parameters.facts
    assert (facts["enrolled_from"], facts["enrolled_frames"], facts["held_back"]) == ("clip", 8, "frames")
    given = checkpoint.read(tmp_path / "out.enrolment" / "tuning").recipe["data"]
    assert 1 <= len(given["source_frames"]) <= len(facts["pictures"])
    assert given["held_frames"]
    with marotte.puppet(bundle=str(out)) as puppet:
        first = next(iter(marotte.frames(clip)))
        picture = puppet(first.rgb, 0.0)
    own = read_person(open_bundle(out)).pictures[0]
    assert picture.shape == own.shape
    assert puppet.report is not None
    assert puppet.report.outcome in (Outcome.GENERATED, Outcome.WAITING)


def test_an_option_of_another_system_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be passed over."""
    for system, words, said in (
        ("liquid_warping", ["--edit", "smile=-2:2"], "edit: belongs to enrol stit"),
        ("stit", ["--sources", "2"], "sources: belongs to enrol liquid_warping"),
        ("stit", ["--size", "128"], "size: belongs to enrol liquid_warping"),
    ):
        assert marotte.main(["enrol", system, "x.mp4", "--weights", "w", "--out", "o", *words]) == 2
        assert said in capsys.readouterr().err


def test_what_is_kept_is_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle that was not used for longest goes, and one that is damaged is none; what is somebody else's in that
    folder stays."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    (tmp_path / "p.png").write_bytes(b"p")
    cache, keys = tmp_path / "cache", [f"{number:064x}" for number in range(kept.MOST + 2)]
    theirs = [cache / name for name in ("photos", "f" * 64)]
    for path in theirs:
        path.mkdir(parents=True)
        os.utime(path, (1, 1))
    for number, key in enumerate(keys):
        assert kept.keep(cache, key, tmp_path / "bundle", tmp_path / "p.png", ["a line"])
        os.utime(cache / key, (1_000_000 + number, 1_000_000 + number))
    assert {path.name for path in cache.iterdir()} == {*keys[2:], *(path.name for path in theirs)}
    with monkeypatch.context() as patched:  # another one of the same photos is quicker
        patched.setattr(shutil, "rmtree", lambda *given, **named: None)
        assert kept.keep(cache, keys[-1], tmp_path / "bundle", tmp_path / "p.png", ["a line"])
        assert not kept.keep(
            tmp_path / "p.png", keys[-1], tmp_path / "bundle", tmp_path / "p.png", ["a line"]
        )
    assert kept.find(cache, keys[-1]) is None
    assert not (cache / keys[-1]).exists()
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "bundle")


def test_a_bundle_and_what_is_resumed_stand_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Within each other the one would take the other's place; a root has no name to stand beside."""
    line = ["enrol", "liquid_warping", "x.png", "--weights", "w", "--out"]
    inside = str(tmp_path / "b" / "work")
    for words, said in (
        (["/"], "got '/', expected the name of a folder"),
        (["."], "got '.', expected the name of a folder"),
        ([str(tmp_path / "b"), "--work", str(tmp_path / "b")], "within each other"),
        ([str(tmp_path / "b"), "--work", inside], "within each other"),
        ([inside, "--work", str(tmp_path / "b")], "within each other"),
    ):
        assert marotte.main([*line, *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
