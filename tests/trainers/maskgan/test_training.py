"""MaskGAN in the loop: both stages, who steps what in which order, interpolated masks, resuming, recipes."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainers.maskgan.folder import recipe_table, write_masks, write_official
from trainers import checkpoint
from trainers.config import from_table, load
from trainers.errors import CheckpointError, DataError, RecipeError
from trainers.loop import train
from trainers.maskgan.blender import AlphaBlender
from trainers.maskgan.critic import MultiscaleCritic
from trainers.maskgan.labels import one_hot
from trainers.maskgan.networks import DenseMappingNetwork, start
from trainers.maskgan.pairs import Pairs, resized
from trainers.maskgan.recipe import MAPPING, Companions, Losses
from trainers.maskgan.step import Networks, Pair, editing_step, given_terms, judged_terms, mapping_step, total
from trainers.maskgan.training import MaskGAN
from trainers.perceptual import GradientDistance
from trainers.system import Draw, Stage, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "data")


def system(table: dict[str, Any]) -> MaskGAN:
    torch.manual_seed(0)
    return MaskGAN(from_table(table).options)


def pair(count: int = 2, size: int = 64, *, edited: bool = True) -> Pair:
    numbers = torch.Generator().manual_seed(2)

    def planes() -> torch.Tensor:
        return one_hot(torch.randint(0, 19, (count, size, size), generator=numbers))

    image = torch.rand(count, 3, size, size, generator=numbers) * 2 - 1
    return Pair(planes(), image, *((planes(), planes()) if edited else ()))


def networks() -> tuple[Networks, dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(0)
    made = Networks(
        DenseMappingNetwork(width=2, downsamples=2, blocks=1),
        AlphaBlender(2, 1, 1),
        MultiscaleCritic(22, 4, 2, 2),
        GradientDistance(),
    )
    generator, blender = list(made.generator.parameters()), list(made.blender.parameters())
    return made, {
        "generator": torch.optim.Adam(generator, lr=1e-3),
        "both": torch.optim.Adam([*generator, *blender], lr=1e-3),
        "critic": torch.optim.Adam(made.critic.parameters(), lr=1e-3),
    }


def test_both_stages_run_one_after_the_other(folder: Path, mask_vae: Path, tmp_path: Path) -> None:
    """Mapping, then editing with masks that MaskVAE makes on the fly; the checkpoint holds the MaskVAE unchanged."""
    table = recipe_table(
        folder,
        "mapping",
        "editing",
        companions={"mask_vae": str(mask_vae)},
        optimiser={"average": 0.9, "clip": 1.0},
        data={"folder": str(folder), "layout": "prepared", "size": 64, "expressions": 0.5, "flip": 0.5},
    )
    train(from_table(table), tmp_path / "run")
    kept = checkpoint.read(tmp_path / "run")
    assert set(kept.networks()) == {"generator", "generator_ema", "blender", "critic", "mask_vae"}
    before, after = checkpoint.read(mask_vae).weights("mask_vae"), kept.weights("mask_vae")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert kept.data["crop"]["rule"] == "face"
    assert kept.data["classes"] == "celebamask"
    with (tmp_path / "run" / "scalars.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1]["generator/adversarial"]
    assert not rows[1]["blend/adversarial"]
    assert all(rows[3][name] for name in ("critic/blend", "blend/features", "blend/perceptual", "norm/both"))
    assert list((tmp_path / "run" / "samples").glob("*.png"))


def test_a_resumed_training_is_the_uninterrupted_one(folder: Path, mask_vae: Path, tmp_path: Path) -> None:
    """Bit for bit, from the middle of the editing stage on."""
    table = recipe_table(folder, "editing", companions={"mask_vae": str(mask_vae)})
    train(from_table(table), tmp_path / "whole")
    train(from_table(table), tmp_path / "parts")
    last = tmp_path / "parts" / "checkpoints" / "step_00000002"
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    (tmp_path / "parts" / "latest.json").write_text(json.dumps({"checkpoint": "step_00000001"}))
    train(from_table(table), tmp_path / "parts", resume=True)
    for network in ("generator", "blender", "critic"):
        whole, parts = (checkpoint.read(tmp_path / name).weights(network) for name in ("whole", "parts"))
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_order_of_the_official_iteration() -> None:
    """Critic on G's picture, G, critic on B's, then G and B: as the author confirmed it."""
    made, optimisers = networks()
    order: list[str] = []
    for name, optimiser in optimisers.items():
        optimiser.register_step_pre_hook(lambda *_, name=name: order.append(name))
    editing_step(made, pair(), Losses(), Turn("editing", optimisers), None)
    assert order == ["critic", "generator", "critic", "both"]
    order.clear()
    mapping_step(made, pair(edited=False), Losses(), Turn("mapping", optimisers), None)
    assert order == ["critic", "generator"]


def test_each_step_moves_its_own_networks_alone() -> None:
    """G's loss leaves nothing in the critic, the critic's nothing in G; the blend moves G and B."""
    made, optimisers = networks()
    moved: list[set[str]] = []

    def weights() -> dict[str, list[torch.Tensor]]:
        return {
            name: [value.detach().clone() for value in getattr(made, name).parameters()]
            for name in ("generator", "blender", "critic")
        }

    seen = [weights()]

    def record(*_: Any) -> None:
        now = weights()
        moved.append({n for n in now if any(not torch.equal(a, b) for a, b in zip(now[n], seen[-1][n]))})
        seen.append(now)

    for optimiser in optimisers.values():
        optimiser.register_step_post_hook(record)
    editing_step(made, pair(), Losses(), Turn("editing", optimisers), None)
    assert moved == [{"critic"}, {"generator"}, {"critic"}, {"generator", "blender"}]


def test_the_critic_learns_by_half_the_sum_of_its_terms() -> None:
    """pix2pixHD's factor; on fakes that are not followed back."""
    made, optimisers = networks()
    given = pair(edited=False)
    fake = made.generator(given.planes, given.planes, given.image)
    loss = 0.5 * total(judged_terms(made.critic, given, fake))
    expected = torch.autograd.grad(loss, list(made.critic.parameters()), allow_unused=False)
    found: list[torch.Tensor] = []
    hook = optimisers["critic"].register_step_pre_hook(
        lambda *_: found.extend(p.grad.clone() for p in made.critic.parameters())
    )
    mapping_step(made, given, Losses(), Turn("mapping", optimisers), None)
    hook.remove()
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(found, expected))


