"""STIT's bundle: inversion, synthesis at one or more sizes and parsing, each a graph for every frame.

Aligning, the edit between codes and picture, and stitching back are the engine's.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from engine.bundle import Parameters
from engine.errors import BundleError
from engine.types import Mode
from export.checkpoints import Loaded, crop_rule
from export.plan import GraphPlan, Plan, numbers, picture, scaled
from trainers.stit.bisenet import DEVIATION, MEAN, BiSeNet
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator
from trainers.stit.live import LiveSynthesis, Stopped

SMALLEST_OUTPUT: Final = 256
"""Below this side no coarser synthesis is exported beside the finest."""
COARSER: Final = 2
"""How many coarser sizes are exported beside the finest: 512 and 256 beside 1024."""
PARSED: Final = 512
"""Side of the official parser's pictures; that of a smaller generator where it makes smaller ones."""
CLASSES: Final = "bisenet"
"""The class table that the parser speaks, by its name; it is not CelebAMask-HQ's."""
CODES: Final = (-1.5, 1.5)
"""Range of a code's entries in the comparison, about that of official codes."""


class Inverting(nn.Module):
    """`image`, the aligned crop at the encoder's size, to codes (1, rows, w_dim). spare: rows of zeros behind them."""

    def __init__(self, inversion: Inversion, spare: int = 0) -> None:
        super().__init__()
        self.inversion, self.spare = inversion, spare

    def forward(self, image: Tensor) -> Tensor:
        codes: Tensor = self.inversion(scaled(image))
        return torch.cat([codes, *[0.0 * codes[:, :1]] * self.spare], 1) if self.spare else codes


class Parsing(nn.Module):
    """`image`, the aligned crop, to logits (1, classes, S, S). ImageNet's scale is a scale and a shift in the graph."""

    def __init__(self, parser: BiSeNet) -> None:
        super().__init__()
        self.parser = parser
        self.register_buffer("factor", 1.0 / (255.0 * torch.tensor(DEVIATION)))
        self.register_buffer("shift", -torch.tensor(MEAN) / torch.tensor(DEVIATION))

    def forward(self, image: Tensor) -> Tensor:
        factor, shift = self.get_buffer("factor"), self.get_buffer("shift")
        logits: Tensor = self.parser((image.float() * factor + shift).permute(0, 3, 1, 2))
        return logits


def plan(loaded: Loaded, styles: Tensor | None = None) -> Plan:
    """The bundle of a STIT checkpoint. Raises BundleError where the checkpoint does not say enough.

    styles: (n, style channels), directions of StyleCLIP. Their strengths reach the synthesis in a row that codes have
    behind their own (`trainers.stit.live.LiveSynthesis`), so that whoever carries codes about need not know of it.
    """
    if "generator" not in loaded.arguments:
        raise BundleError(
            f"the checkpoint holds {', '.join(loaded.arguments) or 'no network'}, expected a generator"
        )
    generator = loaded.network("generator", Generator)
    graphs: list[GraphPlan] = []
    if "encoder" in loaded.arguments:
        graphs.append(_inversion(loaded.network("encoder", Inversion), generator, spare_rows(styles)))
    graphs += [_synthesis(generator, size, styles) for size in outputs(generator)]
    if "parser" in loaded.arguments:
        graphs.append(_parsing(loaded.network("parser", BiSeNet), min(PARSED, generator.resolution)))
    title = f"STIT, StyleGAN2 of {generator.resolution} px"
    return Plan("stit", title, tuple(graphs), _parameters(loaded, generator))


def outputs(generator: Generator) -> list[int]:
    """Sides of the pictures that can be chosen, the finest first."""
    sizes = [generator.resolution // 2**step for step in range(COARSER + 1)]
    return [size for size in sizes if size == generator.resolution or size >= SMALLEST_OUTPUT]


def synthesis_name(generator: Generator, size: int) -> str:
    """The graph of a size: `synthesis` is the finest."""
    return "synthesis" if size == generator.resolution else f"synthesis_{size}"


def spare_rows(styles: Tensor | None) -> int:
    """How many rows a code has behind its own."""
    return 0 if styles is None else 1


def _inversion(inversion: Inversion, generator: Generator, spare: int) -> GraphPlan:
    encoder = inversion.encoder
    if (encoder.rows, encoder.style_dim) != (generator.num_ws, generator.w_dim):
        raise BundleError(
            f"the encoder gives codes of {encoder.rows} x {encoder.style_dim}, expected the generator's "
            f"{generator.num_ws} x {generator.w_dim}"
        )
    return GraphPlan(
        "e4e",
        Inverting(inversion, spare),
        (picture("image", encoder.size),),
        (numbers("ws", (1, encoder.rows + spare, encoder.style_dim)),),
        batched=True,
    )


def _synthesis(generator: Generator, size: int, styles: Tensor | None) -> GraphPlan:
    rows = generator.num_ws + spare_rows(styles)
    return GraphPlan(
        synthesis_name(generator, size),
        LiveSynthesis(generator.synthesis, size, styles),
        (numbers("ws", (1, rows, generator.w_dim), CODES),),
        (numbers("image", (1, 3, size, size)),),
        reference=Stopped(generator, size, styles),
        batched=True,
    )


def _parsing(parser: BiSeNet, size: int) -> GraphPlan:
    classes = parser.conv_out.conv_out.out_channels
    return GraphPlan(
        "parsing",
        Parsing(parser),
        (picture("image", size),),
        (numbers("logits", (1, classes, size, size)),),
        batched=True,
    )


def _parameters(loaded: Loaded, generator: Generator) -> Parameters:
    crop = crop_rule(loaded, generator.resolution)
    facts: dict[str, object] = {"outputs": outputs(generator)}
    if "parser" in loaded.arguments:
        facts["classes"] = CLASSES
    return Parameters(
        crop=crop, aus=(), extractor=None, au_range=None, modes=frozenset({Mode.EDIT}), facts=facts
    )
