"""Official files: `AttLWB-SPADE_id_G_*.pth`, `net_iter_N_id_G.pth` and `_D`, `personalized.pth`, and SPIN's.

Bare state dicts; the generators' may carry "module." before every name, SPIN's lies under "model". The constructors'
arguments follow from the shapes. Every key has to fit: the official loader passes over those that do not, without a
word, and leaves a network half at random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainers.containers import Account, read_plain, state_dict
from trainers.errors import CheckpointError
from trainers.liquid_warping.discriminators import PARTS, PartsDiscriminator
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.spin import SPIN
from trainers.liquid_warping.variants import InputConcatGenerator, TextureWarpingGenerator

Network = Literal["generator", "concat_generator", "texture_generator", "critic", "spin"]
ORIGIN = "official"

KINDS: Mapping[str, type[nn.Module]] = {
    "generator": LiquidWarpingGenerator,
    "concat_generator": InputConcatGenerator,
    "texture_generator": TextureWarpingGenerator,
    "critic": PartsDiscriminator,
    "spin": SPIN,
}
"""By the name that checkpoints give it."""

_UNDER = "model"
_PREFIX = "module."


@dataclass(frozen=True)
class Cleaned:
    """Weights under the official names, and the constructor's arguments."""

    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    account: Account

    def build(self) -> nn.Module:
        """The network with these weights, in eval mode. They are not copied."""
        network = _unfilled(self.account.network, self.arguments)
        network.load_state_dict(dict(self.weights), strict=True, assign=True)
        return network.eval()


def read(path: Path) -> Cleaned:
    """One official file. Raises CheckpointError for what is no whole network of this system."""
    stored = read_plain(path)
    if isinstance(stored, Mapping) and isinstance(stored.get(_UNDER), Mapping):
        stored = stored[_UNDER]
    if not isinstance(stored, Mapping) or not stored:
        raise CheckpointError(f"{path}: holds {type(stored).__name__}, expected a state dict of tensors")
    return clean(state_dict(path, stored))


def clean(stored: Mapping[str, Tensor]) -> Cleaned:
    """A state dict under the names that our networks have, float32, checked key by key.

    Raises CheckpointError; the message is the account.
    """
    plain = {name.removeprefix(_PREFIX): value for name, value in stored.items()}
    network = recognised(plain)
    account = Account(ORIGIN, network)
    account.renamed.update({name: name.removeprefix(_PREFIX) for name in stored if name.startswith(_PREFIX)})
    arguments = _ARGUMENTS[network](plain)
    weights = account.fit(plain, _shapes(network, arguments))
    if not account.whole:
        raise CheckpointError(account.refusal())
    return Cleaned(arguments, weights, account)


def recognised(plain: Mapping[str, Tensor]) -> Network:
    """Which network a state dict's names are those of. Raises CheckpointError where it is none."""
    if any(name.startswith("tsf_net_enc.") for name in plain):
        return "generator"
    if "tsf_net.encoders.layers.0.0.weight" in plain:
        inputs = plain["tsf_net.encoders.layers.0.0.weight"].shape[1:2]
        return "texture_generator" if inputs == (6,) else "concat_generator"
    if (
        any(name.startswith("global_model.") for name in plain)
        and "scale_models.0.model.0.weight" not in plain
    ):
        return "critic"
    if "init_pose" in plain or "decpose.weight" in plain:
        return "spin"
    few = ", ".join(list(plain)[:3]) + (" ..." if len(plain) > 3 else "")
    raise CheckpointError(
        "no Liquid Warping network: tsf_net_enc. (a generator), global_model. (a critic), init_pose (SPIN): none is "
        f"there, only {few}"
    )