def test_features_of_the_real_picture_are_a_goal_only() -> None:
    """Feature matching pulls the fake towards the real, never the other way: no gradient reaches the goal."""
    made, _ = networks()
    given = pair(edited=False)
    image = given.image.clone().requires_grad_()
    fake = torch.zeros_like(image).requires_grad_()
    terms = given_terms(made.critic, Pair(given.planes, image), fake, None, Losses())
    terms["features"].backward()
    assert image.grad is None
    assert fake.grad is not None


def test_a_pair_takes_its_style_from_where_it_is_told() -> None:
    """By default from itself; else from the other picture and its own mask."""
    made, _ = networks()
    start(made.generator)
    own, other = pair(1), pair(1)
    other = Pair(other.planes.flip(-1), other.image.flip(-1))
    told = Pair(own.planes, own.image, style_planes=other.planes, style_image=other.image)
    expected = made.generator.style(other.planes, other.image)
    assert torch.equal(told.style(made.generator).gamma, expected.gamma)
    assert not torch.equal(own.style(made.generator).gamma, expected.gamma)


def test_an_adain_starts_near_a_plain_norm() -> None:
    """Its gammas are near 1 and its betas near 0, whatever the picture."""
    torch.manual_seed(0)
    generator = DenseMappingNetwork(width=2, downsamples=2, blocks=2)
    start(generator)
    style = generator.style(pair(1).planes, pair(1).image)
    assert (style.gamma - 1).abs().max() < 0.2
    assert style.beta.abs().max() < 0.3
    convolution = generator.model.get_submodule("4")
    assert isinstance(convolution, nn.Conv2d)
    assert float(convolution.weight.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_masks_of_the_official_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    """M_inter and M_outer of the picture, not made anew."""
    folder = write_official(tmp_path / "data")
    table = recipe_table(
        folder,
        "editing",
        interpolation={"source": "folders"},
        data={"folder": str(folder), "layout": "maskgan", "size": 64},
    )
    made = system(table)
    pictures = made.pictures("train", "editing")
    sample = pictures[Draw(1, 5)]
    assert sample["inner"].dtype == torch.uint8
    assert not torch.equal(sample["inner"], sample["outer"])
    batch = {name: value[None] for name, value in sample.items()}
    inner, outer = made.interpolated(batch)
    assert torch.equal(inner, one_hot(batch["inner"]))
    assert torch.equal(outer, one_hot(batch["outer"]))
    assert len(made.pictures("validation", "editing")) == 2
    without = write_official(tmp_path / "bare", interpolated=False)
    table["data"]["folder"] = str(without)
    with pytest.raises(DataError, match="train_label_inter_1"):
        system(table).pictures("train", "editing")


def test_a_mirrored_sample_is_mirrored_whole(tmp_path: Path) -> None:
    """Picture, mask, precomputed masks; left classes become right ones."""
    folder = write_official(tmp_path / "data")
    made = system(
        recipe_table(
            folder,
            "editing",
            interpolation={"source": "folders"},
            data={"folder": str(folder), "layout": "maskgan", "size": 64},
        )
    )
    masks = made._opened()
    plain, turned = (
        Pairs(masks.train, flip=share, inner=masks.inner, outer=masks.outer)[Draw(2, 9)]
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain["image"].flip(-1), turned["image"])
    for name in ("labels", "inner", "outer", "style_labels"):
        swapped = plain[name].flip(-1).clone()
        left, right = swapped == 4, swapped == 5
        swapped[left], swapped[right] = 5, 4
        assert torch.equal(swapped, turned[name])


def test_an_expression_is_said_by_the_layout_alone(folder: Path) -> None:
    """With the share at 1 the style is always another picture of the same base; the reference another person's mask."""
    made = system(
        recipe_table(
            folder, data={"folder": str(folder), "layout": "prepared", "size": 64, "expressions": 1.0}
        )
    )
    pictures = made.pictures("train", "mapping")
    for index in range(len(pictures)):
        sample = pictures[Draw(index, index)]
        assert not torch.equal(sample["labels"], sample["style_labels"])
        corner = (slice(None), slice(0, 6), slice(0, 6))  # the ground, whose grey is the person's
        assert torch.equal(sample["image"][corner], sample["style_image"][corner])


def test_labels_are_resized_without_becoming_others() -> None:
    """The nearest pixel's class, there and back, of an integer type throughout."""
    labels = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    larger = resized(labels, 12)
    assert larger.dtype == torch.uint8
    assert torch.equal(larger, labels.repeat_interleave(3, 1).repeat_interleave(3, 2))
    assert torch.equal(resized(larger, 4), labels)
    with pytest.raises(TypeError, match="whole numbers"):
        one_hot(labels.float())


def test_rates_stay_and_then_fall(folder: Path) -> None:
    """For so many epochs, then linearly; without epochs a cosine over the stage."""
    official = system(recipe_table(folder, optimiser={"constant": 3, "falling": 3}))
    rates = [official.rate("both", Turn("editing", {}, epoch=epoch)) for epoch in (0, 2.9, 3.0, 5.5, 6)]
    assert rates == pytest.approx([1.0, 1.0, 0.75, 0.25, 0.0])
    smooth = system(recipe_table(folder, optimiser={"constant": 0, "falling": 0}))
    rates = [smooth.rate("both", Turn("m", {}, stage_step=step, stage_steps=10)) for step in (0, 5, 10)]
    assert rates == pytest.approx([1.0, 0.51, 0.02])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": [{"name": "editing", "steps": 1}]}, "companions.mask_vae"),
        (
            {
                "stages": [{"name": "editing", "steps": 1}],
                "interpolation": {"source": "folders"},
            },
            'data.layout = "maskgan"',
        ),
        ({"stages": [{"name": "blending", "steps": 1}]}, "expected one of mapping, editing"),
        ({"data": {"size": 48}}, "multiple of 32"),
        ({"data": {"size": 32}}, "64 or more"),
        ({"data": {"expressions": 0.5}}, r"data\.expressions: only a folder of layout"),
        ({"data": {"closed": 0.5}}, r"data\.closed: only a folder of layout"),
        ({"losses": {"perceptual": "vgg16"}}, "did you mean 'vgg19'"),
        ({"generator": {"wdith": 3}}, "did you mean 'width'"),
        ({"interpolation": {"strength": 0.5}}, "1.0 or more"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    """Before anything is read, with what was expected."""
    with pytest.raises(RecipeError, match=said):
        from_table(recipe_table(folder) | changes)


def test_perceptual_weights_are_never_made_up(folder: Path, tmp_path: Path) -> None:
    """Without a file VGG19 is refused by name, before anything is built."""
    with pytest.raises(RecipeError, match=r"losses\.vgg19 is empty"):
        system(recipe_table(folder, losses={}))
    missing = {"perceptual": "vgg19", "vgg19": str(tmp_path / "vgg19.pth")}
    with pytest.raises(RecipeError, match="is no file"):
        system(recipe_table(folder, losses=missing))


def test_a_companion_of_another_kind_is_refused(folder: Path, mask_vae: Path, tmp_path: Path) -> None:
    """By what its checkpoint holds."""
    about = json.loads((mask_vae / "checkpoint.json").read_text())
    about["arguments"] = {"parser": {}}
    (mask_vae / "checkpoint.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="no network 'mask_vae'"):
        system(recipe_table(folder, companions={"mask_vae": str(mask_vae)}))


def test_the_recipes_are_what_they_say() -> None:
    """The paper's with the release's widths and losses; the small one without any network of others."""
    paper = load(CONFIGS / "maskgan_paper.toml").options
    assert (paper.data.size, paper.generator.width, paper.blender.width, paper.critic.width) == (
        512,
        64,
        32,
        64,
    )
    assert (paper.losses.features, paper.losses.perceptual_weight, paper.losses.perceptual) == (
        10,
        10,
        "vgg19",
    )
    assert (paper.optimiser.rate, paper.optimiser.beta1) == (5e-5, 0.5)
    assert paper.interpolation.strength == 2.5
    small = load(CONFIGS / "maskgan_small.toml").options
    assert small.losses.perceptual != "vgg19"
    assert 64 <= small.data.size <= 128


@pytest.mark.full
def test_a_step_of_the_papers_recipe_at_full_width(tmp_path: Path) -> None:
    """512 px, the release's widths, VGG19 by chance: an editing step of one picture; memory and time are printed."""
    import resource
    import time

    from trainers.perceptual import VGG19

    torch.manual_seed(0)
    torch.save(VGG19().state_dict(), tmp_path / "vgg19.pth")
    recipe = load(CONFIGS / "maskgan_paper.toml", [f"losses.vgg19={tmp_path / 'vgg19.pth'}"]).options
    alone = dataclasses.replace(recipe, companions=Companions(), stages=(Stage(MAPPING, steps=1),))
    made = MaskGAN(alone)
    counts = {
        name: sum(value.numel() for value in network.parameters()) for name, network in made.networks.items()
    }
    assert counts == {"generator": 89_702_595, "blender": 4_329_443, "critic": 5_568_386}
    started = time.perf_counter()
    scalars = editing_step(
        Networks(made.generator, made.blender, made.critic, made.distance),
        pair(1, recipe.data.size),
        recipe.losses,
        Turn("editing", made.optimisers()),
        None,
    )
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"maskgan_paper: one picture, {seconds:.1f} s a step, {memory:.1f} GiB at most")
    assert all(torch.isfinite(torch.as_tensor(value)) for value in scalars.values())
