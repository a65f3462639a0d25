"""STIT's stages in the loop, and the parts of their steps."""

from __future__ import annotations

import math
import resource
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.trainers.conftest import kept
from trainers import checkpoint
from trainers.config import Recipe, from_table
from trainers.errors import DataError, RecipeError
from trainers.loop import train
from trainers.stit.augment import augmented
from trainers.stit.critic import Critic
from trainers.stit.e4e_training import delta_norms, stage_of
from trainers.stit.gan_training import GAN, follow, lazy, path_lengths, r1_penalty
from trainers.stit.generator import Generator
from trainers.stit.recipe import Adversarial, Inverting, STITRecipe
from trainers.stit.training import STIT
from trainers.system import Stage, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six plain pictures of 32 pixels."""
    numbers = np.random.default_rng(5)
    made = tmp_path / "pictures" / "00000"
    made.mkdir(parents=True)
    for index in range(6):
        small = numbers.integers(0, 256, (4, 4, 3), np.uint8)
        cv2.imwrite(str(made / f"{index}.png"), cv2.resize(small, (32, 32), interpolation=cv2.INTER_CUBIC))
    return made.parent


def _table(folder: Path, **changes: Any) -> dict[str, Any]:
    table: dict[str, Any] = {
        "system": "stit",
        "run": {
            "device": "cpu",
            "threads": 1,
            "save_every": 3,
            "keep": 9,
            "sample_every": 4,
            "validate_every": 4,
        },
        "data": {"folder": str(folder), "layout": "pictures", "held_back": 2, "size": 32},
        "generator": {"channel_base": 256, "channel_max": 8, "latent": 8, "mapping_layers": 2},
        "encoder": {"size": 32, "widths": [4, 4, 8, 8], "blocks": [1, 1, 1, 1], "critic_layers": 2},
        "adversarial": {"group": 2},
        "augmentation": {"target": 0.6, "start": 0.3, "pictures": 100},
        "inverting": {
            "perceptual": "gradient",
            "identity": "none",
            "progressive_from": 1,
            "progressive_every": 1,
        },
        "stages": [{"name": "gan", "steps": 5, "batch": 2}, {"name": "e4e", "steps": 3, "batch": 2}],
    }
    return table | changes


def _recipe(folder: Path, **changes: Any) -> Recipe:
    return from_table(_table(folder, **changes))


def test_both_stages_run_and_go_on_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    """From within the first stage, with ADA's signs half collected, and from within the second: the same end."""
    recipe, out = _recipe(folder), tmp_path / "run"
    last = out / "checkpoints" / "step_00000008"
    train(recipe, out)
    whole = kept(last)
    for step in (3, 6):
        (out / "latest.json").write_text(f'{{"checkpoint": "step_{step:08d}"}}')
        train(recipe, out, resume=True)
        assert kept(last) == whole
    found = checkpoint.read(out)
    assert set(found.networks()) == {"generator", "trained", "critic", "encoder", "latent_critic"}
    mean, latent = found.weights("generator")["mapping.w_avg"], found.weights("encoder")["latent_avg"]
    assert mean.abs().sum() > 0
    assert torch.equal(latent, mean.expand_as(latent))


def test_without_a_file_a_loss_is_refused_by_name(folder: Path) -> None:
    """LPIPS and ArcFace come from files that the user names; nothing else is taken in their place unasked."""
    for inverting, told in (
        ({"perceptual": "lpips", "identity": "none"}, "LPIPS needs.*--set inverting.perceptual=gradient"),
        ({"perceptual": "none", "identity": "arcface"}, "ArcFace's weights"),
    ):
        with pytest.raises(RecipeError, match=told):
            STIT(_recipe(folder, inverting=inverting).options)


def test_an_encoder_is_not_trained_through_noise(folder: Path, tmp_path: Path) -> None:
    """Alone, e4e's stage needs a generator that somebody trained; with a checkpoint of one it runs."""
    alone = {"stages": [{"name": "e4e", "steps": 1, "batch": 2}]}
    with pytest.raises(RecipeError, match=r"stage e4e: its generator was never trained.*run\.weights"):
        train(_recipe(folder, **alone), tmp_path / "refused")
    train(_recipe(folder, stages=[{"name": "gan", "steps": 1, "batch": 2}]), tmp_path / "gan")
    run = _table(folder)["run"] | {"weights": str(tmp_path / "gan")}
    train(_recipe(folder, run=run, **alone), tmp_path / "e4e")
    first, last = (checkpoint.read(tmp_path / name).weights("generator") for name in ("gan", "e4e"))
    assert all(torch.equal(first[name], last[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"size": 48}}, "power of 2"),
        ({"encoder": {"size": 64}, "data": {"size": 32}}, "at most data.size"),
        ({"stages": [{"name": "gan", "steps": 1, "batch": 5}]}, "a multiple of 2"),
        ({"stages": [{"name": "pti", "steps": 1}]}, "pti"),
    ],
)
def test_a_recipe_that_cannot_be_is_told(changes: dict[str, Any], told: str, folder: Path) -> None:
    """Before a network is built."""
    with pytest.raises(RecipeError, match=told):
        _recipe(folder, **changes)


def test_a_folder_without_enough_pictures_is_told(folder: Path, tmp_path: Path) -> None:
    """None at all, or all of them held back."""
    system = STIT(
        _recipe(
            folder, data={"folder": str(folder), "layout": "pictures", "held_back": 6, "size": 32}
        ).options
    )
    with pytest.raises(DataError, match="has 6 pictures"):
        system.pictures("train", "gan")


