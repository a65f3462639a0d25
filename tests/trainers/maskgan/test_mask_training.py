"""MaskVAE and the parser in the loop: losses, what is drawn, resuming, recipes, and the agreement that is measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.maskgan.folder import SIDE, write_masks, write_official
from trainers import checkpoint
from trainers.classes import CELEBAMASK
from trainers.config import from_table, load
from trainers.errors import CheckpointError, DataError, RecipeError
from trainers.loop import train
from trainers.maskgan.agreement import Agreement, main, measure, measure_checkpoint, usual
from trainers.maskgan.companions import companion
from trainers.maskgan.interpolation import reconstruct
from trainers.maskgan.label_maps import LabelMaps, shares
from trainers.maskgan.mask_recipes import MaskData, VAELosses
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.masks import open_masks
from trainers.maskgan.parser import IGNORED, ParsingUNet, arguments_of, pixel_entropy
from trainers.maskgan.vae_training import MaskVAETraining, vae_terms
from trainers.system import Draw, Turn

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "data")


def _table(system: str, folder: Path, steps: int = 2, **tables: Any) -> dict[str, Any]:
    network = {
        "maskgan_vae": {"mask_vae": {"width": 4, "latent": 16}},
        "maskgan_parser": {"parser": {"width": 4}},
    }
    return {
        "system": system,
        "run": {"device": "cpu", "threads": 1, "validate_every": 2, "sample_every": 2, "save_every": 1,
                "log_every": 1, "sample_rows": 2, "tensorboard": False},
        "data": {"folder": str(folder), "layout": "prepared", "size": SIDE, "flip": 0.5, "turn": 5.0},
        "stages": [{"name": "masks", "steps": steps, "batch": 4}],
        "optimiser": {"rate": 5e-3, "beta1": 0.9, "average": 0.9},
        **network[system],
        **tables,
    }  # fmt: skip


@pytest.mark.parametrize(("system", "name"), [("maskgan_vae", "mask_vae"), ("maskgan_parser", "parser")])
def test_it_trains_resumes_and_comes_along_elsewhere(
    system: str, name: str, folder: Path, tmp_path: Path
) -> None:
    """A resumed training equals an uninterrupted one; its checkpoint is what MaskGAN takes as a companion."""
    whole = train(from_table(_table(system, folder)), tmp_path / "whole")
    cut = from_table(_table(system, folder), ["run.save_every=1"])
    train(from_table(_table(system, folder, steps=1)), tmp_path / "cut")
    outcome = train(cut, tmp_path / "cut", resume=True)
    assert (whole.step, outcome.step) == (2, 2)
    assert whole.checkpoint is not None
    assert outcome.checkpoint is not None
    weights = [(one.checkpoint / "weights.safetensors").read_bytes() for one in (whole, outcome)]  # type: ignore[operator]
    assert weights[0] == weights[1]
    kind = {"mask_vae": MaskVAE, "parser": ParsingUNet}[name]
    network, arguments = companion(str(tmp_path / "whole"), name, kind)
    assert arguments["classes"] == len(CELEBAMASK)
    assert not network.training
    assert checkpoint.read(tmp_path / "whole").data["classes"] == "celebamask"
    table = measure_checkpoint(str(tmp_path / "whole"), str(folder))
    assert table["network"] == name
    assert (table["maps"], table["persons"]) == (10, 2)
    assert list(tmp_path.rglob("samples/*.png"))


def test_mask_vae_learns_to_keep_a_mask(folder: Path) -> None:
    """Its own loss, on a handful of maps: most of what comes back, small parts included, is where it was."""
    torch.manual_seed(0)
    losses, optimiser = {"balance": 0.3}, {"rate": 1e-2, "beta1": 0.9}
    table = _table(
        "maskgan_vae", folder, mask_vae={"width": 4, "latent": 32}, losses=losses, optimiser=optimiser
    )
    system = MaskVAETraining(from_table(table).options)
    system.pictures("train", "masks")
    maps = LabelMaps(open_masks(folder, "prepared", SIDE).train, MaskData(), moved=False)
    labels = torch.stack([maps[Draw(row, 0)]["labels"] for row in (0, 2, 6, 7, 8)])
    turn = Turn(stage="masks", optimisers=system.optimisers())
    before = Agreement.of(labels, reconstruct(system.vae, labels)).mean_iou()
    for _ in range(60):
        system.step({"labels": labels}, turn)
    found = Agreement.of(labels, reconstruct(system.vae.eval(), labels))
    assert before < 0.1
    assert found.accuracy() > 0.95
    assert found.mean_iou() > 0.65


def test_the_losses_are_the_papers() -> None:
    """Mean cross entropy per pixel plus 1e-5 times the divergence, by hand; the sum over the vector, or its mean."""
    numbers = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=numbers)
    labels = torch.randint(0, 3, (2, 4, 4), generator=numbers)
    mean, log_variance = torch.randn(2, 5, generator=numbers), torch.randn(2, 5, generator=numbers)
    by_hand = -logits.log_softmax(1).gather(1, labels[:, None]).mean()
    apart = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance)
    found = vae_terms(logits, labels, mean, log_variance, VAELosses())
    assert torch.allclose(found["entropy"], by_hand)
    assert torch.allclose(found["divergence"], 1e-5 * apart.sum(1).mean())
    found = vae_terms(logits, labels, mean, log_variance, VAELosses(2.0, "mean"))
    assert torch.allclose(found["divergence"], 2.0 * apart.mean())
    weights = torch.tensor([1.0, 2.0, 4.0])
    each = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0] * weights[labels]
    found = vae_terms(logits, labels, mean, log_variance, VAELosses(), weights)
    assert torch.allclose(found["entropy"], each.sum() / weights[labels].sum())


def test_ignored_pixels_count_for_nothing() -> None:
    """The parser's entropy is a mean over the others, whatever stands there."""
    logits = torch.randn(1, 19, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.full((1, 16, 16), IGNORED, dtype=torch.uint8)
    labels[0, :4] = 3
    wanted = -logits.log_softmax(1)[0, 3, :4].mean()
    assert torch.allclose(pixel_entropy(logits, labels), wanted)


def test_a_parser_is_built_from_its_file_or_refused() -> None:
    """Width, classes and norms follow from the shapes; another network's file is named; so is a size that cannot be."""
    for norm in (True, False):
        made = ParsingUNet(classes=7, width=3, channels=4, norm=norm)
        assert arguments_of(made.state_dict()) == {"classes": 7, "width": 3, "channels": 4, "norm": norm}
    with pytest.raises(CheckpointError, match="no parsing U-Net"):
        arguments_of({"fc.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="multiples of 16"):
        made(torch.zeros(1, 4, 24, 32))
    with pytest.raises(ValueError, match="expected 1 or more"):
        ParsingUNet(width=0)


def test_moved_maps_hold_no_new_classes_and_follow_their_draw(folder: Path) -> None:
    """Turned, scaled and shifted by the nearest pixel; the same draw gives the same map; held-back ones lie still."""
    faces = open_masks(folder, "prepared", SIDE).train
    data = MaskData(size=SIDE, flip=0.5, turn=20.0, zoom=0.3, shift=0.2, colour=0.4)
    maps = LabelMaps(faces, data, moved=True, pictures=True)
    allowed = set(faces.classes(3).unique().tolist()) | {4, 5}
    drawn = [maps[Draw(3, seed)] for seed in range(12)]
    for one in drawn:
        assert one["labels"].dtype == torch.uint8
        assert set(one["labels"].unique().tolist()) <= allowed
        assert one["image"].dtype == torch.float32
        assert float(one["image"].abs().max()) <= 1.0
    assert len({one["labels"].numpy().tobytes() for one in drawn}) > 8
    assert torch.equal(maps[Draw(3, 5)]["labels"], drawn[5]["labels"])
    still = LabelMaps(faces, data, moved=False)[Draw(3, 5)]
    assert torch.equal(still["labels"], faces.classes(3).to(torch.uint8))


def test_picture_and_map_are_moved_together(folder: Path) -> None:
    """The drawn mouth is where its class is, however it was moved."""
    faces = open_masks(folder, "prepared", SIDE).train
    maps = LabelMaps(faces, MaskData(size=SIDE, turn=30.0, shift=0.1), moved=True, pictures=True)
    for seed in range(6):
        one = maps[Draw(3, seed)]
        skin = one["image"][:, one["labels"] == CELEBAMASK.index("skin")].mean(1)
        mouth = one["image"][:, one["labels"] == CELEBAMASK.index("mouth")].mean(1)
        assert float(skin[0]) > 0.3 > 0.1 > float(mouth[0])


def test_agreement_is_counted_over_the_whole_set() -> None:
    """By hand: intersections and unions add up over maps before they are divided; what half show is frequent."""
    wanted = torch.tensor([[[1, 1], [1, 2]], [[1, 1], [0, 0]]], dtype=torch.uint8)
    given = torch.tensor([[[1, 1], [0, 2]], [[1, 0], [0, 0]]], dtype=torch.uint8)
    found = Agreement.of(wanted[:1], given[:1], 4) + Agreement.of(wanted[1:], given[1:], 4)
    assert found.iou()[:3].tolist() == [2 / 4, 3 / 5, 1.0]
    assert math.isnan(float(found.iou()[3]))
    assert found.frequent().tolist() == [True, True, True, False]
    assert found.mean_iou() == pytest.approx((0.5 + 0.6 + 1.0) / 3)
    assert found.accuracy() == pytest.approx(6 / 8)
    rare = Agreement(found.pixels, torch.tensor([2, 2, 0, 0]), 3)
    assert rare.mean_iou() == pytest.approx((0.5 + 0.6) / 2)


def test_a_perfect_answer_agrees_and_the_usual_map_is_the_floor(folder: Path) -> None:
    """The measure itself: 1 for the maps themselves, less for one map for everybody; an empty split is refused."""
    masks = open_masks(folder, "prepared", SIDE)
    assert measure(lambda wanted, rows: wanted, masks.validation).mean_iou() == 1.0
    common = usual(masks.train)
    assert 0.3 < measure(lambda wanted, rows: common.expand_as(wanted), masks.validation).mean_iou() < 0.999
    official = open_masks(write_official(folder / "official"), "maskgan", SIDE)
    for path in (folder / "official").rglob("test_*/*"):
        path.unlink()
    nobody = open_masks(folder / "official", "maskgan", SIDE).validation
    assert len(official.validation) == 2
    with pytest.raises(DataError, match="holds no picture"):
        measure(lambda wanted, rows: wanted, nobody)


def test_shares_add_up(folder: Path) -> None:
    """Of pixels, by class."""
    found = shares(open_masks(folder, "prepared", SIDE).train, 19)
    assert float(found.sum()) == pytest.approx(1.0)
    assert np.flatnonzero(found.numpy()).tolist() == [0, 1, 4, 5, 10, 11]


def test_the_measure_speaks_json_and_names_what_is_wrong(
    mask_vae: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One table on standard output and in the file; a checkpoint without a size, or no checkpoint, is one line."""
    assert main([str(mask_vae), str(folder)]) == 2
    assert "does not state the size" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), str(folder)]) == 2
    assert capsys.readouterr().err.startswith("agreement: ")
    train(from_table(_table("maskgan_vae", folder, steps=1)), tmp_path / "run")
    assert main([str(tmp_path / "run"), str(folder), "--json", str(tmp_path / "found.json")]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == json.loads((tmp_path / "found.json").read_text())
    assert set(table) >= {"mean_iou", "accuracy", "classes", "usual_map", "step", "size"}


@pytest.mark.parametrize("name", ["maskgan_vae_small", "maskgan_parser_small"])
def test_the_small_recipes_load(name: str) -> None:
    """What is shipped is accepted as it stands."""
    recipe = load(CONFIGS / f"{name}.toml")
    assert recipe.system == name.removesuffix("_small")
    assert recipe.options.data.crop == "celeba-hq"


@pytest.mark.parametrize(
    ("system", "override", "said"),
    [
        ("maskgan_vae", "data.size=96", "power of two"),
        ("maskgan_vae", "losses.reduction=total", "expected one of sum, mean"),
        ("maskgan_vae", "losses.balance=2", "balance is 2"),
        ("maskgan_parser", "data.size=40", "multiple of 16"),
        ("maskgan_parser", "data.colour=3", "colour is 3"),
        ("maskgan_parser", "data.layout=celeba", "did you mean 'celebamask'"),
        ("maskgan_vae", "mask_vae.widht=3", "did you mean 'width'"),
    ],
)
def test_impossible_recipes_are_refused(system: str, override: str, said: str, folder: Path) -> None:
    """Before anything is read."""
    with pytest.raises(RecipeError, match=said):
        from_table(_table(system, folder), [override])


def test_a_folder_of_another_crop_is_refused(folder: Path) -> None:
    """The drawn folder is cut by `face`; CelebAMask-HQ's own by `celeba-hq`, whatever a recipe says."""
    with pytest.raises(DataError, match="crop is 'face', the recipe expects 'celeba-hq'"):
        open_masks(folder, "prepared", SIDE, crop="celeba-hq")
    with pytest.raises(DataError, match="cut by 'celeba-hq'"):
        open_masks(write_official(folder / "official"), "maskgan", SIDE, crop="face")
