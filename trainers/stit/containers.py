"""Official files of STIT: `ffhq.pkl`, tuned models, `e4e_ffhq_encode.pt`, `79999_iter.pth`.

Widths and sizes follow from the shapes, and every key has to fit. No code in a file is run (`pickled.py`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainers.containers import Account, check_file, read_plain, read_state_dict, state_dict
from trainers.errors import CheckpointError
from trainers.fitting import Cleaned, fitted, numbered
from trainers.layouts.pickles import Refused
from trainers.stit import pickled
from trainers.stit.bisenet import BiSeNet
from trainers.stit.critic import Critic
from trainers.stit.e4e import Inversion, share_of
from trainers.stit.generator import Generator
from trainers.stit.irse import BLOCKS
from trainers.stit.rosinality import RosinalityGenerator, channels_of

Network = Literal["generator", "critic", "encoder", "decoder", "parser"]
ORIGIN = "official"
_LONGEST_SHOWN = 60
_MOST_DOUBLINGS = 10
"""Of the decoder's picture, from 4 pixels a side to 4096."""

KINDS: Mapping[str, type[nn.Module]] = {
    "generator": Generator,
    "critic": Critic,
    "encoder": Inversion,
    "decoder": RosinalityGenerator,
    "parser": BiSeNet,
}
"""By the name that checkpoints give it."""


@dataclass(frozen=True)
class Tuned:
    """A person's generator after pivotal tuning. pivots (frames, rows, w_dim); quads (frames, 4, 2), float64."""

    generator: Cleaned
    pivots: Tensor
    quads: np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class InversionFile:
    """An e4e file: the encoder with its mean latent, and the decoder that its training looked through."""

    encoder: Cleaned
    decoder: Cleaned
    options: Mapping[str, Any]


def read(path: Path) -> Cleaned:
    """The network of any of the official files, told apart by what is in it: of a tuned model its generator, of an e4e
    file the encoder. Raises CheckpointError."""
    if _is_pickle(path):
        return read_generator(path)
    if _holds_objects(path):
        return read_tuned(path).generator
    stored = read_plain(path)
    if isinstance(stored, Mapping) and "opts" in stored:
        return read_encoder(path).encoder
    plain = read_state_dict(path)
    return clean_parser(plain) if any(".resnet." in name for name in plain) else clean(plain)


def read_generator(path: Path, entry: str = "G_ema") -> Cleaned:
    """NVIDIA's pickle (`entry`: "G_ema", "G", or "D" for the critic), or a state dict of a generator.

    Raises CheckpointError for what is no whole network of these.
    """
    if _is_pickle(path):
        return clean_module(pickled.read_network(path, entry))
    return clean(read_state_dict(path))


def read_tuned(path: Path) -> Tuned:
    """`checkpoints/model_<run>.pt`. Raises CheckpointError."""
    stored = pickled.read_tuned(path)
    generator = clean_module(stored.generator)
    pivots, rows = stored.pivots.float(), 2 * len(generator.arguments["widths"])
    if tuple(pivots.shape[1:]) != (rows, generator.arguments["w_dim"]) or len(pivots) != len(stored.quads):
        raise CheckpointError(
            f"{path}: has pivots {tuple(pivots.shape)} and {len(stored.quads)} quads, expected as many, and "
            f"{rows} rows of {generator.arguments['w_dim']} each"
        )
    return Tuned(generator, pivots, stored.quads)


def read_encoder(path: Path) -> InversionFile:
    """`e4e_ffhq_encode.pt`. Its `device`, a GPU of the training, is not read. Raises CheckpointError."""
    stored = read_plain(path)
    table = stored if isinstance(stored, Mapping) else {}
    state, latent, options = (table.get(name) for name in ("state_dict", "latent_avg", "opts"))
    if not isinstance(state, Mapping) or not isinstance(options, Mapping):
        raise CheckpointError(
            f"{path}: expected an e4e file with state_dict, latent_avg and opts, opts a table"
        )
    if latent is not None and not isinstance(latent, Tensor):
        raise CheckpointError(f"{path}: its latent_avg is {type(latent).__name__}, expected a tensor")
    return clean_encoder(state_dict(path, state), latent, options)


def read_parser(path: Path) -> Cleaned:
    """`79999_iter.pth`. Raises CheckpointError."""
    return clean_parser(read_state_dict(path))


def _is_pickle(path: Path) -> bool:
    """NVIDIA's files are bare pickles of protocol 3 or later; torch's are archives, or old ones of protocol 2."""
    check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    return len(start) == 2 and start[0] == 0x80 and start[1] >= 3


