"""A person's tuning: it brings the clip nearer, it can be cut off, and the border is paid for once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.stit.enrolled import ARGUMENTS, FRAMES, W_DIM, generator, write_clip
from trainers import checkpoint
from trainers.errors import CheckpointError, DataError, DivergedError, PictureError, RecipeError
from trainers.stit import tuning as tuning_module
from trainers.stit.clip import Clip
from trainers.stit.directions import Offset
from trainers.stit.pivotal import Locality, Pivotal
from trainers.stit.stitching import Amortised, Reach
from trainers.stit.tuning import Tuning, border_error, reconstruction_psnr, tune

DIRECTIONS = {"smile": np.random.default_rng(3).normal(0, 0.4, W_DIM)}
FAST = Tuning(
    pivotal=Pivotal(passes=4, learning_rate=0.01, perceptual="gradient", locality=Locality(every=2)),
    stitching=Amortised(passes=6, learning_rate=0.01),
    edits=(Reach("smile", 2.0, 4.0),),
)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return Clip(write_clip(tmp_path / "clip", generator()))


def run(clip: Clip, out: Path, options: Tuning = FAST) -> tuning_module.Outcome:
    return tune(clip, generator(), ARGUMENTS, options, out, directions=DIRECTIONS, quiet=True)


def test_tuning_brings_the_clip_nearer_and_then_its_edited_border(clip: Clip, tmp_path: Path) -> None:
    """Pivotal passes raise the reconstruction; the border passes lower the border error of edits, tuning no frame."""
    made = run(clip, tmp_path / "out")
    assert made.step == made.steps == 10 * FRAMES
    assert made.pivotal is not None
    assert reconstruction_psnr(made.pivotal, clip) > reconstruction_psnr(generator(), clip) + 1.0
    offset = Offset(1.5 * DIRECTIONS["smile"])
    assert border_error(made.generator, clip, offset) < 0.8 * border_error(made.pivotal, clip, offset)
    kept = checkpoint.read(tmp_path / "out")
    assert kept.networks() == ("generator", "pivotal")
    again = generator(4)
    kept.load("generator", again)
    assert torch.equal(again.synthesis.b32.conv1.weight, made.generator.synthesis.b32.conv1.weight)


SHORT = replace(FAST, pivotal=replace(FAST.pivotal, passes=1), stitching=replace(FAST.stitching, passes=1))


@pytest.mark.parametrize("cut", [1, FRAMES, FRAMES + 2], ids=["at once", "between", "in the border"])
def test_a_tuning_that_was_cut_off_gives_the_same_weights(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Interrupted anywhere and resumed, every weight is that of the uninterrupted one, to the bit."""
    whole = run(clip, tmp_path / "whole", SHORT)
    steps = []

    class Cut(tuning_module.Stopping):
        asked = property(lambda self: "SIGINT" if len(steps) >= cut else "", lambda self, value: None)  # type: ignore[assignment]

    real = tuning_module.pivotal.step

    def counted(*given: object) -> dict[str, float]:
        steps.append(1)
        return real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(tuning_module, "Stopping", Cut)
        patch.setattr(tuning_module.pivotal, "step", counted)
        first = run(clip, tmp_path / "cut", SHORT)
    assert (first.interrupted, first.step) == ("SIGINT", cut)
    second = run(clip, tmp_path / "cut", SHORT)
    assert second.step == whole.step
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(second.generator.state_dict()[name], value), name
    assert run(clip, tmp_path / "cut", SHORT).checkpoint == second.checkpoint, "done is done"