# --- parts of the steps ----------------------------------------------------------------------------


def test_r1_is_the_squared_gradient() -> None:
    """Of a critic that is linear the penalty is the squared length of its weights."""

    class Linear(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image * 0.5).flatten(1).sum(1, keepdim=True)

    assert float(r1_penalty(Linear(), torch.rand(3, 3, 4, 4))) == pytest.approx(0.25 * 48)  # type: ignore[arg-type]


def test_r1_reaches_every_layer_of_the_critic() -> None:
    """The penalty has a second derivative through resampling and the deviation of a group."""
    critic = Critic((4, 4, 4))
    r1_penalty(critic, torch.randn(4, 3, 16, 16)).backward()
    weights = [value for name, value in critic.named_parameters() if name.endswith("weight")]
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in weights)


def test_path_lengths_are_those_of_a_linear_picture() -> None:
    """The gradient of noise times picture, root mean square over the rows."""
    ws = torch.randn(2, 4, 3, requires_grad=True)
    image = ws.sum((1, 2))[:, None, None, None].expand(2, 3, 5, 5)
    noise = torch.ones(2, 3, 5, 5)
    expected = math.sqrt(3 * (75 / 5) ** 2)
    torch.testing.assert_close(path_lengths(image, ws, noise), torch.full((2,), expected))


def test_the_moving_average_follows_by_pictures() -> None:
    """After one half-life of pictures it has gone half the way; its buffers are those of the trained one."""
    torch.manual_seed(1)
    trained, mean = (Generator((4, 4), z_dim=4, w_dim=4, mapping_layers=1) for _ in range(2))
    trained.mapping.w_avg.fill_(2.0)
    before, goal = mean.synthesis.b4.const.clone(), trained.synthesis.b4.const.clone()
    gan = GAN(trained, mean, Critic((4, 4)), Adversarial(half_life=8, ramp=1e9))
    follow(gan, 8, Turn("gan", {}))
    torch.testing.assert_close(mean.synthesis.b4.const, (before + goal) / 2)
    assert torch.equal(mean.mapping.w_avg, trained.mapping.w_avg)


def test_lazy_penalties_slow_adam() -> None:
    """As the paper's appendix has it: every 16 steps, by 16/17."""
    assert lazy(0.002, (0.0, 0.99), 16, True) == (0.002 * 16 / 17, (0.0, 0.99 ** (16 / 17)))
    assert lazy(0.002, (0.0, 0.99), 16, False) == (0.002, (0.0, 0.99))


def test_augmentation_is_nothing_at_zero_and_differentiable() -> None:
    """The same batch at p = 0; at 1 other pictures, through which a gradient reaches every one."""
    image = torch.rand(4, 3, 16, 16, requires_grad=True)
    numbers = torch.Generator().manual_seed(2)
    assert augmented(image, 0.0, numbers) is image
    made = augmented(image, 1.0, numbers)
    made.sum().backward()
    assert made.shape == image.shape
    assert torch.isfinite(made).all()
    assert image.grad is not None
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()


def test_grey_stays_grey() -> None:
    """Hue and saturation leave a grey picture's channels equal, whatever else happens to it."""
    grey = torch.rand(6, 1, 8, 8).expand(6, 3, 8, 8)
    made = augmented(grey, 1.0, torch.Generator().manual_seed(3))
    torch.testing.assert_close(made[:, 0], made[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(made[:, 0], made[:, 2], rtol=0, atol=1e-5)


def test_rows_are_freed_one_by_one() -> None:
    """None before `progressive_from`, one there, one more every so often, all at the end."""
    how = Inverting(progressive_from=20, progressive_every=5)
    assert [stage_of(step, how, 18) for step in (0, 19, 20, 24, 25, 10_000)] == [0, 0, 1, 1, 2, 17]
    ws = torch.zeros(2, 4, 3)
    ws[:, 1], ws[:, 3] = 1.0, 9.0
    assert float(delta_norms(ws, 2)) == pytest.approx(math.sqrt(3))
    assert float(delta_norms(ws, 0)) == 0.0


def test_the_papers_recipe_is_config_f() -> None:
    """Widths of the published generator."""
    assert STITRecipe(stages=(Stage("gan", steps=1, batch=4),)).widths() == (512,) * 5 + (256, 128, 64, 32)


@pytest.mark.full
@pytest.mark.parametrize("stage", ["gan", "e4e"])
def test_one_step_at_the_published_size(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's recipe, one picture of 1024 pixels, both penalties; without other people's files."""
    table = tomllib.loads((CONFIGS / "stit_paper.toml").read_text())
    table["inverting"] |= {"perceptual": "gradient", "identity": "none", "progressive_from": 0}
    table["stages"] = [{"name": stage, "steps": 1, "batch": 1}]
    system = STIT(from_table(table).options)
    system.generator.mapping.w_avg.normal_()  # as a training leaves it
    system.enter(stage)
    for network in system.networks.values():
        network.train()
    turn = Turn(stage, system.optimisers())
    before = {name: next(network.parameters()).clone() for name, network in system.networks.items()}
    scalars = system.step({"image": torch.rand(1, 3, 1024, 1024) * 2 - 1}, turn)
    assert all(math.isfinite(float(value)) for value in scalars.values())
    stepped = {"gan": ("generator", "trained", "critic"), "e4e": ("encoder", "latent_critic")}[stage]
    for name in stepped:
        assert not torch.equal(before[name], next(system.networks[name].parameters())), name
    with capsys.disabled():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"\n{stage}, one picture: the process took {peak:.1f} GiB at most")
