"""Edits, stitching masks, LPIPS and one frame's stitching against closed forms; official numbers in tests/parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.align import masks as engine_masks
from tests.trainers.stit.enrolled import W_DIM, generator
from trainers.errors import CheckpointError, RecipeError
from trainers.stit import edits, masks
from trainers.stit.lpips import LPIPS, lpips_of, read_lpips
from trainers.stit.pivotal import Pivotal, away_from, pivot_terms
from trainers.stit.stitching import Reach, Stitching, drawn_edit, stitch


def disc(size: int = 48) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((x - 22) ** 2 + (y - 40) ** 2 < 15**2).float()[None, None]


@pytest.mark.parametrize("pixels", [(3, 0, 4, False), (5, 2, 3, True), (0, 1, 0, False), (40, 0, 60, False)])
def test_the_engines_masks_are_these(pixels: tuple[int, int, int, bool]) -> None:
    """The live path's NumPy masks and the tuning's are the same bits, the resized ones to rounding."""
    border, inner, outer, whole = pixels
    ours = masks.stitching_masks(disc(), border=border, inner=inner, outer=outer, whole_image=whole)
    live = engine_masks.stitching_masks(
        disc()[0, 0].numpy().astype(np.uint8), border=border, inner=inner, outer=outer, whole_image=whole
    )
    for name in ("content", "border", "full"):
        mask = getattr(ours, name)
        assert np.array_equal(mask[0, 0].numpy(), getattr(live, name)), name
        resized = engine_masks.resized_corners(getattr(live, name), 96)
        assert resized == pytest.approx(masks.resized_corners(mask, 96)[0, 0].numpy(), abs=1e-5)


@pytest.mark.parametrize("pixels", [1, 3, 4, 7, 25, 60])
def test_growing_by_threes_is_a_maximum_over_the_square(pixels: int) -> None:
    """Up to the picture's edge and beyond its size, whatever the number of pixels."""
    mask = (torch.rand(1, 1, 40, 33, generator=torch.Generator().manual_seed(0)) > 0.99).float()
    across = 2 * pixels + 1
    wide = torch.nn.functional.max_pool2d(mask, (1, across), stride=1, padding=(0, pixels))
    wanted = torch.nn.functional.max_pool2d(wide, (across, 1), stride=1, padding=(pixels, 0))
    assert torch.equal(masks.dilated(mask, pixels), wanted)


def test_both_sides_know_one_set_of_figures() -> None:
    """The engine's are those of a label map, half of the crop's."""
    assert engine_masks.BACKGROUND == masks.BACKGROUND
    assert (2 * engine_masks.BORDER, 2 * engine_masks.OUTER) == (masks.BORDER, masks.OUTER)
    assert engine_masks.INNER == masks.INNER
    labels = torch.randint(0, 19, (1, 16, 16), generator=torch.Generator().manual_seed(0))
    live = engine_masks.foreground(labels[0].numpy().astype(np.uint8))
    assert np.array_equal(masks.foreground(labels)[0, 0].numpy(), live)


