"""Each system's bundle, from its checkpoint to a runtime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.bundle import open_bundle
from engine.errors import BundleError, ConfigError
from engine.generators import open_generator
from engine.types import AU_NAMES, Mode
from export.checkpoints import Loaded, load
from export.imports import import_files
from export.labels import UNSTATED, Stated, label_of
from export.pack import Label, pack
from export.parity import GATE
from export.systems import EXPORTERS, IMPORTERS, plan_of
from tests.export.tiny_plan import LABEL
from trainers.errors import CheckpointError
from trainers.ganimation.networks import saturate
from trainers.systems import SYSTEMS

Make = Callable[..., Path]


def test_every_system_that_trains_is_exported() -> None:
    """A system is whole when all its halves are there."""
    ours = {
        name for name, place in SYSTEMS.items() if place.startswith("trainers.")
    }  # tests add one of theirs
    assert EXPORTERS.keys() == ours
    assert IMPORTERS.keys() <= ours


def test_ganimation_becomes_a_bundle_that_opens(ganimation: Make, tmp_path: Path) -> None:
    """Ports, names, crop, extractor and range as trained; both runtimes within the gate; the generator opens it."""
    packed = pack(plan_of(load(ganimation())), LABEL, tmp_path / "bundle", half=True)
    manifest = open_bundle(tmp_path / "bundle").manifest
    info = manifest.graphs["generator"]
    assert [(port.name, port.shape, port.dtype) for port in info.inputs] == [
        ("image", (1, 16, 16, 3), "uint8"),
        ("aus", (1, 17), "float32"),
    ]
    assert [(port.name, port.shape) for port in info.outputs] == [
        ("colour", (1, 3, 16, 16)),
        ("attention", (1, 1, 16, 16)),
    ]
    parameters = manifest.parameters
    assert (parameters.crop.rule, parameters.crop.size) == ("face", 16)
    assert parameters.aus == AU_NAMES
    assert parameters.au_range == (-0.1, 1.1)
    assert parameters.modes == {Mode.PUPPET, Mode.EDIT}
    assert parameters.extractor is not None
    assert (parameters.extractor.name, parameters.extractor.version) == ("marotte-geometry", "1")
    assert manifest.parity["weights"] == "float16"
    assert set(packed.report.runtimes) == {"openvino", "onnxruntime"}
    generator, runner = open_generator(str(tmp_path / "bundle"))
    assert generator.modes == {Mode.PUPPET, Mode.EDIT}
    runner.close()


@pytest.mark.full
def test_geogan_becomes_a_bundle_that_opens(geogan: Make, tmp_path: Path) -> None:
    """Three graphs; what the donor's graph gives is what the transfer's takes, by name and shape."""
    pack(plan_of(load(geogan())), LABEL, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    graphs = bundle.manifest.graphs
    assert list(graphs) == ["donor", "transfer", "removal"]
    taken = {port.name: port.shape for port in graphs["transfer"].inputs}
    shares = {port.name: port.shape for port in graphs["donor"].outputs}
    assert taken == {"image": (1, 16, 16, 3), "donor": (1, 16, 16, 3)} | shares
    assert [port.name for port in graphs["transfer"].outputs] == ["flow", "mask", "residual"]
    assert [port.name for port in graphs["removal"].outputs] == ["image_out"]
    assert bundle.manifest.parameters.facts == {"refinement_weight": 0.1, "attributes": ["smile"]}
    assert bundle.manifest.parameters.modes == {Mode.EDIT}
    generator, runner = open_generator(str(tmp_path / "bundle"))
    assert generator.modes == {Mode.EDIT}
    runner.close()


@pytest.mark.full
def test_a_donor_has_its_port_without_refinement(geogan: Make, tmp_path: Path) -> None:
    """Where the refinement is still off, the transfer has the same ports, and a residual of nothing."""
    pack(plan_of(load(geogan({"refinement_weight": 0.0}))), LABEL, tmp_path / "bundle")
    for backend in ("openvino", "onnxruntime"):
        bundle = open_bundle(tmp_path / "bundle")
        graph = bundle.graph("transfer", backend)
        arrays = {p.name: np.ones(p.shape, p.dtype) for p in bundle.info("transfer").inputs}
        assert not graph.run(arrays)["residual"].any()
        graph.close()


def test_moving_averages_are_what_is_exported(ganimation: Make) -> None:
    """Where they are kept; and the plan's module is in eval mode."""
    loaded = load(ganimation(averaged=True))
    module = plan_of(loaded).graphs[0].module
    stored = loaded.checkpoint.weights("generator_ema")
    assert torch.equal(module.state_dict()["first.weight"], stored["main.0.weight"])
    assert not module.training
    assert label_of(loaded, Stated()).weights == "trained with Marotte, step 40, moving average"


