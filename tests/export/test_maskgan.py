"""MaskGAN's graphs: what they are given and give, that they are the network's own sums, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from engine.backends import open_graph
from engine.bundle import open_bundle
from engine.errors import BundleError, ConfigError
from engine.free_batch import settled
from export.checkpoints import load
from export.imports import import_files
from export.maskgan import Backbone, Parsing, Projection, StyleStep, planes
from export.onnx import run, write_graph
from export.pack import pack
from export.plan import GraphPlan
from export.systems import plan_of
from tests.export.tiny_plan import LABEL
from trainers.errors import CheckpointError
from trainers.maskgan.containers import KINDS
from trainers.maskgan.labels import one_hot
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.networks import DenseMappingNetwork
from trainers.maskgan.parser import ParsingUNet

Make = Callable[..., Path]


def graphs(folder: Path) -> dict[str, GraphPlan]:
    return {graph.name: graph for graph in plan_of(load(folder)).graphs}


def drawn(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Labels uint8 (1, S, S) and a picture uint8 (1, S, S, 3)."""
    numbers = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 19, (1, size, size), generator=numbers, dtype=torch.uint8)
    return labels, torch.randint(0, 256, (1, size, size, 3), generator=numbers, dtype=torch.uint8)


def test_what_the_graphs_take_and_give(maskgan: Make) -> None:
    """Style once, the backbone per frame, MaskVAE and parser beside them: the ports that the engine looks for."""
    plan = plan_of(load(maskgan()))
    ports = {
        one.name: ([(p.name, p.shape, p.dtype) for p in one.inputs], [(p.name, p.shape) for p in one.outputs])
        for one in plan.graphs
    }
    assert ports == PORTS
    assert plan.parameters.facts["classes"] == "celebamask"
    assert (plan.parameters.crop.rule, plan.parameters.crop.size) == ("celeba-hq", 64)


PORTS = {
    "style": (
        [("labels", (1, 64, 64), "uint8"), ("image", (1, 64, 64, 3), "uint8")],
        [("gamma", (1, 2, 16)), ("beta", (1, 2, 16))],
    ),
    "generator": (
        [("labels", (1, 64, 64), "uint8"), ("gamma", (1, 2, 16), "float32"), ("beta", (1, 2, 16), "float32")],
        [("image", (1, 3, 64, 64))],
    ),
    "mask_vae": ([("labels", (1, 64, 64), "uint8")], [("logits", (1, 19, 64, 64))]),
    "parser": ([("image", (1, 64, 64, 3), "uint8")], [("logits", (1, 19, 64, 64))]),
}


@pytest.mark.full
def test_maskgan_becomes_a_bundle_of_halves(maskgan: Make, tmp_path: Path) -> None:
    """The same ports in the manifest, and all within the gate on both runtimes with weights as float16; as float32
    test_maskgan_opens.py packs it."""
    packed = pack(plan_of(load(maskgan())), LABEL, tmp_path / "bundle", half=True)
    manifest = open_bundle(tmp_path / "bundle").manifest
    ports = {
        name: ([(p.name, p.shape, p.dtype) for p in info.inputs], [(p.name, p.shape) for p in info.outputs])
        for name, info in manifest.graphs.items()
    }
    assert ports == PORTS
    assert manifest.parameters.facts["classes"] == "celebamask"
    assert (manifest.parameters.crop.rule, manifest.parameters.crop.size) == ("celeba-hq", 64)
    assert set(packed.report.runtimes) == {"openvino", "onnxruntime"}


def test_style_and_backbone_are_the_networks_own_sums(maskgan: Make) -> None:
    """Enrolled once, then drawn from another layout: as the network itself does it in one go."""
    loaded = load(maskgan())
    found = graphs(maskgan())
    generator = loaded.network("generator", DenseMappingNetwork)
    reference, image = drawn(64, 1)
    wanted, _ = drawn(64, 2)
    style = run(found["style"].module, (reference, image))
    (made,) = run(found["generator"].module, (wanted, *style))
    pixels = image.float().permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = generator(one_hot(wanted), one_hot(reference), pixels)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    other = run(found["style"].module, (wanted, image))
    assert not torch.equal(style[0], other[0])


