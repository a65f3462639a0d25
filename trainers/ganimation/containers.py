"""Files of weights made elsewhere: the official code's, and two replications' with their own names.

`trainers.containers.read_state_dict` reads such a file. What is dropped, renamed or missing is said in an `Account`;
nothing is guessed silently:

- torch 0.3.1 wrote running statistics that its networks never used: dropped, and never switched on;
- DataParallel put `module.` before every name: stripped;
- vipermu/ganimation names its heads `im_reg` and `im_att`, repeats its trunk under `debug1` .. `debug4`, and its norms
  do use running statistics in eval mode: kept, as norm `instance_running`;
- donydchen/ganimation_replicate has `model`, `color_top` and `au_top`, `conv_block` in its residual blocks (a dropout
  shifts the second convolution), norms without parameters and convolutions with bias: norm `instance_plain`.

Constructor arguments follow from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainers.containers import Account
from trainers.errors import CheckpointError
from trainers.ganimation.networks import Discriminator, Generator, Norm

Network = Literal["generator", "discriminator"]
Origin = Literal["official", "vipermu", "donydchen"]

HEADS: Mapping[str, tuple[Origin, Network]] = {
    "attetion_reg.0.weight": ("official", "generator"),
    "im_att.0.weight": ("vipermu", "generator"),
    "au_top.0.weight": ("donydchen", "generator"),
    "conv2.weight": ("official", "discriminator"),
    "aus_top.weight": ("donydchen", "discriminator"),
}
RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "official": (),
    "vipermu": ((r"^im_reg\.", "img_reg."), (r"^im_att\.", "attetion_reg.")),
    "donydchen": (
        (r"^model\.(\d+)\.conv_block\.0\.", r"main.\1.main.0."),
        (r"^model\.(\d+)\.conv_block\.[34]\.", r"main.\1.main.3."),
        (r"^model\.", "main."),
        (r"^color_top\.", "img_reg."),
        (r"^au_top\.", "attetion_reg."),
        (r"^dis_top\.", "conv1."),
        (r"^aus_top\.", "conv2."),
    ),
}
NORMS: Mapping[str, Norm] = {
    "official": "instance",
    "vipermu": "instance_running",
    "donydchen": "instance_plain",
}
STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


@dataclass(frozen=True)
class Cleaned:
    """Weights under the official names. arguments: of the constructor. `build` makes the network."""

    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    account: Account

    def build(self) -> Generator | Discriminator:
        """The network with these weights, in eval mode."""
        network = KINDS[self.account.network](**self.arguments)
        network.load_state_dict(dict(self.weights), strict=True)
        return network.eval()


KINDS: Mapping[str, type[Generator] | type[Discriminator]] = {
    "generator": Generator,
    "discriminator": Discriminator,
}


def clean(stored: Mapping[str, Tensor]) -> Cleaned:
    """A state dict of any of the three layouts under the official names, float32.

    Raises CheckpointError where it is no GANimation network, or not a whole one: the message is the account.
    """
    plain = {name.removeprefix("module."): value for name, value in stored.items()}
    origin, network = _recognised(plain)
    account = Account(origin, network)
    for name in stored:
        if name.startswith("module."):
            account.renamed[name] = name.removeprefix("module.")
    named = _renamed(plain, account)
    arguments = _arguments(named, account)
    weights = account.fit(named, _shapes(network, arguments))
    if not account.whole:
        raise CheckpointError(account.refusal())
    return Cleaned(arguments, weights, account)


def _recognised(plain: Mapping[str, Tensor]) -> tuple[Origin, Network]:
    for head, what in HEADS.items():
        if head in plain:
            return what
    known = ", ".join(HEADS)
    raise CheckpointError(f"no GANimation network: none of {known} is in the file, only {_few(list(plain))}")


def _renamed(plain: Mapping[str, Tensor], account: Account) -> dict[str, Tensor]:
    """Official names; aliases and statistics that nobody reads are dropped."""
    named = {}
    for name, value in plain.items():
        if account.origin == "vipermu" and re.match(r"debug\d\.", name):
            account.dropped[name] = "another name of the same weights in main"
            continue
        if STATISTICS.search(name) and account.origin != "vipermu":
            account.dropped[name] = "running statistics, which the network never reads"
            continue
        new = name
        for pattern, replacement in RENAMED[account.origin]:
            new, done = re.subn(pattern, replacement, name)
            if done:
                break
        if new != name:
            account.renamed[name] = new
        named[new] = value
    return named


def _arguments(named: Mapping[str, Tensor], account: Account) -> dict[str, Any]:
    first = named.get("main.0.weight")
    if first is None or first.ndim != 4:
        raise CheckpointError(
            f"no GANimation network: main.0.weight is missing or no convolution, {_few(list(named))}"
        )
    conv_dim, channels = first.shape[:2]
    if account.network == "generator":
        blocks = {m.group(1) for name in named if (m := re.match(r"main\.(\d+)\.main\.", name))}
        return {
            "conv_dim": conv_dim,
            "c_dim": channels - 3,
            "repeat_num": len(blocks),
            "norm": NORMS[account.origin],
        }
    heads = named["conv2.weight"]
    repeat_num = sum(bool(re.fullmatch(r"main\.\d+\.weight", name)) for name in named)
    return {
        "image_size": heads.shape[-1] * 2**repeat_num,
        "conv_dim": conv_dim,
        "c_dim": heads.shape[0],
        "repeat_num": repeat_num,
    }


def _shapes(network: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        with torch.device("meta"):
            built: nn.Module = KINDS[network](**arguments)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{network}: shapes give {dict(arguments)}, which is no network: {error}"
        ) from error
    return built.state_dict()


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
