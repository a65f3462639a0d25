"""Liquid Warping in the loop: a training of many, a person's tuning, early ends, resuming, recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.conftest import kept
from tests.trainers.liquid_warping.folder import recipe_table, write_folder
from trainers import checkpoint
from trainers.config import from_table, load
from trainers.errors import RecipeError, TrainerError
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.personal import adapted
from trainers.liquid_warping.recipe import Losses
from trainers.liquid_warping.samples import of_batch
from trainers.liquid_warping.step import critic_terms, generator_terms, show, total
from trainers.liquid_warping.training import LiquidWarping
from trainers.loop import train
from trainers.system import Draw, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def test_a_training_runs_and_says_what_a_bundle_needs(tmp_path: Path) -> None:
    """Two target frames that see each other, scenes for the background, critics of head and background."""
    folder = write_folder(tmp_path / "data", a=4, b=4)
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    import cv2
    import numpy as np

    cv2.imwrite(str(scenes / "room.png"), np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8))
    table = recipe_table(
        folder,
        run={"validate_every": 2, "sample_every": 2},
        data={"time_step": 2, "scenes": str(scenes)},
        generator={"temporal": True, "checkpointed": True},
        critic={"parts": ["body"], "background": True},
        optimiser={"average": 0.9, "clip": 1.0, "falling": 0.5},
    )
    outcome = train(from_table(table), tmp_path / "run")
    assert outcome.step == 3
    found = checkpoint.read(tmp_path / "run")
    assert found.networks() == ("critic", "generator", "generator_ema")
    assert found.facts["sources"] == 2
    assert (found.data["mesh"], found.data["crop"]["rule"]) == ("face", "bust")
    assert "bg_model.model.0.weight" in found.weights("critic")
    assert list((tmp_path / "run" / "samples").iterdir())


def test_checkpointed_blocks_change_no_gradient(tmp_path: Path) -> None:
    """They are computed twice, to the same numbers."""
    table = recipe_table(write_folder(tmp_path / "data", a=4))
    torch.manual_seed(0)
    system = LiquidWarping(from_table(table).options)
    pictures = system.pictures("train", "training")
    sample = of_batch({name: one[None] for name, one in pictures[Draw(0, 1)].items()}, temporal=False)
    found = []
    for checkpointed in (False, True):
        system.generator.checkpointed = checkpointed
        terms = generator_terms(show(system.generator, sample), sample, system.judges, Losses(face=0.0))
        found.append(
            torch.autograd.grad(total(terms), list(system.generator.parameters()), allow_unused=True)
        )
    for one, other in zip(*found):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-7)


def test_the_critic_learns_of_the_pictures_before_the_step(tmp_path: Path) -> None:
    """And leaves nothing in the generator; the generator's loss leaves nothing in the critic."""
    table = recipe_table(write_folder(tmp_path / "data", a=4))
    torch.manual_seed(0)
    system = LiquidWarping(from_table(table).options)
    batch = {name: one[None] for name, one in system.pictures("train", "training")[Draw(0, 1)].items()}
    sample = of_batch(batch, temporal=False)
    expected = total(critic_terms(system.critic, show(system.generator, sample), sample).terms)
    scalars = system.step(batch, Turn(stage="training", optimisers=dict(system.optimisers())))
    made = float(scalars["critic/real"]) + float(scalars["critic/fake"])
    assert made == pytest.approx(float(expected.detach()), rel=1e-5)
    assert all(one.grad is not None for one in system.critic.parameters())


def test_low_rank_factors_merge_exactly_and_nothing_else_moves(base: Path, tmp_path: Path) -> None:
    """A tuning by factors leaves the shared weights alone until its end; then the generator is a plain one whose answer
    is that of weights and factors, and biases are the shared ones."""
    folder = write_folder(tmp_path / "person", p=8)
    table = personal(folder, base, adapted="low_rank", rank=2)
    table["run"] |= {"save_every": 3, "keep": 9}
    table["optimiser"] = {"rate": 1e-2}
    train(from_table(table), tmp_path / "run")
    shared = checkpoint.read(base).weights("generator")
    half = checkpoint.read(tmp_path / "run" / "checkpoints" / "step_00000003")
    assert all(torch.equal(one, shared[name]) for name, one in half.weights("generator").items())
    assert any(one.abs().max() > 0 for name, one in half.weights("factors").items() if name.startswith("up."))
    whole = checkpoint.read(tmp_path / "run")
    own = whole.weights("generator")
    assert own.keys() == shared.keys()
    assert all(torch.equal(own[name], shared[name]) for name in own if own[name].ndim != 4)
    assert any(not torch.equal(own[name], shared[name]) for name in own)
    assert whole.facts["personalised"]["psnr"] > whole.facts["personalised"]["psnr_before"]
    for name in (name for name in own if own[name].ndim == 4):
        added = (own[name] - shared[name]).flatten(1)
        assert torch.linalg.matrix_rank(added, rtol=1e-3) <= 2