def test_the_saturated_mask_is_folded_in(ganimation: Make) -> None:
    """Where training saturated it, the port `attention` is what composites."""
    image, aus = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8), torch.rand(1, 17)
    plain = plan_of(load(ganimation())).graphs[0]
    folded = plan_of(load(ganimation({"saturate_mask": True}))).graphs[0]
    for one, other in ((plain.module, folded.module), (plain.reference, folded.reference)):
        (colour, attention), (same, saturated) = one(image, aus), other(image, aus)
        torch.testing.assert_close(saturated, saturate(attention))
        torch.testing.assert_close(same, colour)


def test_the_bundle_says_what_its_action_units_are(ganimation: Make) -> None:
    """Intensities a little beyond 0..1, as the training drew them, or changes between -1 and 1."""
    absolute, relative = plan_of(load(ganimation())), plan_of(load(ganimation({"units": "relative"})))
    assert (absolute.parameters.facts["units"], absolute.parameters.au_range) == ("absolute", (-0.1, 1.1))
    assert (relative.parameters.facts["units"], relative.parameters.au_range) == ("relative", (-1.0, 1.0))


@pytest.mark.parametrize("planes", ["constant", "regional"])
def test_the_live_arrangement_gives_the_official_numbers(ganimation: Make, planes: str) -> None:
    """The action units' share from a small plane, and both heads at once, are the network's own sums; planes that
    differ from place to place are left whole."""
    graph = plan_of(load(ganimation(planes=planes))).graphs[0]
    torch.manual_seed(1)
    for _ in range(3):
        given = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8), torch.rand(1, 17)
        for live, official in zip(graph.module(*given), graph.reference(*given)):
            torch.testing.assert_close(live, official, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("facts", "data", "arguments", "told"),
    [
        (None, {"crop": None}, {}, "states the crop rule None"),
        (None, {"crop": {"rule": "ears"}}, {}, "states the crop rule 'ears'"),
        (None, {"size": 1 << 30}, {}, "states the size 1073741824"),
        (None, {"size": "big"}, {}, "states the size 'big'"),
        (None, {"size": 18}, {}, "a multiple of 4"),
        (None, {"extractor": {"name": 3}}, {}, "states the extractor"),
        (None, {"aus": ["AU12"]}, {}, "expected 17 of them"),
        (None, {}, {"c_dim": 5}, "expected 5 of them"),
    ],
)
def test_a_checkpoint_that_does_not_say_enough_is_refused(
    ganimation: Make, facts: Any, data: dict[str, Any], arguments: dict[str, Any], told: str
) -> None:
    """What live code could not know is not guessed."""
    with pytest.raises(BundleError, match=told):
        plan_of(load(ganimation(facts, data, **arguments)))


def test_geogan_without_a_warp_or_a_weight_is_refused(geogan: Make) -> None:
    """The ablation has no flow, and the weight of refinement belongs to the weights."""
    with pytest.raises((BundleError, CheckpointError), match="only_res"):
        plan_of(load(geogan(only_residual=True)))
    with pytest.raises(BundleError, match="no refinement_weight"):
        plan_of(load(geogan({})))