def test_border_steps_are_spread_over_the_clip_and_their_rate_falls(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than a pass of them see all parts of the clip; their CPU time is told."""
    seen: list[tuple[int, float]] = []
    real = tuning_module._Run._border

    def noted(self: tuning_module._Run, index: int, *given: object) -> object:
        seen.append((index, 0.0))
        return real(self, index, *given)  # type: ignore[arg-type]

    def stepped(optimiser: torch.optim.Optimizer, terms: dict[str, torch.Tensor]) -> dict[str, float]:
        if "border" in terms:
            seen[-1] = (seen[-1][0], optimiser.param_groups[0]["lr"])
        return step(optimiser, terms)

    step = tuning_module.pivotal.step
    monkeypatch.setattr(tuning_module._Run, "_border", noted)
    monkeypatch.setattr(tuning_module.pivotal, "step", stepped)
    short = replace(SHORT, stitching=Amortised(steps=4, learning_rate=0.01, falling=0.5))
    made = run(clip, tmp_path / "out", short)
    assert made.steps == FRAMES + 4
    assert [index for index, _ in seen] == [0, 1, 0, 2]
    assert [rate for _, rate in seen] == pytest.approx([0.01, 0.01, 0.01, 0.005])
    assert made.seconds["stitching"] > 0


def test_the_given_generator_stays_as_it_is(clip: Clip, tmp_path: Path) -> None:
    """Another person may be enrolled from it next."""
    given = generator()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    tune(clip, given, ARGUMENTS, SHORT, tmp_path / "out", directions=DIRECTIONS, quiet=True)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())


def test_another_clip_or_other_options_are_not_resumed(clip: Clip, tmp_path: Path) -> None:
    """A folder's tuning goes on as it was asked for, or not at all."""
    run(clip, tmp_path / "out", SHORT)
    with pytest.raises(CheckpointError, match="other options"):
        run(clip, tmp_path / "out", replace(SHORT, seed=1))
    other = Clip(write_clip(tmp_path / "other", generator(), frames=2))
    with pytest.raises(CheckpointError, match="another clip"):
        run(other, tmp_path / "out", SHORT)


def test_a_tuning_that_diverges_says_so(clip: Clip, tmp_path: Path) -> None:
    """One line that names the stage and the fix."""
    wild = replace(FAST, pivotal=replace(FAST.pivotal, learning_rate=1e30, locality=Locality()))
    with pytest.raises(DivergedError, match="pivotal passes; lower"):
        run(clip, tmp_path / "out", wild)


def test_what_does_not_fit_is_refused_before_a_step(clip: Clip, tmp_path: Path) -> None:
    """An edit without a direction, LPIPS without its files, codes of another generator."""
    with pytest.raises(RecipeError, match="'age' has no direction"):
        run(clip, tmp_path / "a", replace(FAST, edits=(Reach("age", 0, 1),)))
    for files, said in (((), "is empty"), (("no.pth",), "is no file")):
        lpips = replace(FAST, pivotal=Pivotal(perceptual="lpips", lpips=files))
        with pytest.raises(RecipeError, match=rf"LPIPS needs .*{said}"):
            run(clip, tmp_path / "b", lpips)
    smaller = tuning_module.Generator(widths=(8, 8), z_dim=W_DIM, w_dim=W_DIM)
    with pytest.raises(RecipeError, match="rows and numbers"):
        tune(clip, smaller, {}, FAST, tmp_path / "c", directions=DIRECTIONS, quiet=True)


def test_a_damaged_clip_is_one_line(tmp_path: Path) -> None:
    """No crash for what is missing, cut short, of another length or a pickle."""
    folder = write_clip(tmp_path / "clip", generator())
    (folder / "crops" / "000002.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(PictureError, match="000002"):
        Clip(folder).crop(1)
    np.save(folder / "codes.npy", np.zeros((2, 8, W_DIM), np.float32))
    with pytest.raises(DataError, match="expected \\(3"):
        Clip(folder)
    np.save(folder / "codes.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="not readable"):
        Clip(folder)
    (folder / "clip.json").write_text(json.dumps({"format": 1, "size": 32}))
    with pytest.raises(DataError, match="incomplete"):
        Clip(folder)
    (folder / "clip.json").write_text("[]")
    with pytest.raises(DataError, match="no JSON object"):
        Clip(folder)
