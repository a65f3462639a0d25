"""GeoGAN in the loop: its stages, its one forward pass, its guard, and that it can be resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.geogan.folder import OPEN_MOUTH, SMILE, recipe_table, write_folder
from trainers import checkpoint
from trainers.config import from_table, load
from trainers.errors import DataError, RecipeError
from trainers.geogan.live import generator_of
from trainers.geogan.networks import AttrMultiScalePatchDisc, FlowGenerator
from trainers.geogan.recipe import Losses
from trainers.geogan.step import adversarial_step
from trainers.geogan.training import GeoGAN
from trainers.loop import train
from trainers.system import Stop, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def system(table: dict[str, Any]) -> GeoGAN:
    torch.manual_seed(0)
    return GeoGAN(from_table(table).options)


def test_all_stages_run_one_after_the_other(folder: Path, tmp_path: Path) -> None:
    """Supervised, removal, mixed, the paper's; the checkpoint gives the live generator, refinement weight and all."""
    table = recipe_table(
        folder,
        "supervised",
        "removal",
        "mixed",
        "adversarial",
        refinement={"weight": 0.4, "schedule": "constant"},
        augmentation={"flip": 0.5, "turn": 5.0, "colour": 0.1},
        optimiser={"average": 0.9, "clip": 1.0},
    )
    outcome = train(from_table(table), tmp_path / "run")
    assert outcome.step == 12
    kept = checkpoint.read(tmp_path / "run")
    assert kept.data["crop"] == {"rule": "face", "size": 32}
    assert kept.data["attributes"] == ["smile", "open mouth"]
    assert kept.facts["refinement_weight"] == 0.4
    made = generator_of(kept.arguments["generator"], kept.weights("generator_ema"), kept.facts)
    assert made.refinement_weight == 0.4
    with (tmp_path / "run" / "scalars.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["generator/supervised"]
    assert not rows[0]["critic/real"]
    assert rows[4]["generator/removal"]
    assert not rows[4]["generator/landmark"]
    assert rows[7]["critic/fake"]
    assert rows[7]["generator/removal"]
    assert rows[10]["generator/reconstruction"]
    assert not rows[10]["generator/supervised"]
    assert list((tmp_path / "run" / "samples").glob("*.png"))


def test_a_resumed_training_is_the_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    """Bit for bit, from the middle of a stage on."""
    table = recipe_table(folder, "supervised", "mixed", augmentation={"flip": 0.5, "colour": 0.2})
    train(from_table(table), tmp_path / "whole")
    train(from_table(table), tmp_path / "parts")
    last = tmp_path / "parts" / "checkpoints" / "step_00000006"
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    (tmp_path / "parts" / "latest.json").write_text(json.dumps({"checkpoint": "step_00000004"}))
    train(from_table(table), tmp_path / "parts", resume=True)
    for network in ("generator", "critic"):
        whole, parts = (checkpoint.read(tmp_path / name).weights(network) for name in ("whole", "parts"))
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def pair(count: int, size: int = 32) -> dict[str, torch.Tensor]:
    numbers = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=numbers) * 2 - 1

    return {
        "target": drawn(count, 3, size, size),
        "donor": drawn(count, 3, size, size),
        "target_labels": torch.zeros(count, 1),
        "donor_labels": torch.ones(count, 1),
        "target_landmarks": drawn(count, 68, 2),
        "donor_landmarks": drawn(count, 68, 2),
    }


@pytest.mark.parametrize("count", [1, 2])
def test_the_critic_learns_from_fakes_as_if_they_were_detached(count: int) -> None:
    """Its gradients are those of a second pass over detached fakes, though the generator has moved by then."""
    torch.manual_seed(0)
    generator, critic = FlowGenerator(32, 3, 2, 1), AttrMultiScalePatchDisc(4, 2, 1)
    weights, batch = Losses(), pair(count)
    with torch.no_grad():
        cycle = generator(batch["target"], batch["donor"])
    scores = [critic(fake)[0].patch for fake in cycle.fakes]
    reals = [critic(batch[name])[0] for name in ("target", "donor")]
    loss = 0.5 * sum(score.square().mean() for score in scores)
    loss = loss + sum((real.patch - 1).square().mean() for real in reals)
    for real, label in zip(reals, (0.0, 1.0)):
        aim = torch.full_like(real.attributes, label)
        loss = loss + 0.2 * torch.nn.functional.binary_cross_entropy(real.attributes, aim)
    expected = torch.autograd.grad(loss, list(critic.parameters()))
    networks = {"generator": generator, "critic": critic}
    before = [value.detach().clone() for value in generator.parameters()]
    turn = Turn("adversarial", {name: torch.optim.Adam(one.parameters()) for name, one in networks.items()})
    adversarial_step(generator, critic, batch, weights, turn)
    for parameter, gradient in zip(critic.parameters(), expected):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(old, new) for old, new in zip(before, generator.parameters()))


