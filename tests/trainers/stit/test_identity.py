"""ArcFace from files of the official names, of our own making."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from trainers.errors import CheckpointError
from trainers.stit.e4e import Encoder4Editing
from trainers.stit.identity import ArcFace, read_arcface, start_backbone
from trainers.stit.irse import BLOCKS, WIDTHS

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def official_names() -> set[str]:
    """What stands in model_ir_se50.pth: 24 bottlenecks, of which three change the width, between two ends."""
    found = {"input_layer.0.weight", "input_layer.2.weight", "output_layer.3.weight", "output_layer.3.bias"}
    norms = ["input_layer.1", "output_layer.0", "output_layer.4"]
    for place in range(sum(BLOCKS)):
        inner = f"body.{place}.res_layer"
        found |= {f"{inner}.{part}.weight" for part in ("1", "2", "3", "5.fc1", "5.fc2")}
        norms += [f"{inner}.0", f"{inner}.4"]
    for place in (BLOCKS[0], sum(BLOCKS[:2]), sum(BLOCKS[:3])):
        found.add(f"body.{place}.shortcut_layer.0.weight")
        norms.append(f"body.{place}.shortcut_layer.1")
    return found | {f"{norm}.{part}" for norm in norms for part in _NORM}


def shapes() -> dict[str, Tensor]:
    """ArcFace's, without its numbers."""
    with torch.device("meta"):
        return ArcFace().state_dict()


def written(path: Path) -> Path:
    """All 43 million numbers, drawn so that no layer quiets a picture or drowns it."""
    numbers = torch.Generator().manual_seed(6)
    state: dict[str, Tensor] = {}
    for name, like in shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        noise = torch.randn(like.shape, generator=numbers)
        if name.endswith("running_var"):
            state[name] = 1.0 + 0.2 * noise.abs()
        elif like.ndim > 1:
            state[name] = 1.5 * noise / like[0].numel() ** 0.5
        else:
            state[name] = 0.1 * noise + (0.5 if name.endswith("weight") else 0.0)
    torch.save(state, path)
    return path


def test_the_official_names_are_all_of_them() -> None:
    """Nothing that the file does not hold is asked for, and all that it holds is read."""
    assert shapes().keys() == official_names()
    assert [shapes()[f"output_layer.3.{part}"].shape for part in ("weight", "bias")] == [(512, 25088), (512,)]


def test_a_file_that_is_no_arcface_is_refused(tmp_path: Path) -> None:
    """What is missing and what is of another shape are named, for the loss and for a backbone alike."""
    state = {name: torch.zeros(1) for name in official_names() - {"body.3.shortcut_layer.0.weight"}}
    torch.save(state, tmp_path / "other.pth")
    with torch.device("meta"):
        encoder = Encoder4Editing(18, 512, size=256, widths=WIDTHS, blocks=BLOCKS)
    with pytest.raises(CheckpointError, match=r"body\.3\.shortcut_layer\.0\.weight is missing"):
        start_backbone(encoder, str(tmp_path / "other.pth"))


@pytest.mark.full
def test_arcface_is_read_and_tells_pictures_apart(tmp_path: Path) -> None:
    """One picture is itself at any size and whatever lies outside of the window; another one is another; the loss
    moves the picture that was made and not the other one. A backbone starts from the same file."""
    file = written(tmp_path / "model_ir_se50.pth")
    network = read_arcface(str(file), "inverting.identity_file")
    assert not network.training
    torch.manual_seed(1)
    made, wanted = (
        torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6) * 2 - 1, size=256, mode="bilinear")
        for _ in range(2)
    )
    assert float(network(made, made)) == pytest.approx(0.0, abs=1e-5)
    torch.testing.assert_close(network.describe(made).norm(dim=1), torch.ones(1))
    outside = made.clone()
    outside[:, :, :35], outside[:, :, 223:], outside[..., :32], outside[..., 220:] = 1.0, -1.0, 1.0, -1.0
    assert torch.equal(network.describe(outside), network.describe(made))
    large = torch.nn.functional.interpolate(made, size=512, mode="nearest")
    assert float(network(large, made)) == pytest.approx(0.0, abs=1e-5)
    made.requires_grad_(True)
    wanted.requires_grad_(True)
    loss = network(made, wanted)
    assert float(loss.detach()) > 1e-4
    loss.backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert wanted.grad is None
    assert not any(parameter.requires_grad for parameter in network.parameters())

    encoder = Encoder4Editing(18, 512, size=256, widths=WIDTHS, blocks=BLOCKS)
    start_backbone(encoder, str(file))
    stored = network.state_dict()
    held = {name: value for name, value in encoder.state_dict().items() if name in stored}
    assert len(held) > 300
    assert all(torch.equal(value, stored[name]) for name, value in held.items())