def test_a_masked_error_is_three_times_a_mean() -> None:
    """Over the mask's pixels; an empty mask costs nothing."""
    ones, mask = torch.ones(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    assert masks.masked_error(2 * ones, -ones, mask) == pytest.approx(27)
    assert masks.masked_error(2 * ones, -ones, mask, "l1") == pytest.approx(9)
    assert masks.masked_error(2 * ones, -ones, 0 * mask) == 0
    with pytest.raises(ValueError, match="expected 0 or more"):
        masks.stitching_masks(mask, border=1, outer=-1)


def write(folder: Path, name: str, stored: object) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", stored)
    return folder / f"{name}.npy"


def test_directions_add_up_at_half_their_strength(tmp_path: Path) -> None:
    """The first row of an official file goes to all layers; strengths are halved; several are summed."""
    smile, age = np.arange(4.0), np.ones(4)
    write(tmp_path / "d", "smile", np.stack([smile, age + 9]))
    write(tmp_path / "d", "age", age)
    found = edits.read_directions(tmp_path / "d", 4)
    assert list(found) == ["age", "smile"]
    ws = torch.zeros(2, 3, 4)
    done = edits.moved(ws, found, {"smile": 2.0, "age": -1.0})
    assert done.dtype == torch.float32
    assert torch.equal(done, torch.tensor([-0.5, 0.5, 1.5, 2.5]).expand(2, 3, 4))
    with pytest.raises(RecipeError, match="did you mean 'smile'"):
        edits.moved(ws, found, {"smil": 1.0})


def test_wrong_directions_are_refused(tmp_path: Path) -> None:
    """Another generator's, a missing one, a pickle, numbers that are not finite, an empty or missing folder."""
    folder = tmp_path / "d"
    write(folder, "smile", np.zeros((18, 7)))
    with pytest.raises(CheckpointError, match="another generator"):
        edits.read_directions(folder, 4)
    with pytest.raises(CheckpointError, match="did you mean 'smile'"):
        edits.read_directions(folder, 7, ("smle",))
    for stored in (np.array([{}]), np.array([np.nan] * 7), np.array(["a"]), np.zeros((1, 2, 7))):
        write(folder, "smile", stored)
        with pytest.raises(CheckpointError, match=r"smile\.npy"):
            edits.read_directions(folder, 7)
    (folder / "smile.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(CheckpointError, match="not readable"):
        edits.read_directions(folder, 7)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(CheckpointError, match="W direction"):
            edits.read_directions(tmp_path / name, 7)


def test_frozen_layers_are_the_same_in_every_frame() -> None:
    """From the first one on, their mean; the others and the given codes stay."""
    ws = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    still = edits.frozen(ws, 4)
    assert torch.equal(still[:, :4], ws[:, :4])
    assert torch.allclose(still[:, 4:], ws[:, 4:].mean(0).expand(5, 2, 3))
    assert not torch.equal(still, ws)
    assert torch.equal(edits.frozen(ws, 6), ws)
    with pytest.raises(RecipeError, match="freeze_fine_layers is 7"):
        edits.frozen(ws, 7)


def test_a_global_direction_moves_convolutions_alone() -> None:
    """One offset per style, zeros for the colours; strength 0 is the picture itself."""
    made = generator()
    lengths = [8, 8, 8, 8, 8, 8, 8]  # b4.conv1, then two of each of b8, b16, b32
    direction = torch.arange(float(sum(lengths)))
    offsets = edits.style_offsets(made.synthesis, direction)
    styles = made.synthesis.styles(torch.zeros(1, made.num_ws, W_DIM))
    assert [offset.shape for offset in offsets] == [style.shape for style in styles]
    colours = [1, 4, 7, 10]
    assert all(not offsets[index].any() for index in colours)
    rest = torch.cat([offset for index, offset in enumerate(offsets) if index not in colours], 1)
    assert torch.equal(rest[0], direction)
    ws = torch.zeros(1, made.num_ws, W_DIM)
    same = made.synthesis.from_styles(edits.styled(made.synthesis, ws, offsets, 0.0))
    assert torch.equal(same, made.synthesis(ws))
    with pytest.raises(CheckpointError, match="another generator"):
        edits.style_offsets(made.synthesis, direction[1:])


def test_a_global_direction_without_statistics_or_relevance_is_refused(tmp_path: Path) -> None:
    """By name: what is missing, or that the threshold leaves nothing."""
    with pytest.raises(CheckpointError, match=r"fs3\.npy"):
        edits.read_statistics(tmp_path / "fs3.npy")
    statistics = edits.read_statistics(write(tmp_path, "fs3", np.eye(4)[:3]))
    with pytest.raises(CheckpointError, match=r"text\.npy: no such file"):
        edits.read_text_feature(tmp_path / "text.npy")
    prompts = write(tmp_path, "text", np.array([[2.0, 0.0], [0.0, 9.0]]))
    assert edits.read_text_feature(prompts).tolist() == pytest.approx([0.5**0.5] * 2), (
        "each prompt counts alike"
    )
    with pytest.raises(CheckpointError, match="length 0"):
        edits.read_text_feature(write(tmp_path, "text", np.zeros((2, 2))))
    found = torch.from_numpy(statistics)
    direction = edits.text_direction(torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0.2, 0, 0]))
    done = edits.global_direction(found, direction)
    assert done.tolist() == pytest.approx([-1.0, 0.0, 0.0], abs=1e-6), "0.196 is below the threshold"
    with pytest.raises(RecipeError, match="lower it"):
        edits.global_direction(found, direction, beta=2.0)
    with pytest.raises(CheckpointError, match="two CLIP models"):
        edits.global_direction(found, direction[:2])


