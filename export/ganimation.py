"""GANimation's bundle: the generator as one graph, from a crop and action units to colour and attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.bundle import Parameters
from engine.errors import BundleError
from engine.types import AU_NAMES, Mode
from export.checkpoints import Loaded, crop_rule, extractor
from export.plan import GraphPlan, Plan, numbers, picture, scaled
from trainers.ganimation.networks import Generator, saturate

_NOISE = 0.1
"""What the official training adds to every wanted action unit, plus or minus."""


class Official(nn.Module):
    """`image` uint8 (1, S, S, 3) and `aus` (1, c_dim) to colour (1, 3, S, S) and attention (1, 1, S, S)."""

    def __init__(self, generator: Generator, saturated: bool) -> None:
        super().__init__()
        self.generator, self.saturated = generator, saturated

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, Tensor]:
        colour, attention = self.generator(scaled(image), aus)
        return colour, saturate(attention) if self.saturated else attention


class Live(nn.Module):
    """The same, arranged so that a frame costs a quarter less at small widths.

    A plane of one action unit is constant, so what it adds to the first convolution differs along the border only: it
    is computed for a plane of 7 x 7 and stretched from its middle. Both heads are one convolution.
    """

    places: Tensor

    def __init__(self, generator: Generator, saturated: bool, size: int) -> None:
        super().__init__()
        self.first, self.rest = _convolution(generator.main[0]), generator.main[1:]
        self.saturated = saturated
        colour, attention = _convolution(generator.img_reg[0]), _convolution(generator.attetion_reg[0])
        self.heads = nn.Conv2d(colour.in_channels, 4, 7, padding=3, bias=False)
        self.heads.weight = nn.Parameter(torch.cat((colour.weight, attention.weight)), requires_grad=False)
        middle = torch.full((size - 6,), 3)
        places = torch.cat((torch.arange(3), middle, torch.arange(4, 7)))
        self.register_buffer("places", places, persistent=False)

    def forward(self, image: Tensor, aus: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.first.weight
        planes = aus[:, :, None, None].expand(-1, -1, 7, 7)
        units = nn.functional.conv2d(planes, weight[:, 3:], padding=3)
        units = units.index_select(2, self.places).index_select(3, self.places)
        picture = nn.functional.conv2d(scaled(image), weight[:, :3], self.first.bias, padding=3)
        heads = self.heads(self.rest(picture + units))
        attention = heads[:, 3:].sigmoid()
        return heads[:, :3].tanh(), saturate(attention) if self.saturated else attention


def _convolution(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return layer


def plan(loaded: Loaded) -> Plan:
    """The bundle of a GANimation checkpoint. Raises BundleError where the checkpoint does not say enough."""
    generator = loaded.network("generator", Generator)
    crop = crop_rule(loaded)
    if crop.size % 4:
        raise BundleError(
            f"the crop's side is {crop.size}, expected a multiple of 4; set data.size and train anew"
        )
    aus = _names(loaded, generator.c_dim)
    size = crop.size
    units = str(loaded.facts.get("units", "absolute"))
    trained = _trained(loaded, units)
    saturated = bool(loaded.facts.get("saturate_mask", False))
    constant = generator.planes == "constant"  # Live stretches what such planes add
    graph = GraphPlan(
        "generator",
        Live(generator, saturated, size) if constant else Official(generator, saturated),
        inputs=(picture("image", size), numbers("aus", (1, len(aus)), trained)),
        outputs=(
            numbers("colour", (1, 3, size, size), (-1.0, 1.0)),
            numbers("attention", (1, 1, size, size), (0.0, 1.0)),
        ),
        reference=Official(generator, saturated),
        batched=True,
    )
    parameters = Parameters(
        crop=crop,
        aus=aus,
        extractor=extractor(loaded),
        au_range=trained,
        modes=frozenset({Mode.PUPPET, Mode.EDIT}),
        facts={
            "norm": generator.norm,
            "conv_dim": generator.conv_dim,
            "saturate_mask": saturated,
            "units": units,
        },
    )
    return Plan("ganimation", f"GANimation, {size} px", (graph,), parameters)


def _trained(loaded: Loaded, units: str) -> tuple[float, float]:
    """The range of action units, or of their changes, that training asked for."""
    if units == "relative":
        return -1.0, 1.0
    data = loaded.checkpoint.recipe.get("data", {})
    noise = float(data.get("wanted_noise", _NOISE)) if isinstance(data, dict) else _NOISE
    return -noise, 1.0 + noise


def _names(loaded: Loaded, count: int) -> tuple[str, ...]:
    stated: Any = loaded.data.get("aus", list(AU_NAMES))
    if not isinstance(stated, list) or len(stated) != count:
        raise BundleError(f"the checkpoint names {stated!r} as its action units, expected {count} of them")
    if unknown := [name for name in stated if name not in AU_NAMES]:
        raise BundleError(f"the checkpoint names {unknown[0]!r}, expected action units such as {AU_NAMES[8]}")
    return tuple(stated)
