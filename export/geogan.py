"""GeoGAN's bundle: the donor's share once, the transfer for every frame, and the removal."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from engine.bundle import CropRule, Parameters, PortInfo
from engine.errors import BundleError
from engine.types import Mode
from export.checkpoints import Loaded, crop_rule, extractor
from export.onnx import run, zeros
from export.plan import GraphPlan, Plan, numbers, picture, scaled
from trainers.geogan.live import DonorEncoder, RemovalStep, TransferStep, port_names
from trainers.geogan.networks import FlowGenerator


def plan(loaded: Loaded) -> Plan:
    """The bundle of a GeoGAN checkpoint. Raises BundleError where the checkpoint does not say enough."""
    generator = loaded.network("generator", FlowGenerator, **_refinement(loaded))
    if generator.only_res_tail is not None:
        raise BundleError(
            "the generator is the ablation without warp and mask (only_res), which cannot run live; train without it"
        )
    size = generator.size
    crop = crop_rule(loaded, size)
    if crop.size != size:
        raise BundleError(f"the crop's side is {crop.size}, expected the generator's {size}")
    encoder = DonorEncoder(generator)
    found = run(encoder, zeros((picture("image", size),)))
    shares = tuple(numbers(name, tuple(share.shape)) for name, share in zip(port_names(generator), found))
    graphs = (
        GraphPlan("donor", encoder, (picture("image", size),), shares),
        _transfer(generator, encoder, shares),
        _removal(generator),
    )
    return Plan("geogan", f"GeoGAN, {size} px", graphs, _parameters(loaded, generator, crop))


def _refinement(loaded: Loaded) -> Mapping[str, float]:
    """The weight of refinement belongs to the weights; where the official code makes it of the epoch, the facts say
    what it came to."""
    stated = loaded.facts.get("refinement_weight", loaded.arguments["generator"].get("refinement_weight"))
    if isinstance(stated, bool) or not isinstance(stated, (int, float)):
        raise BundleError("the checkpoint states no refinement_weight; import or train it again")
    return {"refinement_weight": float(stated)}


class _Unrefined(nn.Module):
    """The transfer without refinement, which looks at the donor only there: its port stays, so that every bundle has
    the same ones."""

    def __init__(self, step: TransferStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, image: Tensor, donor: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flow, mask, residual = self.step(image, donor, *shares)
        return flow, mask, residual + 0.0 * scaled(donor)


def _transfer(generator: FlowGenerator, encoder: DonorEncoder, shares: tuple[PortInfo, ...]) -> GraphPlan:
    size = generator.size

    def derived(drawn: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return dict(zip((port.name for port in shares), run(encoder, (drawn["donor"],))))

    step = TransferStep(generator)
    return GraphPlan(
        "transfer",
        step if generator.refinement_weight else _Unrefined(step),
        inputs=(picture("image", size), picture("donor", size), *shares),
        outputs=(
            numbers("flow", (1, 2, size, size)),
            numbers("mask", (1, 1, size, size), (0.0, 1.0)),
            numbers("residual", (1, 3, size, size), (-2.0, 2.0)),
        ),
        derived=derived,
        batched=True,
    )


def _removal(generator: FlowGenerator) -> GraphPlan:
    size = generator.size
    return GraphPlan(
        "removal",
        RemovalStep(generator),
        inputs=(picture("image", size), numbers("mask", (1, 1, size, size), (0.0, 1.0))),
        outputs=(numbers("image_out", (1, 3, size, size), (-1.0, 1.0)),),
    )


def _parameters(loaded: Loaded, generator: FlowGenerator, crop: CropRule) -> Parameters:
    facts: dict[str, object] = {"refinement_weight": generator.refinement_weight}
    attributes = loaded.facts.get("attributes", loaded.data.get("attributes"))
    if isinstance(attributes, list) and all(isinstance(name, str) for name in attributes):
        facts["attributes"] = attributes
    return Parameters(
        crop=crop,
        aus=(),
        extractor=extractor(loaded),
        au_range=None,
        modes=frozenset({Mode.EDIT}),
        facts=facts,
    )