def test_the_papers_landmark_goal_wants_the_targets_mouth() -> None:
    """Why there are others: the donor's lips, looked up where the target's are, have the target's shape again."""
    torch.manual_seed(0)
    batch = pair(1)
    flow = torch.zeros(1, 2, 32, 32)
    from trainers.geogan.step import landmark_term

    batch["donor_landmarks"] = batch["target_landmarks"].clone()
    batch["donor_landmarks"][:, 48:] += 0.1
    costs = {
        goal: float(landmark_term(flow, batch, Losses(landmark_goal=goal)))
        for goal in ("donor", "outside", "wanted")
    }
    assert costs["donor"] > 0.5
    assert costs["outside"] == 0
    assert costs["wanted"] == pytest.approx(0, abs=1e-6)


def test_refinement_follows_the_recipes_schedule(folder: Path) -> None:
    """Officially off through epoch 10; a checkpoint states what it was at its step."""
    official = system(recipe_table(folder, refinement={"weight": 0.35}))
    weights = [
        official.facts(Turn("adversarial", {}, epoch=epoch))["refinement_weight"] for epoch in (3.9, 12.5, 30)
    ]
    assert weights == pytest.approx([0, 0.2, 0.35])


def test_rates_fall_as_published_or_along_a_cosine(folder: Path) -> None:
    """Generator by 0.4 and critic by 0.2 every 20 epochs; 0 epochs: a cosine over the stage."""
    steps = system(recipe_table(folder))
    assert steps.rate("generator", Turn("adversarial", {}, epoch=45.0)) == pytest.approx(0.16)
    assert steps.rate("critic", Turn("adversarial", {}, epoch=19.9)) == 1.0
    smooth = system(recipe_table(folder, optimiser={"decay_epochs": 0}))
    rates = [
        smooth.rate("generator", Turn("mixed", {}, stage_step=step, stage_steps=100)) for step in (0, 50, 100)
    ]
    assert rates == pytest.approx([1.0, 0.51, 0.02])
    careful = system(recipe_table(folder, optimiser={"with_critic": 0.25}))
    assert [careful.rate(name, Turn("mixed", {})) for name in ("generator", "critic")] == [0.25, 1.0]


@pytest.mark.parametrize(("mean", "word"), [(0.0, "nothing of the donor"), (1.0, "nothing of the target")])
def test_a_mask_that_shows_one_side_only_ends_the_training(folder: Path, mean: float, word: str) -> None:
    """It explains, and what it has seen survives a resume."""
    watched = system(recipe_table(folder))
    for step in range(600):
        verdict = watched.watch({"mask/mean": mean}, Turn("supervised", {}, stage_step=step))
        if step == 10:
            again = system(recipe_table(folder))
            again.restore(watched.state())
            assert again.state() == watched.state()
    assert isinstance(verdict, Stop)
    assert word in verdict.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributes": [SMILE, SMILE]}, "stands twice"),
        ({"attributes": [{"name": "smile", "aus": ["AU99"]}]}, "no AU"),
        ({"attributes": [{"name": "smile", "aus": ["AU12"], "present": 0.1}]}, "absent < present"),
        ({"attributes": [{"name": "smile"}]}, "needs its aus"),
        ({"attributes": []}, "none are named"),
        ({"losses": {"supervised": 0.0}}, "a stage needs it"),
        ({"losses": {"landmark_goal": "wnated"}}, "wanted"),
        ({"stages": [{"name": "pairs", "steps": 1}]}, "expected one of supervised"),
        ({"generator": {"width": 3, "downsamples": 5}}, "multiple of 32"),
        ({"generator": {"widht": 3}}, "did you mean 'width'"),
        ({"removal_every": 0}, "1 or more"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    """Before anything is read, with what was expected."""
    with pytest.raises(RecipeError, match=said):
        from_table(recipe_table(folder) | changes)


def test_data_of_another_mode_is_refused(tmp_path: Path) -> None:
    """AUs of another kind are other numbers."""
    options = from_table(recipe_table(write_folder(tmp_path / "data", mode="static"))).options
    with pytest.raises(DataError, match="mode is 'static'"):
        GeoGAN(options).pictures("train", "supervised")


def test_the_small_recipe_is_small() -> None:
    """A bundle of at most 5 MB in fp16; smile and open mouth in one network."""
    options = load(CONFIGS / "geogan_small.toml").options
    generator = GeoGAN(options).generator
    assert 2 * sum(value.numel() for value in generator.parameters()) < 5e6
    assert [attribute.name for attribute in options.attributes] == [SMILE["name"], OPEN_MOUTH["name"]]


@pytest.mark.full
def test_a_step_of_the_papers_recipe_at_full_width() -> None:
    """The published widths and batch, one whole step of generator and critic; its memory and time are printed."""
    import resource
    import time

    recipe = load(CONFIGS / "geogan_paper.toml")
    torch.manual_seed(0)
    made = GeoGAN(recipe.options)
    assert sum(value.numel() for value in made.critic.parameters()) == 14_122_374
    dead = FlowGenerator(**made.arguments["generator"], dead_decoders=True)
    assert sum(value.numel() for value in dead.parameters()) == 4_194_526
    stage = made.stages()[0]
    turn = Turn(stage.name, made.optimisers(), epoch=12.0)
    start = time.perf_counter()
    scalars = made.step(pair(stage.batch, recipe.options.data.size), turn)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"geogan_paper: batch {stage.batch}, {seconds:.1f} s a step, {memory:.1f} GiB at most")
    assert all(torch.isfinite(torch.as_tensor(value)) for value in scalars.values())
    assert made.generator.refinement_weight == pytest.approx(0.1)
