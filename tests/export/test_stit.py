"""STIT's graphs against torch, in small and at the official size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engine.backends import BACKENDS, open_graph
from engine.bench.cost import count
from engine.bundle import schema
from engine.errors import BundleError
from engine.free_batch import settled
from engine.schema import check
from export import stit as exporter
from export.checkpoints import load
from export.imports import import_files
from export.onnx import run, write_graph
from export.parity import cases
from export.plan import GraphPlan
from export.systems import plan_of
from tests.export.graphs import narrow
from trainers.errors import CheckpointError
from trainers.stit.bisenet import BiSeNet
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator, widths_of
from trainers.stit.live import LiveSynthesis
from trainers.stit.rosinality import RosinalityGenerator

MOST, MEAN = 1e-3, 1e-4
FLOOR = {"e4e": 145.0, "synthesis": 150.8, "synthesis_512": 120.4, "synthesis_256": 90.8, "parsing": 27.5}
"""GFLOP of the official modules at their size, of products and convolutions, as torch counts them."""


def _settled(network: nn.Module) -> nn.Module:
    """Statistics and strengths that a training would leave, by rule."""
    torch.manual_seed(11)
    for name, values in (*network.named_buffers(), *network.named_parameters()):
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
        elif name.endswith("running_var"):
            values.uniform_(0.8, 1.4)
        elif name.endswith("noise_strength"):
            values.data.fill_(0.1)
    return network.eval().requires_grad_(False)


def _generator(clamp: float | None = None) -> Generator:
    torch.manual_seed(1)
    made = Generator((16, 16, 8, 8), z_dim=16, w_dim=12, mapping_layers=2, conv_clamp=clamp)
    assert isinstance(made, Generator)
    _settled(made)
    return made


@pytest.mark.parametrize("clamp", [None, 1.5])
@pytest.mark.parametrize("size", [8, 32])
def test_the_arrangement_gives_the_generators_numbers(clamp: float | None, size: int) -> None:
    """Unit weights, one matrix for demodulation, folded gains: the same picture, with the bound on layers, too."""
    generator = _generator(clamp)
    live = LiveSynthesis(generator.synthesis, size)
    ws = 2 * torch.randn(3, generator.num_ws, generator.w_dim)
    wanted = generator.synthesis.made(generator.synthesis.styles(ws), until=size).image
    torch.testing.assert_close(live(ws), wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "backend",
    [pytest.param(one, marks=pytest.mark.full if one == "openvino" else ()) for one in BACKENDS],
)
def test_narrow_graphs_give_torchs_numbers(
    stit: Callable[..., Path], backend: str, request: pytest.FixtureRequest
) -> None:
    """Every graph of a narrow bundle against the official arrangement."""
    models = narrow("stit", request)
    plans = plan_of(load(stit())).graphs
    assert [one.name for one in plans] == list(models) == ["e4e", "synthesis", "parsing"]
    for one in plans:
        _hold(one, models[one.name].SerializeToString(), backend)


def _hold(plan: GraphPlan, data: bytes, backend: str, alive: float = 0.0) -> str:
    """Within the gate, for results whose mean size is `alive` or more; what was measured, for people."""
    case = next(iter(cases(plan)))
    wanted = run(plan.reference or plan.module, [case[port.name] for port in plan.inputs])[0].numpy()
    graph = open_graph(Path(f"{plan.name}.onnx"), backend, data=data)
    found = graph.run({key: value.numpy() for key, value in case.items()})[plan.outputs[0].name].copy()
    graph.close()
    assert np.abs(wanted).mean() >= alive
    apart = np.abs(found - wanted)
    assert apart.max() <= MOST
    assert apart.mean() <= MEAN
    size = f"{np.abs(wanted).max():.2f} (mean {np.abs(wanted).mean():.2f})"
    return f"{backend} {apart.max():.2g} (mean {apart.mean():.1g}) of {size}"


@pytest.mark.parametrize(("resolution", "sizes"), [(1024, [1024, 512, 256]), (512, [512, 256]), (64, [64])])
def test_a_bundle_offers_sizes_of_256_and_more(resolution: int, sizes: list[int]) -> None:
    """Beside the finest, which is always there."""
    with torch.device("meta"):
        generator = Generator([1] * len(widths_of(resolution)), z_dim=1, w_dim=1)
    assert exporter.outputs(generator) == sizes


def test_an_encoder_of_another_generator_is_refused(stit: Callable[..., Path]) -> None:
    """Rows and width of its codes have to be the generator's."""
    with pytest.raises(BundleError, match=r"codes of 6 x 8, expected the generator's 8 x 8"):
        plan_of(load(stit(companions={"encoder": {"rows": 6}})))


def test_codes_of_the_published_width_leave_facts_that_a_manifest_takes(stit: Callable[..., Path]) -> None:
    """A fact has 64 entries at most, and a code of the published generator 512: none of them stands among the facts."""
    facts = plan_of(load(stit(w_dim=512, companions={"encoder": {"style_dim": 512}}))).parameters.facts
    check(
        dict(facts),
        schema()["properties"]["parameters"]["properties"]["facts"] | {"$defs": schema()["$defs"]},
    )
    assert facts["outputs"] == [32]