def _holds_objects(path: Path) -> bool:
    """Whether a file of torch has a module of NVIDIA's in it, by the names that its pickle states."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = next((part for part in archive.infolist() if part.filename.endswith("/data.pkl")), None)
            if found is None or found.compress_type != zipfile.ZIP_STORED:
                return False
            return pickled.MODULE.encode() in archive.read(found)
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError):
        return False


# --- StyleGAN2 -------------------------------------------------------------------------------------


def clean_module(module: pickled.Module) -> Cleaned:
    """A module of a pickle: generator or critic, with the bound on its layers that the class was made with."""
    try:
        weights = dict(module.tensors())
        kwargs = module.state.get("_init_kwargs")
        classes = module.number("c_dim")
        layer = module.child("synthesis.b4.conv1") or module.child("b4.conv")
        clamp = layer.number("conv_clamp") if layer is not None else None
        if classes:
            raise Refused(f"a network of {classes:.0f} classes, which is not supported")
        if clamp is not None and not clamp > 0:
            raise Refused(f"a bound on its layers of {clamp:g}, expected above 0")
        if isinstance(kwargs, dict):
            of_synthesis = kwargs.get("synthesis_kwargs")
            stated = {**kwargs, **(of_synthesis if isinstance(of_synthesis, dict) else {})}
            usual = "resnet" if "b4.out.weight" in weights else "skip"
            if stated.get("architecture", usual) != usual:
                told = repr(stated["architecture"])[:_LONGEST_SHOWN]
                raise Refused(f"the architecture {told}, expected {usual!r}")
    except Refused as refused:
        raise CheckpointError(f"a network of class {module.kind} holds {refused}") from refused
    return clean(weights, conv_clamp=clamp)


def clean(stored: Mapping[str, Tensor], conv_clamp: float | None = None) -> Cleaned:
    """A state dict of the ada generator or critic. conv_clamp: does not stand in a state dict.

    Raises CheckpointError; the message is the account.
    """
    if "synthesis.b4.const" in stored:
        arguments = _generator_arguments(stored)
        facts = {"conv_clamp_from": "file" if conv_clamp is not None else "none stated"}
        return _cleaned("generator", {**arguments, "conv_clamp": conv_clamp}, stored, facts)
    if "b4.out.weight" in stored:
        widths = _by_resolution(stored, r"b(\d+)\.conv0\.weight")
        first = _tensor(stored, "b4.conv.weight", 4)
        colours = _tensor(stored, f"b{max(widths, default=4)}.fromrgb.weight", 4).shape[1]
        arguments = {
            "widths": [first.shape[0], *(widths[size] for size in sorted(widths))],
            "colours": colours,
            "conv_clamp": conv_clamp,
        }
        return _cleaned("critic", arguments, stored)
    raise CheckpointError(
        f"no StyleGAN2 network: neither synthesis.b4.const nor b4.out.weight is in the file, only {_few(list(stored))}"
    )


def _generator_arguments(stored: Mapping[str, Tensor]) -> dict[str, Any]:
    widths = _by_resolution(stored, r"synthesis\.b(\d+)\.conv1\.weight")
    layers = numbered(stored, r"mapping\.fc(\d+)\.weight")
    first, last = (_tensor(stored, f"mapping.fc{index}.weight", 2) for index in (0, max(0, len(layers) - 1)))
    if sorted(widths) != [4 * 2**index for index in range(len(widths))]:
        raise CheckpointError(f"no StyleGAN2 generator: it has blocks for {sorted(widths)} pixels")
    return {
        "widths": [widths[size] for size in sorted(widths)],
        "z_dim": first.shape[1],
        "w_dim": last.shape[0],
        "mapping_layers": len(layers),
        "colours": _tensor(stored, "synthesis.b4.torgb.weight", 4).shape[0],
    }


def _by_resolution(stored: Mapping[str, Tensor], pattern: str) -> dict[int, int]:
    """Resolution to the channels that a layer there gives."""
    found = numbered(stored, pattern)
    return {resolution: _tensor(stored, name, 4).shape[0] for resolution, name in found.items()}


# --- e4e -------------------------------------------------------------------------------------------


def clean_encoder(
    state: Mapping[str, Tensor], latent_avg: Tensor | None, options: Mapping[str, Any]
) -> InversionFile:
    """An e4e file's content, both halves checked key by key. Raises CheckpointError; the message is the account."""
    kind = options.get("encoder_type", "Encoder4Editing")
    if kind != "Encoder4Editing":
        raise CheckpointError(f"the encoder is a {repr(kind)[:_LONGEST_SHOWN]}, expected 'Encoder4Editing'")
    theirs = _below(state, "encoder.")
    arguments = _encoder_arguments(theirs)
    rows, width = arguments["rows"], arguments["style_dim"]
    counted = options.get("start_from_latent_avg", True)
    if counted is None or (isinstance(counted, int) and not counted):
        latent_avg = torch.zeros(rows, width)
    if latent_avg is None:
        raise CheckpointError("the file holds no latent_avg, from which its codes are counted")
    encoder = _cleaned(
        "encoder",
        arguments,
        {
            **{f"encoder.{name}": value for name, value in theirs.items()},
            "latent_avg": _rows(latent_avg, rows),
        },
        {"stylegan_size": options.get("stylegan_size"), "encoder_type": kind},
    )
    others = [name for name in state if not name.startswith(("encoder.", "decoder."))]
    if others:
        raise CheckpointError(f"no e4e file: it holds {_few(others)} beside encoder and decoder")
    decoder = _below(state, "decoder.")
    return InversionFile(encoder, _cleaned("decoder", _decoder_arguments(decoder), decoder), options)