def test_lpips_is_zero_for_the_same_picture_and_reads_two_files(tmp_path: Path) -> None:
    """A distance; its two official files are put together, and a classifier beside them is left alone."""
    torch.manual_seed(0)
    network = LPIPS((4, 4, 4, 4, 4))
    pictures = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert network(pictures, pictures) == 0
    assert network.distances(pictures, -pictures).shape == (2,)
    stored = network.state_dict()
    with pytest.raises(CheckpointError, match=r"lin4\.model\.1\.weight is missing"):
        lpips_of({k: v for k, v in stored.items() if k != "lin4.model.1.weight"}, LPIPS((4,) * 5), "it")
    alex = {k: torch.zeros_like(v) for k, v in LPIPS().state_dict().items()}
    heads = {k: v for k, v in alex.items() if k.startswith("lin")}
    body = {k: v for k, v in alex.items() if k not in heads} | {"classifier.1.weight": torch.zeros(2)}
    torch.save(heads, tmp_path / "alex.pth")
    torch.save(body, tmp_path / "alexnet.pth")
    assert not read_lpips([tmp_path / "alexnet.pth", tmp_path / "alex.pth"]).training
    with pytest.raises(CheckpointError, match="missing"):
        read_lpips([tmp_path / "alexnet.pth"])


def test_pivot_terms_weigh_as_the_paper_does() -> None:
    """Ten times the mean square; without a distance no other term."""
    image = torch.zeros(1, 3, 4, 4)
    terms = pivot_terms(image, image + 0.5, None, Pivotal())
    assert terms == {"l2": pytest.approx(2.5)}
    far = away_from(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), 30.0)
    assert float(far.norm()) == pytest.approx(30.0), "one norm over all layers"


def test_stitching_one_frame_lowers_its_border_and_leaves_the_generator() -> None:
    """A copy is tuned; below the threshold nothing is."""
    made = generator()
    ws = torch.zeros(1, made.num_ws, W_DIM)
    with torch.no_grad():
        edited = made.synthesis(ws)
    crop = edited + 0.5
    found = masks.stitching_masks(disc(32), border=3, outer=3)
    weights = {name: value.clone() for name, value in made.state_dict().items()}
    done = stitch(made, ws, crop, edited, found, Stitching(steps=5, learning_rate=0.02))
    assert done.steps == 5
    assert done.after < 0.6 * done.before
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    calm = stitch(made, ws, crop, edited, found, Stitching(steps=10, threshold=100.0))
    assert (calm.steps, calm.after) == (0, calm.before)


def test_drawn_edits_stay_in_reach() -> None:
    """Strengths within what will be offered, two directions at once in their share of draws, none without an offer."""
    directions = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0])}
    reaches = (Reach("a", 2.0, 4.0), Reach("b", -2.0, -1.0))
    numbers = np.random.default_rng(0)
    offsets = [drawn_edit(reaches, directions, numbers, 0.5) for _ in range(200)]
    drawn = np.array([offset.ws for offset in offsets if offset is not None])
    assert len(drawn) == 200
    both = (drawn != 0).all(1)
    assert 60 < both.sum() < 140
    assert set(np.sign(drawn[:, 0])) == {0.0, 1.0}
    assert drawn[:, 0].max() <= 2.0
    assert drawn[:, 1].min() >= -1.0
    assert drawn_edit((), directions, numbers, 0.5) is None
    with pytest.raises(ValueError, match="lower one first"):
        Reach("a", 1.0, 0.0)