def test_a_photo_by_factors_is_kept_in_the_generator(base: Path, tmp_path: Path) -> None:
    """With nothing held back the last factors are multiplied out, once: going on does not add them again."""
    folder = write_folder(tmp_path / "person", p=1)
    table = personal(folder, base, adapted="low_rank", steps=2)
    train(from_table(table), tmp_path / "run")
    found = checkpoint.read(tmp_path / "run")
    assert all(torch.equal(found.weights("generator")[k], one) for k, one in found.weights("chosen").items())
    assert all(not one.any() for name, one in found.weights("factors").items() if name.startswith("up."))


@pytest.mark.parametrize("what", ["all", "blocks", "spade"])
def test_a_tuning_moves_the_weights_that_are_named(what: Any, tmp_path: Path) -> None:
    """All of them; or warping blocks, heads and background; or of the blocks SPADE alone."""
    generator = LiquidWarpingGenerator(
        widths=(4,), residual_blocks=1, background_widths=(4, 4), background_blocks=1
    )
    names = {id(one): name for name, one in generator.named_parameters()}
    moved = {names[id(one)] for one in adapted(generator, what)}
    assert ("src_net.encoders.layers.0.0.weight" in moved) == (what == "all")
    assert ("enc_attlwbs.0.fk.weight" in moved) == (what != "spade")
    assert {"enc_attlwbs.0.spade.mlp_beta.bias", "bg_net.main.0.weight", "tsf_att_reg.0.weight"} <= moved


