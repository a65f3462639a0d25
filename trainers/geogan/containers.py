"""Official GeoGAN files: `<experiment>/epoch_<E>_iter_<I>_{G,D}.pth` and `opt.txt` beside them.

The constructor's arguments follow from the shapes, but for the side of the pictures: nothing in the file depends on
it, so it comes from `opt.txt` or from the caller. The refinement weight, which the official program derives from the
epoch at inference, follows from the epoch in the file's name and `res_weight`, and is kept as an argument.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError
from trainers.geogan.networks import (
    DEAD_DECODERS,
    AttrMultiScalePatchDisc,
    FlowGenerator,
    official_refinement_weight,
)

Network = Literal["generator", "discriminator"]
ORIGIN = "official"

_OFFICIAL_SIZE = 128
_OFFICIAL_RES_WEIGHT = 0.1
_FILE = re.compile(r"epoch_(\d+)_iter_(\d+)_[GD]\.pth$")
_STATISTICS = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")


@dataclass(frozen=True)
class Cleaned:
    """Weights under the official names. arguments: of the constructor. facts: what else the files said: epoch and
    iteration, refinement_weight, norm, attributes (names in the order of the critic's labels), size_from."""

    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    account: Account
    facts: Mapping[str, Any]

    def build(self) -> FlowGenerator | AttrMultiScalePatchDisc:
        """The network with these weights, in eval mode."""
        network = _built(self.account.network, self.arguments)
        network.load_state_dict(dict(self.weights), strict=True)
        return network.eval()


def read(path: Path, *, size: int | None = None, keep_dead: bool = False) -> Cleaned:
    """An official file, with what its name and the `opt.txt` beside it say.

    size: side of the pictures where no `opt.txt` says it (else the official default, 128, which the facts tell).
    Raises CheckpointError for what is no whole GeoGAN network.
    """
    beside = path.parent / "opt.txt"
    options = read_options(beside) if beside.is_file() else {}
    name = _FILE.search(path.name)
    return clean(
        read_state_dict(path),
        options=options,
        epoch=int(name[1]) if name else None,
        size=size,
        keep_dead=keep_dead,
    )


def clean(
    stored: Mapping[str, Tensor],
    *,
    options: Mapping[str, Any] | None = None,
    epoch: int | None = None,
    size: int | None = None,
    keep_dead: bool = False,
) -> Cleaned:
    """A state dict under the names that our networks have, float32, checked key by key.

    options: what `read_options` gave. epoch: that it was saved in; without it refinement has its full weight.
    keep_dead: keep the three decoders that nothing calls. Raises CheckpointError; the message is the account.
    """
    options = options or {}
    plain = {name.removeprefix("module."): value for name, value in stored.items()}
    network = _recognised(plain)
    account = Account(ORIGIN, network)
    account.renamed.update(
        {name: name.removeprefix("module.") for name in stored if name.startswith("module.")}
    )
    norm = _norm(plain)
    kept = _without_the_useless(plain, norm, keep_dead, account)
    facts: dict[str, Any] = {"norm": norm}
    if epoch is not None:
        facts["epoch"] = epoch
    if isinstance(names := options.get("sel_attrs"), list):
        facts["attributes"] = [str(name) for name in names]
    if network == "generator":
        arguments = _generator_arguments(kept, norm, options, epoch, size, facts)
    else:
        arguments = _critic_arguments(kept, norm)
    weights = account.fit(kept, _shapes(network, arguments))
    if not account.whole:
        raise CheckpointError(account.refusal())
    return Cleaned(arguments, weights, account, facts)


def read_options(path: Path) -> dict[str, Any]:
    """`opt.txt`: lines of `key: value` between two rulers. Values are Python literals, or stay text; no code is run.

    Only the first colon divides a line, so that values may hold colons. `inf` is a number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: no readable options file: {error}") from error
    options: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or set(line.split(" ")[0]) == {"-"}:
            continue
        key, colon, value = line.partition(":")
        if not colon or not key.strip():
            raise CheckpointError(f"{path}, line {number}: got {line[:60]!r}, expected 'key: value'")
        options[key.strip()] = _literal(value.strip())
    return options


def _literal(text: str) -> Any:
    if text in ("inf", "-inf"):
        return math.inf if text == "inf" else -math.inf
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _recognised(plain: Mapping[str, Tensor]) -> Network:
    if any(name.startswith(("flow_head.", "res_head.")) for name in plain):
        return "generator"
    if any(name.startswith("disc_0.") for name in plain):
        return "discriminator"
    raise CheckpointError(
        f"no GeoGAN network: neither flow_head. nor disc_0. is in the file, only {_few(list(plain))}"
    )


def _norm(plain: Mapping[str, Tensor]) -> str:
    if any(name.endswith(".gamma") for name in plain):
        return "layer"
    affine = {
        name.removesuffix(".running_mean") + ".weight" for name in plain if name.endswith(".running_mean")
    }
    return "batch" if affine & plain.keys() else "instance"


def _without_the_useless(
    plain: Mapping[str, Tensor], norm: str, keep_dead: bool, account: Account
) -> dict[str, Tensor]:
    kept = {}
    for name, value in plain.items():
        if name.split(".")[0] in DEAD_DECODERS and not keep_dead:
            account.dropped[name] = "decoder that nothing calls"
        elif norm == "instance" and _STATISTICS.search(name):
            account.dropped[name] = "running statistics, which the network never reads"
        else:
            kept[name] = value
    return kept


def _generator_arguments(
    kept: Mapping[str, Tensor],
    norm: str,
    options: Mapping[str, Any],
    epoch: int | None,
    size: int | None,
    facts: dict[str, Any],
) -> dict[str, Any]:
    if size is None:
        size = _number(options, "img_size", _OFFICIAL_SIZE)
        facts["size_from"] = "options" if "img_size" in options else "default"
    most = _number(options, "res_weight", _OFFICIAL_RES_WEIGHT)
    weight = most if epoch is None else official_refinement_weight(epoch, most)
    facts["refinement_weight"] = weight
    halvings = _numbers(kept, r"res_tail\.layer_(\d+)\.3\.weight")
    return {
        "size": int(size),
        "width": _first(kept, "flow_head.layers.1.weight").shape[0],
        "downsamples": len(halvings),
        "blocks": len(_numbers(kept, r"res_block\.(\d+)\.conv_block\.1\.weight")),
        "norm": norm,
        "only_residual": any(name.startswith("only_res_tail.") for name in kept),
        "dead_decoders": any(name.split(".")[0] in DEAD_DECODERS for name in kept),
        "refinement_weight": weight,
    }


def _critic_arguments(kept: Mapping[str, Tensor], norm: str) -> dict[str, Any]:
    trunk = [name for name in kept if re.fullmatch(r"disc_0\.d_layers\.\d+\.weight", name)]
    first = _first(kept, "disc_0.d_layers.0.weight")
    return {
        "width": first.shape[0],
        "layers": sum(kept[name].ndim == 4 for name in trunk),
        "scales": len(_numbers(kept, r"disc_(\d+)\.disc_layer\.weight")),
        "attributes": _first(kept, "disc_0.attr_layer.0.weight").shape[0],
        "norm": norm,
        "inputs": first.shape[1],
    }


def _first(kept: Mapping[str, Tensor], name: str) -> Tensor:
    value = kept.get(name)
    if value is None or value.ndim != 4:
        raise CheckpointError(
            f"no GeoGAN network: {name} is missing or no convolution, only {_few(list(kept))}"
        )
    return value


def _numbers(kept: Mapping[str, Tensor], pattern: str) -> set[int]:
    return {int(found[1]) for name in kept if (found := re.fullmatch(pattern, name))}


def _number(options: Mapping[str, Any], key: str, default: float) -> Any:
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"opt.txt: {key} is {value!r}, expected a number")
    return value


def _built(network: str, arguments: Mapping[str, Any]) -> FlowGenerator | AttrMultiScalePatchDisc:
    if network == "generator":
        return FlowGenerator(**arguments)
    return AttrMultiScalePatchDisc(**arguments)


def _shapes(network: Network, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        with torch.device("meta"):
            built: nn.Module = _built(network, arguments)
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{network}: the file gives {dict(arguments)}, no network: {error}") from error
    return built.state_dict()


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