_MOST_CODES = 1 << 20


def _rows(latent: Tensor, rows: int) -> Tensor:
    """The mean latent, one row for each head; files of a single row, (1, D) or (D,), mean the same one for all."""
    if latent.layout != torch.strided or latent.ndim not in (1, 2) or not latent.numel():
        raise CheckpointError(f"its latent_avg is of shape {tuple(latent.shape)}, expected {rows} rows")
    # A small file may hold one value and say that it stands there any number of times.
    if latent.numel() > _MOST_CODES:
        raise CheckpointError(f"its latent_avg has {latent.numel()} values, expected {rows} rows of a code")
    plain = latent.reshape(-1, latent.shape[-1]).float()
    return plain.expand(rows, -1).clone() if len(plain) == 1 else plain


def _encoder_arguments(stored: Mapping[str, Tensor]) -> dict[str, Any]:
    heads = set(numbered(stored, r"styles\.(\d+)\..*"))
    layers = set(numbered(stored, r"body\.(\d+)\..*"))
    if not heads or not layers:
        raise CheckpointError(f"no e4e encoder: it holds {_few(list(stored))}")
    outputs = [_tensor(stored, f"body.{index}.res_layer.1.weight", 4).shape[0] for index in sorted(layers)]
    starts = [0, *(at for at in range(1, len(outputs)) if outputs[at] != outputs[at - 1])]
    blocks = [end - start for start, end in zip(starts, [*starts[1:], len(outputs)])]
    if len(blocks) != len(BLOCKS):
        raise CheckpointError(
            f"no e4e encoder: its backbone has {len(blocks)} stages, expected {len(BLOCKS)}"
        )
    head = max(heads)
    finest = [name for name in stored if re.fullmatch(rf"styles\.{head}\.convs\.\d+\.weight", name)]
    return {
        "rows": len(heads),
        "style_dim": _tensor(stored, "styles.0.linear.weight", 2).shape[0],
        "size": share_of(head) * 2 ** len(finest),
        "widths": [outputs[start] for start in starts],
        "blocks": blocks,
    }


def _decoder_arguments(stored: Mapping[str, Tensor]) -> dict[str, Any]:
    mapping = numbered(stored, r"style\.(\d+)\.weight")
    finer = numbered(stored, r"to_rgbs\.(\d+)\.bias")
    if len(finer) > _MOST_DOUBLINGS:
        raise CheckpointError(f"its decoder has {len(finer)} doublings, expected at most {_MOST_DOUBLINGS}")
    size = 4 * 2 ** len(finer)
    last = _tensor(stored, f"convs.{max(0, 2 * len(finer) - 1)}.conv.weight", 5).shape[1]
    return {
        "size": size,
        "style_dim": _tensor(stored, "conv1.conv.modulation.weight", 2).shape[1],
        "n_mlp": len(mapping),
        "channel_multiplier": 2 if size <= 32 else max(1, last // channels_of(size, 1)),
    }


# --- parser ----------------------------------------------------------------------------------------


def clean_parser(stored: Mapping[str, Tensor]) -> Cleaned:
    """A state dict of BiSeNet, with or without counters of batches. Raises CheckpointError."""
    plain = {name.removeprefix("module."): value for name, value in stored.items()}
    arguments = {
        "n_classes": _tensor(plain, "conv_out.conv_out.weight", 4).shape[0],
        "width": _tensor(plain, "cp.resnet.conv1.weight", 4).shape[0],
    }
    return _cleaned("parser", arguments, plain)


# --- common ----------------------------------------------------------------------------------------


def _cleaned(
    network: Network,
    arguments: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    facts: Mapping[str, Any] | None = None,
) -> Cleaned:
    return fitted(Account(ORIGIN, network), KINDS[network], arguments, stored, facts)


def _below(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _tensor(stored: Mapping[str, Tensor], name: str, dimensions: int) -> Tensor:
    value = stored.get(name)
    if value is None or value.ndim != dimensions:
        raise CheckpointError(
            f"no network of STIT: {name} is missing or has not {dimensions} axes; the file holds {_few(list(stored))}"
        )
    return value


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
