"""Official MaskGAN files: `latest_net_G.pth`, the parser's `model.pth`, and files of the other networks' own names.

Bare state dicts as torch 0.4 wrote them. The constructors' arguments follow from the shapes. Every key has to fit: the
official loader skips those that do not and only prints them, which leaves a network half at random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError
from trainers.fitting import Cleaned, fitted, numbered
from trainers.maskgan.blender import AlphaBlender
from trainers.maskgan.critic import MultiscaleCritic
from trainers.maskgan.mask_vae import SMALLEST, MaskVAE
from trainers.maskgan.networks import DenseMappingNetwork
from trainers.maskgan.parser import ParsingUNet, arguments_of

Network = Literal["generator", "blender", "critic", "mask_vae", "parser"]
ORIGIN = "official"

KINDS: Mapping[str, type[nn.Module]] = {
    "generator": DenseMappingNetwork,
    "blender": AlphaBlender,
    "critic": MultiscaleCritic,
    "mask_vae": MaskVAE,
    "parser": ParsingUNet,
}
"""By the name that checkpoints give it."""

_DUMMIES = re.compile(r"\.norm\.running_(mean|var)$")
_FIXED_BEFORE = 4  # padding, convolution, norm, ReLU
_PER_HALVING = 3
_MOST_OF_CRITIC = 16


def read(path: Path) -> Cleaned:
    """One official file. Raises CheckpointError for what is no whole MaskGAN network."""
    return clean(read_state_dict(path))


def clean(stored: Mapping[str, Tensor]) -> Cleaned:
    """A state dict under the names that our networks have, float32, checked key by key.

    Raises CheckpointError; the message is the account.
    """
    plain = {name.removeprefix("module."): value for name, value in stored.items()}
    network = recognised(plain)
    account = Account(ORIGIN, network)
    account.renamed.update({name: name[7:] for name in stored if name.startswith("module.")})
    kept = {}
    for name, value in plain.items():
        if network == "generator" and _DUMMIES.search(name):
            account.dropped[name] = "statistics that AdaIN registers and never reads"
        else:
            kept[name] = value
    return fitted(account, KINDS[network], _ARGUMENTS[network](kept), kept)


def recognised(plain: Mapping[str, Tensor]) -> Network:
    """Which network a state dict's names are those of. Raises CheckpointError where it is none."""
    if any(name.startswith(("enc_style.", "enc_label.")) for name in plain):
        return "generator"
    if any(re.match(r"scale\d+_layer\d+\.", name) for name in plain):
        return "critic"
    if "fc1.weight" in plain and "e1.weight" in plain:
        return "mask_vae"
    if "center.conv1.0.weight" in plain and "final.weight" in plain:
        return "parser"
    if any(re.match(r"model\.\d+\.conv_block\.", name) for name in plain):
        return "blender"
    few = ", ".join(list(plain)[:3]) + (" ..." if len(plain) > 3 else "")
    raise CheckpointError(
        f"no MaskGAN network: enc_style., scale0_layer0., fc1, center., model.N.conv_block.: none is there, only {few}"
    )


def _generator(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    first = _convolution(kept, "model.1.weight")
    return {"classes": first.shape[1], **_backbone(kept, first)}


def _blender(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    return _backbone(kept, _convolution(kept, "model.1.weight"))


def _backbone(kept: Mapping[str, Tensor], first: Tensor) -> dict[str, Any]:
    places = _numbers(kept, r"model\.(\d+)\.conv_block\.0\.conv\.weight")
    if not places or (min(places) - _FIXED_BEFORE) % _PER_HALVING:
        raise CheckpointError("its residual blocks model.N.conv_block. are missing, or not where they belong")
    return {
        "width": first.shape[0],
        "downsamples": (min(places) - _FIXED_BEFORE) // _PER_HALVING,
        "blocks": len(places),
    }


def _critic(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    first = _convolution(kept, "scale0_layer0.0.weight")
    layers = len(_numbers(kept, r"scale0_layer(\d+)\.0\.weight")) - 2
    scales = len(_numbers(kept, r"scale(\d+)_layer0\.0\.weight"))
    if max(layers, scales) > _MOST_OF_CRITIC:
        raise CheckpointError(f"its critic has {layers} layers at {scales} scales, expected a handful")
    return {
        "inputs": first.shape[1],
        "width": first.shape[0],
        "layers": layers,
        "scales": scales,
    }


def _mask_vae(kept: Mapping[str, Tensor]) -> dict[str, Any]:
    first = _convolution(kept, "e1.weight")
    halvings = len(_numbers(kept, r"e(\d+)\.weight"))
    last = _convolution(kept, f"d{halvings + 1}.weight")
    return {
        "classes": first.shape[1],
        "width": first.shape[0],
        "latent": kept["fc1.weight"].shape[0] if kept["fc1.weight"].ndim else 0,
        "size": SMALLEST * 2**halvings,
        "decoder_width": last.shape[1],
    }


_ARGUMENTS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "generator": _generator,
    "blender": _blender,
    "critic": _critic,
    "mask_vae": _mask_vae,
    "parser": arguments_of,
}


def _convolution(kept: Mapping[str, Tensor], name: str) -> Tensor:
    value = kept.get(name)
    if value is None or value.ndim != 4:
        raise CheckpointError(f"{name} is missing or no convolution; expected a whole official network")
    return value


def _numbers(kept: Mapping[str, Tensor], pattern: str) -> set[int]:
    return set(numbered(kept, pattern))
