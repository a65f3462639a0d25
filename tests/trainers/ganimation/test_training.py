"""GANimation in the loop: its stages, what they need of the data, and that they can be resumed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.ganimation.folder import recipe_table, write_folder
from trainers import checkpoint
from trainers.config import from_table, load
from trainers.errors import DataError, DivergedError, RecipeError
from trainers.ganimation.adversarial import Real
from trainers.ganimation.networks import Generator
from trainers.ganimation.recipe import Schedule
from trainers.ganimation.training import GANimation, rate_by_epochs, rate_by_steps
from trainers.loop import train
from trainers.system import Draw, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def system(table: dict[str, Any]) -> GANimation:
    torch.manual_seed(0)
    return GANimation(from_table(table).options)


def test_all_stages_run_one_after_the_other(folder: Path, tmp_path: Path) -> None:
    """Pairs, then both losses, then the paper's; the checkpoint names what inference needs."""
    table = recipe_table(folder, "pairs", "mixed", "adversarial", average=0.9, critic_steps=2)
    outcome = train(from_table(table), tmp_path / "run")
    assert outcome.step == 9
    kept = checkpoint.read(tmp_path / "run")
    assert kept.arguments["generator"] == {
        "conv_dim": 4, "c_dim": 17, "repeat_num": 1, "norm": "instance", "planes": "constant",
    }  # fmt: skip
    assert kept.data["extractor"]["mode"] == "dynamic"
    assert (kept.data["size"], kept.data["crop"]["rule"]) == (16, "face")
    kept.load("generator_ema", Generator(**kept.arguments["generator"]))
    with (tmp_path / "run" / "scalars.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["p_picture"]
    assert rows[4]["d_gp"]
    assert rows[4]["g_mskd_cond"]
    assert rows[7]["g_cyc"]
    assert list((tmp_path / "run" / "samples").glob("*.png"))


def test_a_resumed_training_is_the_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    """Bit for bit, across a stage and with the guard's state."""
    whole = from_table(recipe_table(folder, "pairs", "mixed", average=0.9))
    train(whole, tmp_path / "whole")
    train(from_table(recipe_table(folder, "pairs", "mixed", average=0.9, steps=2)), tmp_path / "parts")
    # stopped after two steps of the first stage, as an interrupt would
    for folder_of in (tmp_path / "parts" / "checkpoints").iterdir():
        if folder_of.name != "step_00000002":
            for file in folder_of.iterdir():
                file.unlink()
            folder_of.rmdir()
    (tmp_path / "parts" / "latest.json").write_text('{"checkpoint": "step_00000002"}')
    train(whole, tmp_path / "parts", resume=True)
    ends = [checkpoint.read(tmp_path / name).folder / "weights.safetensors" for name in ("whole", "parts")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_pairs_are_of_one_person_and_name_their_target(folder: Path) -> None:
    """Each synthesised picture is a target; labels are what was asked, or what was measured, by the recipe's share."""
    for share in (1.0, 0.0):
        table = recipe_table(folder, pairs={"asked": share, "same": 0.0, "to_base": 0.0, "from_base": 1.0})
        pictures = system(table).pictures("train", "pairs")
        assert len(pictures) == 6
        sample = pictures[Draw(0, 1)]
        assert sample["source"].shape == (3, 32, 32)
        assert sample["face"].shape == (1, 32, 32)
        assert float((sample["source"] - sample["target"]).abs().max()) > 0.1
        assert float(sample["wanted"][14]) == pytest.approx(0.3 if share else 0.24, abs=1e-3)


def test_relative_units_say_what_changes_between_a_pair(folder: Path) -> None:
    """Forth and back they are each other's opposite, whatever the still itself was measured to show."""
    table = recipe_table(folder, networks={**recipe_table(folder)["networks"], "units": "relative"})
    forth = {"asked": 1.0, "same": 0.0, "to_base": 0.0, "from_base": 1.0}
    there = system({**table, "pairs": forth}).pictures("train", "pairs")[Draw(0, 1)]
    back = system({**table, "pairs": {**forth, "to_base": 1.0}}).pictures("train", "pairs")[Draw(0, 1)]
    assert torch.equal(there["target"], back["source"])
    assert torch.equal(there["given"], -back["given"])
    assert float(there["given"][14]) == pytest.approx(0.22, abs=1e-3)
    measured = system({**table, "pairs": {**forth, "asked": 0.0}}).pictures("train", "pairs")[Draw(0, 1)]
    assert float(measured["given"][14]) == pytest.approx(0.16, abs=1e-3)


def test_relative_units_train_in_every_stage(folder: Path, tmp_path: Path) -> None:
    """The critic judges intensities all the same; what the export needs to know is kept with the weights."""
    table = recipe_table(folder, "pairs", "mixed", "adversarial")
    table["networks"] = {**table["networks"], "units": "relative"}
    train(from_table(table), tmp_path / "run")
    assert checkpoint.read(tmp_path / "run").facts["units"] == "relative"
    own, wanted = torch.full((1, 17), 0.7), torch.full((1, 17), 0.2)
    real = Real(torch.zeros(1, 3, 16, 16), own, wanted, "relative")
    torch.testing.assert_close(real.there, torch.full((1, 17), -0.5))
    assert torch.equal(real.back, -real.there)


def test_a_picture_s_own_units_ask_for_itself(folder: Path) -> None:
    """The share of pairs without a change, from which zero change is learnt."""
    pictures = system(recipe_table(folder, pairs={"same": 1.0})).pictures("train", "pairs")
    sample = pictures[Draw(2, 5)]
    assert torch.equal(sample["source"], sample["target"])


def test_wanted_units_are_another_picture_s_a_little_off(folder: Path) -> None:
    """As in the paper: not cut to 0..1, other for every place in the training, the same when it is read again."""
    table = recipe_table(folder, "adversarial", data={**recipe_table(folder)["data"], "wanted_noise": 0.1})
    pictures = system(table).pictures("train", "adversarial")
    wanted = torch.stack([pictures[Draw(0, seed)]["wanted"] for seed in range(40)])
    assert torch.equal(wanted[3], pictures[Draw(0, 3)]["wanted"])
    assert float(wanted.min()) < 0.0
    assert len(wanted.unique(dim=0)) == 40


def test_data_of_another_mode_is_refused(folder: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    table = recipe_table(folder)
    table["data"]["mode"] = "static"
    with pytest.raises(DataError, match=r"its mode is 'dynamic', the recipe expects 'static'"):
        train(from_table(table), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pairs_need_synthesised_pictures(tmp_path: Path) -> None:
    """Real pictures alone have no partner."""
    data = write_folder(tmp_path / "real", synthesised=0)
    with pytest.raises(DataError, match="--synthesise"):
        system(recipe_table(data)).pictures("train", "pairs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": [{"name": "pears", "steps": 1, "batch": 1}]}, "stage 'pears': expected one of pairs"),
        ({"stages": [{"name": "pairs", "steps": 1}] * 2}, "each name once"),
        ({"stages": []}, "stages"),
        ({"networks": {"norm": "batch"}}, "instance"),
        ({"losses": {"lambda_mask": 1.0}}, "option losses.lambda_mask is not known"),
        ({"critic_steps": 0}, "critic_steps is 0"),
        ({"networks": {"planes": "regional"}}, "expected data.crop 'face', got ''"),
        ({"guard": {"low": 0.9, "high": 0.5}}, "guard"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line(folder: Path, change: dict[str, Any], message: str) -> None:
    """What, got, expected."""
    with pytest.raises(RecipeError, match=message):
        from_table({**recipe_table(folder), **change})


def test_a_size_that_the_critic_cannot_have_is_refused(folder: Path) -> None:
    """Its last map has to have whole pixels."""
    table = recipe_table(folder, "adversarial")
    table["networks"]["critic_repeat_num"] = 5
    with pytest.raises(RecipeError, match="multiple of 32"):
        system(table)


def test_the_official_schedule_decays_after_epoch_21() -> None:
    """Epochs 1 to 21 at the full rate, 22 at .9, 30 at .1: also after a resume, being a function of the place alone."""
    schedule = Schedule()
    rates = [rate_by_epochs(schedule, epoch + 0.5) for epoch in range(30)]
    assert rates[:21] == [1.0] * 21
    assert rates[21:] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_the_schedule_by_steps_warms_holds_and_falls() -> None:
    """A ramp, a plateau, a cosine down to its least."""
    schedule = Schedule(by="steps", warm=0.1, hold=0.5, least=0.02)
    rates = [rate_by_steps(schedule, (step + 1) / 100) for step in range(100)]
    assert rates[4] == pytest.approx(0.5)
    assert rates[9:50] == [1.0] * 41
    assert rates[74] == pytest.approx(0.51, abs=0.01)
    assert rates[-1] == pytest.approx(0.02)


def test_by_steps_the_generator_s_rate_runs_on_over_the_stages(folder: Path) -> None:
    """A last stage does not begin at the full rate again; the critic, which joins there, keeps its own."""
    table = recipe_table(folder, "pairs", "mixed", steps=50, schedule={"by": "steps", "hold": 0.5})
    trained = system(table)
    turn = Turn("mixed", {}, step=74, stage_step=24, stage_steps=50)
    assert trained.rate("generator", turn) == pytest.approx(0.51, abs=0.01)
    assert trained.rate("discriminator", turn) == 1.0


def test_a_saturated_mask_is_adjusted_then_the_training_stops(folder: Path, tmp_path: Path) -> None:
    """The guard raises the mask's weight, says so, and at last explains."""
    table = recipe_table(folder, "adversarial", steps=12, critic_steps=1)
    table["guard"] = {"low": 0.0, "high": 1e-6, "patience": 2, "most": 3}
    with pytest.raises(DivergedError, match=r"mask is saturated: .* usual causes: action units"):
        train(from_table(table), tmp_path / "run")
    assert checkpoint.read(tmp_path / "run").training().state["system"]["mask"]["factor"] > 1.0


@pytest.mark.parametrize("name", ["ganimation_small", "ganimation_paper"])
def test_a_recipe_is_loaded(name: str) -> None:
    """With every key known."""
    assert load(CONFIGS / f"{name}.toml").system == "ganimation"


def test_the_paper_s_recipe_holds_the_paper_s_numbers() -> None:
    """128 px, full widths, batch 25, 30 epochs of which 20 are constant, a critic ratio of 5, Adam as published."""
    options = load(CONFIGS / "ganimation_paper.toml").options
    (stage,) = options.stages
    assert (stage.name, stage.epochs, stage.batch) == ("adversarial", 30, 25)
    assert (options.schedule.by, options.schedule.constant, options.schedule.decay) == ("epochs", 20, 10)
    assert (options.data.size, options.networks.conv_dim, options.networks.repeat_num) == (128, 64, 6)
    assert (options.networks.critic_conv_dim, options.networks.critic_repeat_num) == (64, 6)
    assert (options.optimiser.lr, options.optimiser.betas, options.critic_steps) == (1e-4, (0.5, 0.999), 5)
    losses = options.losses
    assert (losses.condition * 1.0, losses.gradient_penalty, losses.cycle) == (4000.0, 10.0, 10.0)


@pytest.mark.full
def test_one_step_of_the_paper_s_training_at_full_width() -> None:
    """The critic, its penalty and the generator on a batch of 25 at 128 px."""
    options = load(CONFIGS / "ganimation_paper.toml", ("critic_steps=1",)).options
    trained = GANimation(options)
    shape = (options.stages[0].batch, 3, options.data.size, options.data.size)
    batch = {"source": torch.rand(shape) * 2 - 1, "own": torch.rand(25, 17), "wanted": torch.rand(25, 17)}
    before = {name: next(network.parameters()).clone() for name, network in trained.networks.items()}
    scalars = trained.step(batch, Turn("adversarial", trained.optimisers()))
    assert {"d_gp", "g_cyc", "attention"} <= set(scalars)
    for name, network in trained.networks.items():
        assert not torch.equal(before[name], next(network.parameters()))
