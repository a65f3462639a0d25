"""MaskGAN's bundle: the style once per portrait, the backbone for every frame; MaskVAE and the parser where they are.

AdaIN is written as an instance norm times gamma plus beta, which are ports: the official call of a batch norm in
training mode is exported by torch with its dummy statistics, without a word and wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from engine.bundle import CropRule, Parameters, PortInfo
from engine.errors import BundleError
from engine.types import Mode
from export.checkpoints import Loaded, crop_rule, extractor
from export.onnx import run
from export.plan import GraphPlan, Plan, numbers, picture, scaled
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.networks import DenseMappingNetwork, Style
from trainers.maskgan.parser import ParsingUNet
from trainers.maskgan.recipe import MULTIPLE, SMALLEST

GATE: Final = 1e-3
"""Of a layout with large even parts most channels are nearly flat, and the norms divide by that: at 512 px ONNX
Runtime was 8.5e-4 from torch in one entry of such a picture, 5e-5 in the mean; 1e-5 where the layout is noise."""

CLASSES = "celebamask"
"""The class table that label ports speak, by its name."""


def planes(labels: Tensor, classes: int) -> Tensor:
    """A port of labels, uint8 (1, S, S), as one-hot planes (1, classes, S, S): compared with each class, in the graph,
    so that 19 planes of floats need not be moved for every frame."""
    numbered = torch.arange(classes, dtype=torch.int32, device=labels.device).view(1, -1, 1, 1)
    return (labels.int().unsqueeze(1) == numbered).float()


def layout(name: str, size: int, classes: int) -> PortInfo:
    """The port of a label map: a class per pixel."""
    return PortInfo(name, (1, size, size), "uint8", (0.0, float(classes - 1)))


class StyleStep(nn.Module):
    """`labels` and `image` of a portrait to gamma and beta, (1, layers, C) each."""

    def __init__(self, generator: DenseMappingNetwork) -> None:
        super().__init__()
        self.enc_label, self.enc_style = generator.enc_label, generator.enc_style
        self.classes, self.layers, self.deepest = generator.classes, generator.layers, generator.deepest

    def forward(self, labels: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        found = self.enc_style(scaled(image), *self.enc_label(planes(labels, self.classes)))
        by_layer = found.reshape(1, self.layers, 2, self.deepest)
        return by_layer[:, :, 1], by_layer[:, :, 0]


class Backbone(nn.Module):
    """`labels` of the wanted layout, gamma and beta to the picture (1, 3, S, S) in -1..1."""

    def __init__(self, generator: DenseMappingNetwork) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, labels: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return self.generator.draw(planes(labels, self.generator.classes), Style(gamma, beta))


class Projection(nn.Module):
    """`labels` to the logits of what MaskVAE makes of them, by way of the mean."""

    def __init__(self, vae: MaskVAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, labels: Tensor) -> Tensor:
        mean, _ = self.vae.encode(planes(labels, self.vae.classes))
        return self.vae.decode(mean)


class Parsing(nn.Module):
    """`image` to logits (1, classes, S, S)."""

    def __init__(self, parser: ParsingUNet) -> None:
        super().__init__()
        self.parser = parser

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.parser(scaled(image))
        return logits


def plan(loaded: Loaded) -> Plan:
    """The bundle of a MaskGAN checkpoint. Raises BundleError where the checkpoint does not say enough."""
    crop = crop_rule(loaded)
    if crop.size % MULTIPLE or crop.size < SMALLEST:
        raise BundleError(
            f"the crop's side is {crop.size}, expected a multiple of {MULTIPLE}, {SMALLEST} or more; set data.size and "
            "train anew"
        )
    if loaded.data.get("classes") != CLASSES:
        raise BundleError(
            f"the checkpoint states the classes {loaded.data.get('classes')!r}, expected {CLASSES!r}; import or train "
            "it again"
        )
    generator = loaded.network("generator", DenseMappingNetwork)
    graphs = [*_generator(generator, crop.size)]
    if "mask_vae" in loaded.arguments:
        graphs.append(_mask_vae(loaded.network("mask_vae", MaskVAE)))
    if "parser" in loaded.arguments:
        graphs.append(_parser(loaded.network("parser", ParsingUNet), crop.size))
    title = f"MaskGAN, {crop.size} px"
    return Plan("maskgan", title, tuple(graphs), _parameters(loaded, generator, crop), gate=GATE)


def _generator(generator: DenseMappingNetwork, size: int) -> tuple[GraphPlan, GraphPlan]:
    labels = layout("labels", size, generator.classes)
    shape = (1, generator.layers, generator.deepest)
    style = StyleStep(generator)
    ports = (numbers("gamma", shape), numbers("beta", shape))

    def derived(drawn: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The style of a noisy picture with this layout."""
        seeded = torch.Generator().manual_seed(int(drawn["labels"].sum()))
        noise = torch.randint(0, 256, (1, size, size, 3), generator=seeded, dtype=torch.uint8)
        return dict(zip(("gamma", "beta"), run(style, (drawn["labels"], noise))))

    return (
        GraphPlan("style", style, (labels, picture("image", size)), ports),
        GraphPlan(
            "generator",
            Backbone(generator),
            (labels, *ports),
            (numbers("image", (1, 3, size, size), (-1.0, 1.0)),),
            derived=derived,
            batched=True,
        ),
    )


def _mask_vae(vae: MaskVAE) -> GraphPlan:
    size = vae.size
    return GraphPlan(
        "mask_vae",
        Projection(vae),
        (layout("labels", size, vae.classes),),
        (numbers("logits", (1, vae.classes, size, size)),),
        batched=True,
    )


def _parser(parser: ParsingUNet, size: int) -> GraphPlan:
    return GraphPlan(
        "parser",
        Parsing(parser),
        (picture("image", size),),
        (numbers("logits", (1, parser.classes, size, size)),),
        batched=True,
    )


def _parameters(loaded: Loaded, generator: DenseMappingNetwork, crop: CropRule) -> Parameters:
    return Parameters(
        crop=crop,
        aus=(),
        extractor=extractor(loaded),
        au_range=None,
        modes=frozenset({Mode.PUPPET, Mode.EDIT}),
        facts={"classes": CLASSES, "layers": generator.layers, "width": generator.deepest},
    )