def test_gamma_and_beta_are_not_exchanged(maskgan: Make) -> None:
    """The style encoder gives beta first; a picture of gamma 0 has no contrast in its last residual block."""
    found = graphs(maskgan())
    generator = load(maskgan()).network("generator", DenseMappingNetwork)
    labels, image = drawn(64, 3)
    gamma, beta = run(found["style"].module, (labels, image))
    with torch.no_grad():
        pixels = image.float().permute(0, 3, 1, 2) / 127.5 - 1
        numbers = generator.enc_style(pixels, *generator.enc_label(one_hot(labels))).flatten()
    width = generator.deepest
    torch.testing.assert_close(beta[0, 0], numbers[:width])
    torch.testing.assert_close(gamma[0, 0], numbers[width : 2 * width])


def test_the_graph_reads_labels_as_whole_numbers(maskgan: Make) -> None:
    """All 19 classes keep their place, in torch and in the file on both runtimes: no scaled floats on the way."""
    labels = torch.arange(19, dtype=torch.uint8).repeat(64, 4)[None, :, :64].contiguous()
    assert torch.equal(planes(labels, 19), one_hot(labels))
    found = graphs(maskgan())
    style = run(found["style"].module, (labels, drawn(64, 4)[1]))
    expected = run(found["generator"].module, (labels, *style))[0].numpy()
    data = settled(write_graph(found["generator"]), 1)
    for backend in ("openvino", "onnxruntime"):
        graph = open_graph(Path("generator.onnx"), backend, data=data)
        arrays = {"labels": labels.numpy()}
        arrays |= {n: np.ascontiguousarray(v.numpy()) for n, v in zip(("gamma", "beta"), style)}
        assert np.abs(graph.run(arrays)["image"] - expected).max() < 1e-4
        graph.close()


def test_companions_come_only_where_they_are(maskgan: Make) -> None:
    """A checkpoint of the generator alone has two graphs."""
    import json

    folder = maskgan()
    about = json.loads((folder / "checkpoint.json").read_text())
    about["arguments"] = {"generator": about["arguments"]["generator"]}
    (folder / "checkpoint.json").write_text(json.dumps(about))
    assert list(graphs(folder)) == ["style", "generator"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"classes": "bisenet"}, "states the classes 'bisenet'"),
        ({"size": 80}, "a multiple of 32"),
        ({"size": 32}, "64 or more"),
        ({"crop": {"rule": "ears"}}, "states the crop rule 'ears'"),
    ],
)
def test_a_checkpoint_that_does_not_say_enough_is_refused(
    maskgan: Make, data: dict[str, Any], told: str
) -> None:
    """Another order of the classes above all: BiSeNet's labels look the same."""
    with pytest.raises(BundleError, match=told):
        plan_of(load(maskgan(data)))


@pytest.mark.full
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_even_layout_is_drawn_alike(maskgan: Make, backend: str) -> None:
    """Of a layout of two even halves most channels are nearly flat, and the norms divide by that: live layouts are
    even, and the noise that graphs are compared on is not."""
    size = 256
    found = graphs(maskgan(size=size, width=8, downsamples=4, blocks=4))
    labels = torch.full((1, size, size), 13, dtype=torch.uint8)
    labels[:, : size // 2] = 1
    style = run(found["style"].module, (labels, drawn(size, 6)[1]))
    expected = run(found["generator"].module, (labels, *style))[0].numpy()
    data = settled(write_graph(found["generator"]), 1)
    graph = open_graph(Path("generator.onnx"), backend, data=data)
    arrays = {"labels": labels.numpy()}
    arrays |= {n: np.ascontiguousarray(v.numpy()) for n, v in zip(("gamma", "beta"), style)}
    apart = np.abs(graph.run(arrays)["image"] - expected)
    graph.close()
    assert apart.max() < 2e-4
    assert apart.mean() < 2e-5


# --- official files --------------------------------------------------------------------------------


def official(kind: str, folder: Path, **arguments: Any) -> Path:
    """A file as the release names it, in its old serialisation, with the statistics that AdaIN registers."""
    torch.manual_seed(5)
    state = KINDS[kind](**arguments).state_dict()
    if kind == "generator":
        for name in [name for name in state if ".conv_block." in name and name.endswith("conv.bias")]:
            width = state[name].shape
            for role in ("mean", "var"):
                state[name.replace("conv.bias", f"norm.running_{role}")] = torch.rand(width)
    file = folder / {"generator": "latest_net_G.pth", "parser": "model.pth"}[kind]
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file


def test_official_files_become_one_checkpoint(tmp_path: Path) -> None:
    """Generator and parser; sizes by their shapes; the dummy statistics dropped by name; 512 px in CelebA-HQ's crop."""
    files = [
        official("generator", tmp_path, width=3, downsamples=2, blocks=2),
        official("parser", tmp_path, width=2),
    ]
    imported = import_files("maskgan", files, tmp_path / "out")
    loaded = load(tmp_path / "out")
    assert loaded.arguments["generator"] == {"classes": 19, "width": 3, "downsamples": 2, "blocks": 2}
    assert loaded.arguments["parser"]["width"] == 2
    assert loaded.data["crop"] == {"rule": "celeba-hq", "size": 512}
    assert len(imported.accounts[0].dropped) == 8
    assert [graph.name for graph in plan_of(loaded).graphs] == ["style", "generator", "parser"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda state: state.pop("enc_style.sft1.SFT_scale_conv1.weight"),
            "SFT_scale_conv1.weight is missing",
        ),
        (lambda state: state.update({"model.99.weight": torch.zeros(1)}), "model.99.weight is unexpected"),
        (lambda state: state.update({"model.4.weight": torch.zeros(7, 3, 3, 3)}), r"expected \(6, 3, 3, 3\)"),
        (lambda state: state["model.1.bias"].fill_(float("nan")), "not finite"),
        (lambda state: state.pop("model.1.weight"), "model.1.weight is missing"),
        (lambda state: [state.pop(name) for name in list(state) if "conv_block" in name], "residual blocks"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, damage: Callable[[Any], Any], told: str) -> None:
    """Every mismatch is named, where the official loader skips it."""
    file = official("generator", tmp_path, width=3, downsamples=2, blocks=2)
    state = torch.load(file, weights_only=True)
    damage(state)
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=told) as raised:
        import_files("maskgan", [file], tmp_path / "out")
    assert str(raised.value).startswith(str(file))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [80, 32])