def _official_files(folder: Path) -> list[Path]:
    """Narrow networks, written as the three official files are."""
    torch.manual_seed(2)
    generator = Generator((8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2)
    inversion = Inversion(generator.num_ws, 8, size=32, widths=(4, 5, 6, 8), blocks=(1, 1, 1, 1))
    encoder = {name: value for name, value in inversion.state_dict().items() if name != "latent_avg"}
    decoder = RosinalityGenerator(16, style_dim=8, n_mlp=1).state_dict()
    content = {
        "state_dict": encoder | {f"decoder.{name}": value for name, value in decoder.items()},
        "latent_avg": torch.rand(generator.num_ws, 8),
        "opts": {"stylegan_size": 16, "encoder_type": "Encoder4Editing", "device": "cuda:3"},
    }
    torch.save(generator.state_dict(), folder / "generator.pt")
    torch.save(content, folder / "e4e.pt")
    torch.save(BiSeNet(width=4).state_dict(), folder / "parser.pth")
    return [folder / name for name in ("generator.pt", "e4e.pt", "parser.pth")]


def test_official_files_become_one_checkpoint(tmp_path: Path) -> None:
    """Generator, encoder with its mean latent, and parser, told apart by what is in them, exact and ready to export."""
    files = _official_files(tmp_path)
    import_files("stit", files, tmp_path / "checkpoint")
    loaded = load(tmp_path / "checkpoint")
    assert set(loaded.arguments) == {"generator", "encoder", "parser"}
    assert (loaded.data["size"], loaded.data["crop"]["rule"]) == (16, "celeba-hq")
    stored = torch.load(files[1], weights_only=True)["latent_avg"]
    assert torch.equal(loaded.network("encoder", Inversion).latent_avg, stored)


def test_files_without_a_generator_or_of_another_size_are_refused(tmp_path: Path) -> None:
    """Nothing is written then."""
    files = _official_files(tmp_path)
    with pytest.raises(CheckpointError, match="expected a generator's file, too"):
        import_files("stit", files[1:], tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="makes pictures of 16 pixels"):
        import_files("stit", files[:1], tmp_path / "checkpoint", size=512)
    assert not (tmp_path / "checkpoint").exists()


# --- official size ---------------------------------------------------------------------------------


E4E_GAIN, PARSER_GAIN = 1.5, 2.0
ALIVE = 0.3
"""The least mean size of a result that says something of a gate of 1e-3."""


def _lively(network: nn.Module, gain: float) -> nn.Module:
    """Weights by which an untrained network's results are of order 1, as a trained one's are: strong convolutions, and
    norms and slopes of about a half, so that depth neither quiets nor lifts them."""
    torch.manual_seed(11)
    for name, values in (*network.named_buffers(), *network.named_parameters()):
        noise = torch.randn(values.shape)
        if name.endswith("linear.weight") or not values.is_floating_point():
            continue  # drawn of size 1 already, whose gain belongs to the layer
        if name.endswith(("running_mean", "bias")):
            values.data.copy_(0.1 * noise)
        elif name.endswith("running_var"):
            values.data.copy_(1.0 + 0.2 * noise.abs())
        elif values.ndim > 2:
            values.data.copy_(noise * gain / float(np.prod(values.shape[1:])) ** 0.5)
        elif name.endswith("weight"):
            values.data.copy_(0.5 + 0.1 * noise)
    return network.eval().requires_grad_(False)


def _official(name: str) -> GraphPlan:
    torch.manual_seed(5)
    generator = Generator(widths_of(1024))
    _settled(generator)
    if name == "e4e":
        inversion = Inversion()
        _lively(inversion, E4E_GAIN)
        return exporter._inversion(inversion, generator, 0)
    if name == "parsing":
        parser = BiSeNet()
        _lively(parser, PARSER_GAIN)
        return exporter._parsing(parser, exporter.PARSED)
    _, _, size = name.partition("_")
    return exporter._synthesis(generator, int(size or generator.resolution), None)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(FLOOR))
def test_the_official_size_gives_torchs_numbers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On every runtime within 1e-3 anywhere and 1e-4 in the mean, for no more arithmetic than the official module's."""
    plan = _official(name)
    data = settled(write_graph(plan), 1)
    with FlopCounterMode(display=False) as counter:
        run(plan.module, [next(iter(cases(plan)))[port.name] for port in plan.inputs])
    told = [_hold(plan, data, backend, ALIVE) for backend in BACKENDS]
    with capsys.disabled():
        flop, all_flop = counter.get_total_flops() / 1e9, count(data).flop / 1e9
        print(f"\n{name}: {flop:.2f} GFLOP, {all_flop:.2f} with scales and sums; {'; '.join(told)}")
    assert flop <= FLOOR[name] + 0.05