def _generator(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    encoder, source = "tsf_net_enc.layers.{}.0.weight", "src_net.encoders.layers.{}.0.weight"
    widths, source_widths = _widths(plain, encoder), _widths(plain, source)
    found: dict[str, Any] = {
        "block": _block(plain),
        "widths": widths,
        "residual_blocks": len(_numbers(plain, r"res_blocks\.(\d+)\.main\.0\.weight")),
    }
    found |= _unusual("source_inputs", _convolution(plain, source.format(0)).shape[1], 6)
    found |= _unusual("transfer_inputs", _convolution(plain, encoder.format(0)).shape[1], 6)
    if source_widths != widths:
        found["source_widths"] = source_widths
    if not any(name.startswith("bg_net.") for name in plain):
        return {**found, "background": False}
    return {**found, **_background(plain)}


def _block(plain: Mapping[str, Tensor]) -> str:
    """By what the first block holds; a sum and a mean hold nothing, and are not told apart: the sum is taken."""
    if "enc_attlwbs.0.spade.mlp_shared.0.weight" in plain:
        return "attention_spade"
    if "enc_attlwbs.0.fq.weight" in plain:
        return "attention_adain"
    return "gated_sum" if "enc_attlwbs.0.gate_conv.0.weight" in plain else "sum"


def _background(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    places = sorted(_numbers(plain, r"bg_net\.main\.(\d+)\.main\.0\.weight"))
    first = places[0] if places else 0
    if not places or first % 3 or first < 3:
        raise CheckpointError("its residual blocks bg_net.main.N.main. are missing, or not where they belong")
    levels = [_convolution(plain, f"bg_net.main.{place}.weight") for place in range(0, first, 3)]
    return {
        "background_widths": [level.shape[0] for level in levels],
        "background_blocks": len(places),
        **_unusual("background_inputs", levels[0].shape[1], 4),
    }


def _unusual(name: str, given: Any, usual: Any) -> dict[str, Any]:
    """An argument only where it is not the published one, as a training's checkpoint has it."""
    return {} if given == usual else {name: given}


def _one_network(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "widths": _widths(plain, "tsf_net.encoders.layers.{}.0.weight"),
        "residual_blocks": len(_numbers(plain, r"tsf_net\.res_blocks\.(\d+)\.main\.0\.weight")),
        **_background(plain),
    }


def _concat(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    inputs = _convolution(plain, "tsf_net.encoders.layers.0.0.weight").shape[1]
    if inputs < 9 or inputs % 6 != 3:
        raise CheckpointError(f"it takes {inputs} planes, expected 6 per source and 3 of the condition")
    return {"source_count": inputs // 6, **_one_network(plain)}


def _critic(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    first = _convolution(plain, "global_model.model.0.weight")
    parts = [part for part in PARTS if any(name.startswith(f"{part}_model.") for name in plain)]
    places = sorted(
        place
        for place in _numbers(plain, r"global_model\.model\.(\d+)\.weight")
        if plain[f"global_model.model.{place}.weight"].ndim == 4
    )
    widths = [_convolution(plain, f"global_model.model.{place}.weight").shape[0] for place in places[:-1]]
    batch = any(name.endswith(".running_mean") for name in plain)
    found: dict[str, Any] = {
        "parts": parts,
        "background": "bg_model.model.0.weight" in plain,
        "width": first.shape[0],
        "layers": len(places) - 2,
        "widest": max(1, max(widths) // max(1, first.shape[0])),
        **_unusual("inputs", first.shape[1], 6),
        **_unusual("norm", "batch" if batch else "instance", "instance"),
    }
    if found["background"]:
        planes = _convolution(plain, "bg_model.model.0.weight").shape[1]
        found |= _unusual("background_inputs", planes, 4)
    return found


def _spin(plain: Mapping[str, Tensor]) -> dict[str, Any]:
    """The iterations are not in the file; three is the published number."""
    stages = sorted(_numbers(plain, r"layer(\d+)\.0\.conv1\.weight"))
    return {"layers": [len(_numbers(plain, rf"layer{stage}\.(\d+)\.conv1\.weight")) for stage in stages]}


_ARGUMENTS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "generator": _generator,
    "concat_generator": _concat,
    "texture_generator": _one_network,
    "critic": _critic,
    "spin": _spin,
}


def _widths(plain: Mapping[str, Tensor], pattern: str) -> list[int]:
    places = _numbers(plain, pattern.replace(".", r"\.").replace("{}", r"(\d+)"))
    return [_convolution(plain, pattern.format(place)).shape[0] for place in range(len(places))]


def _convolution(plain: Mapping[str, Tensor], name: str) -> Tensor:
    value = plain.get(name)
    if value is None or value.ndim != 4:
        raise CheckpointError(f"{name} is missing or no convolution; expected a whole official network")
    return value


def _numbers(plain: Mapping[str, Tensor], pattern: str) -> set[int]:
    return {int(found[1]) for name in plain if (found := re.fullmatch(pattern, name))}


def _shapes(network: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        return _unfilled(network, arguments).state_dict()
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{network}: the file gives {dict(arguments)}, no network: {error}") from error


def _unfilled(network: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return KINDS[network](**arguments)