def test_a_checkpoint_of_no_known_system_is_refused(ganimation: Make) -> None:
    """With the nearest name."""
    folder = ganimation()
    about = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(about | {"system": "ganimotion"}))
    with pytest.raises(ConfigError, match="did you mean 'ganimation'"):
        plan_of(load(folder))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"conv_dim": 8}, "main.0.weight is"),
        ({"repeat_num": 2}, "it was built with other widths"),
        ({"width": 3}, "cannot be built"),
        ({"norm": "nothing"}, "cannot be built"),
    ],
)
def test_arguments_of_another_width_are_told(ganimation: Make, arguments: dict[str, Any], told: str) -> None:
    """Weights and arguments that do not belong together make no bundle."""
    folder = ganimation()
    about = json.loads((folder / "checkpoint.json").read_text())
    about["arguments"]["generator"].update(arguments)
    (folder / "checkpoint.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=told):
        plan_of(load(folder))


# --- labels ----------------------------------------------------------------------------------------


def test_a_label_says_what_the_training_kept(ganimation: Make) -> None:
    """Counts and licences of the data; what was stated wins."""
    loaded = load(ganimation())
    label = label_of(loaded, Stated())
    assert (label.licence, label.data, label.consent) == (
        UNSTATED,
        "6 pictures; licences: CC0 1.0",
        "not stated",
    )
    stated = label_of(loaded, Stated(licence="MIT", data="mine", consent="all", title="T"))
    assert (stated.licence, stated.data, stated.consent, stated.title) == ("MIT", "mine", "all", "T")
    assert stated.commercial


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC BY-NC-SA 4.0", "research, non-commercial"])
def test_non_commercial_data_needs_an_acceptance(ganimation: Make, licence: str) -> None:
    """Also where only the data's licence forbids it; CC0 and "licence" contain no NC."""
    loaded = load(ganimation(data={"licences": ["CC0 1.0", licence]}))
    with pytest.raises(ConfigError, match="--non-commercial NAME"):
        label_of(loaded, Stated(licence="CC0-1.0"))
    label = label_of(loaded, Stated(licence="CC-BY-NC-4.0", acceptance="mine-nc"))
    assert (label.commercial, label.acceptance) == (False, "mine-nc")


def test_weights_made_elsewhere_need_a_licence(ganimation: Make) -> None:
    """Theirs is not ours to guess."""
    loaded = load(ganimation({"imported": ["net_G.pth"]}))
    with pytest.raises(ConfigError, match="made elsewhere"):
        label_of(loaded, Stated())
    assert label_of(loaded, Stated(licence="MIT")).weights == "imported from net_G.pth"


# --- the official widths ---------------------------------------------------------------------------


def _procedural(root: Path, system: str) -> Any:
    from tests.parity.fixtures import discover

    triple = (system, "network", "generator_and_discriminator")
    found = [fixture for fixture in discover(root) if fixture.triple == triple]
    if not found:
        pytest.skip(f"no fixture of {system} at full width in {root}")
    return found[0]


def official_checkpoint(system: str, root: Path, folder: Path) -> Loaded:
    """A system at its official width: weights by rule, written as an official file and imported."""
    fixture = _procedural(root, system)
    file = folder / "epoch_20_iter_1_G.pth"
    torch.save(fixture.weights(fixture.case["cases"][0])["generator"], file)
    for path in fixture.files().values():
        shutil.copy(path, folder / "opt.txt")
    import_files(system, [file], folder / "checkpoint")
    return load(folder / "checkpoint")


@pytest.mark.full
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_the_official_width_stays_within_the_gate(
    system: str, half: bool, parity_root: Path, tmp_path: Path
) -> None:
    """Weights by rule, written as an official file, imported, exported: every port of every graph on every runtime."""
    loaded = official_checkpoint(system, parity_root, tmp_path)
    label = Label("LicenseRef-test", "by rule", "none", "none")
    packed = pack(plan_of(loaded), label, tmp_path / "bundle", half=half)
    assert set(packed.report.runtimes) == {"openvino", "onnxruntime"}
    for _, errors in packed.report.runtimes.values():
        assert errors.keys() == packed.bundle.manifest.graphs.keys()
        for graph, ports in errors.items():
            assert ports.keys() == {port.name for port in packed.bundle.info(graph).outputs}
            assert max(error["max"] for error in ports.values()) <= GATE