def personal(folder: Path, base: Path, **how: Any) -> dict[str, Any]:
    return recipe_table(
        folder,
        "personalising",
        steps=how.pop("steps", 6),
        run={"weights": str(base)},
        data={"held": 0.25},
        personalising={"check_every": 1, **how},
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A training of others, two steps long."""
    folder = write_folder(tmp_path / "others", a=3, b=3)
    train(from_table(recipe_table(folder, steps=2)), tmp_path / "base")
    return tmp_path / "base"


def test_a_tuning_keeps_its_best_weights_and_its_own_critic(base: Path, tmp_path: Path) -> None:
    """It starts from the shared generator and no critic; what is kept is the best look, and both figures are facts."""
    folder = write_folder(tmp_path / "person", p=8)
    train(from_table(personal(folder, base)), tmp_path / "run")
    found = checkpoint.read(tmp_path / "run")
    assert found.networks() == ("chosen", "generator", "own_critic")
    tuned = found.facts["personalised"]
    assert tuned["psnr"] > tuned["psnr_before"]
    own, chosen = found.weights("generator"), found.weights("chosen")
    assert all(torch.equal(own[name], chosen[name]) for name in own)
    shared = checkpoint.read(base).weights("generator")
    assert any(not torch.equal(own[name], shared[name]) for name in own)


def test_a_tuning_starts_from_the_moving_average(tmp_path: Path) -> None:
    """Where one was kept: what a bundle of the shared weights holds. A further training of many goes on from the
    weights as they were stepped, which its critic knows. At a rate of nothing both are found again."""
    folder, still = write_folder(tmp_path / "others", a=3, b=3), {"rate": 0.0, "critic_rate": 0.0}
    table = recipe_table(folder, steps=2, optimiser={"rate": 1e-2, "average": 0.9})
    train(from_table(table), tmp_path / "base")
    shared = checkpoint.read(tmp_path / "base")
    stepped, averaged = shared.weights("generator"), shared.weights("generator_ema")
    assert any(not torch.equal(stepped[name], averaged[name]) for name in stepped)

    table = personal(write_folder(tmp_path / "person", p=4), tmp_path / "base", steps=1)
    table["optimiser"] = still
    train(from_table(table), tmp_path / "tuned")
    own = checkpoint.read(tmp_path / "tuned").weights("generator")
    assert all(torch.equal(own[name], averaged[name]) for name in own)
    assert "generator from its moving average" in (tmp_path / "tuned" / "notes.txt").read_text()

    run = {"weights": str(tmp_path / "base")}
    table = recipe_table(folder, steps=1, run=run, optimiser=still | {"average": 0.9})
    train(from_table(table), tmp_path / "further")
    own = checkpoint.read(tmp_path / "further").weights("generator")
    assert all(torch.equal(own[name], stepped[name]) for name in own)


def test_a_tuning_ends_when_nothing_gets_better(base: Path, tmp_path: Path) -> None:
    """With a rate of nothing no look is better than the first: two looks, and the shared weights come back; going on
    after that does nothing."""
    folder = write_folder(tmp_path / "person", p=8)
    table = personal(folder, base, steps=50, patience=2)
    table["optimiser"] = {"rate": 0.0}
    outcome = train(from_table(table), tmp_path / "run")
    assert (outcome.step, outcome.interrupted) == (2, "")
    again = train(from_table(table), tmp_path / "run", resume=True)
    assert again.step == 2
    own, shared = (
        checkpoint.read(tmp_path / "run").weights("generator"),
        checkpoint.read(base).weights("generator"),
    )
    assert all(torch.equal(own[name], shared[name]) for name in own)


@pytest.mark.parametrize("what", ["all", "low_rank"])
def test_an_interrupted_tuning_gives_the_same_person(what: str, base: Path, tmp_path: Path) -> None:
    """Weights, factors, best weights, looks and moments, bit for bit."""
    folder = write_folder(tmp_path / "person", p=8)
    table = personal(folder, base, adapted=what)
    table["run"]["save_every"] = 3
    table["run"]["keep"] = 9
    train(from_table(table), tmp_path / "whole")
    train(from_table(table), tmp_path / "part")
    (tmp_path / "part" / "latest.json").write_text(json.dumps({"checkpoint": "step_00000003"}))
    train(from_table(table), tmp_path / "part", resume=True)
    last = "checkpoints/step_00000006"
    assert kept(tmp_path / "part" / last) == kept(tmp_path / "whole" / last)


def test_one_photo_is_tuned_to_itself(base: Path, tmp_path: Path) -> None:
    """Nothing can be held back: all steps are made, and the last weights are the result."""
    folder = write_folder(tmp_path / "person", p=1)
    outcome = train(from_table(personal(folder, base, steps=2, patience=1)), tmp_path / "run")
    assert outcome.step == 2
    assert checkpoint.read(tmp_path / "run").facts["personalised"]["psnr"] is None


@pytest.mark.parametrize("name", ["liquid_warping_small", "liquid_warping_person"])
def test_the_small_recipes_are_of_one_network(name: str) -> None:
    """A person's tuning starts from the small training: the same generator."""
    recipe = load(CONFIGS / f"{name}.toml")
    other = load(CONFIGS / "liquid_warping_small.toml")
    assert recipe.options.generator == other.options.generator
    assert recipe.options.personal == (name == "liquid_warping_person")


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    """Those that no default may change unseen."""
    options = load(CONFIGS / "liquid_warping_paper.toml").options
    assert options.generator.widths == (64, 128, 256)
    assert (options.data.size, options.data.sources, options.data.time_step) == (512, 4, 2)
    assert (options.losses.reconstruction, options.losses.perceptual_weight, options.losses.face) == (
        10,
        10,
        5,
    )
    assert (options.losses.mask, options.losses.smoothness, options.losses.adversarial) == (5, 1, 1)
    assert options.stages[0].steps * options.stages[0].batch == 400_000


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"data": {"background_erosion": 4}}, "odd number"),
        ({"data": {"size": 17}}, r"data.size"),
        ({"critic": {"parts": ["hand"]}}, "expected of local, body, head"),
        ({"critic": {"parts": ["head"], "layers": 2}}, "leaves nothing of a part of 4 pixels"),
        ({"generator": {"block": "attention"}}, "block is 'attention'"),
        ({"losses": {"face": 5.0}}, "sphere20a"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(tables: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(RecipeError, match=told):
        train(from_table(recipe_table(tmp_path / "none", **tables)), tmp_path / "run")


def test_weights_that_are_no_numbers_end_a_tuning_in_a_line(base: Path, tmp_path: Path) -> None:
    """By the name of what is none, whichever loss would meet them first."""
    found = checkpoint.read(base)
    weights = {name: found.weights(name) for name in found.networks()}
    next(one for name, one in weights["generator"].items() if name.startswith("src_net.")).fill_(torch.nan)
    checkpoint.write(tmp_path / "broken", found, weights)
    folder = write_folder(tmp_path / "person", p=8)
    with pytest.raises(TrainerError, match="is nan"):
        train(from_table(personal(folder, tmp_path / "broken")), tmp_path / "run")