def test_a_side_that_the_network_cannot_have_is_refused(tmp_path: Path, size: int) -> None:
    """Before a checkpoint is written."""
    file = official("generator", tmp_path, width=3, downsamples=2, blocks=1)
    with pytest.raises((CheckpointError, ConfigError), match="multiple of 32"):
        import_files("maskgan", [file], tmp_path / "out", size=size)


# --- the official width ----------------------------------------------------------------------------


OFFICIAL = {"width": 64, "downsamples": 4, "blocks": 4}
COMPANIONS = {"mask_vae": {"width": 32, "latent": 1024, "size": 512}, "parser": {"width": 16}}
MOST = {"style": 10.7 + 4.6, "generator": 268.1, "mask_vae": 7.9 + 17.4, "parser": 24.4}
"""GFLOP at 512 px of the official modules, by graph, two per multiply-add."""


@pytest.mark.parametrize("graph", sorted(MOST))
def test_a_graph_costs_no_more_than_the_official_modules(graph: str) -> None:
    """Per portrait and per frame, at the official width and 512 px: counted, not run."""
    size = 512
    with torch.device("meta"):
        modules = {
            "style": lambda: StyleStep(DenseMappingNetwork(**OFFICIAL)),
            "generator": lambda: Backbone(DenseMappingNetwork(**OFFICIAL)),
            "mask_vae": lambda: Projection(MaskVAE(**COMPANIONS["mask_vae"])),
            "parser": lambda: Parsing(ParsingUNet(**COMPANIONS["parser"])),
        }
        module = modules[graph]().eval()
        labels = torch.zeros(1, size, size, dtype=torch.uint8)
        image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        numbers = torch.zeros(1, 8, 1024)
    given = {"style": (labels, image), "generator": (labels, numbers, numbers), "mask_vae": (labels,)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*given.get(graph, (image,)))
    found = counter.get_total_flops() / 1e9
    print(f"{graph}: {found:.2f} GFLOP")
    assert (
        0.9 * MOST[graph] < found <= MOST[graph] + 0.06
    )  # the table's figures are rounded, the first is of two


@pytest.mark.full
@pytest.mark.parametrize("half", [False, True])
def test_the_official_width_at_512_pixels_stays_within_the_gate(
    maskgan: Make, half: bool, tmp_path: Path
) -> None:
    """Every port of every graph on both runtimes: 1e-3 at most, 1e-4 in the mean."""
    loaded = load(maskgan(size=512, companions=COMPANIONS, **OFFICIAL))
    packed = pack(plan_of(loaded), LABEL, tmp_path / "bundle", half=half)
    assert packed.report.gate == 1e-3
    print("\n".join(packed.report.lines()))
    for _, errors in packed.report.runtimes.values():
        assert errors.keys() == {"style", "generator", "mask_vae", "parser"}
        assert max(port["mean"] for ports in errors.values() for port in ports.values()) <= 1e-4
