"""A checkpoint is a folder of plain data, written whole or not at all.

    OUT/latest.json                       {"checkpoint": "step_00001000"}
    OUT/checkpoints/step_00001000/
        checkpoint.json                   format, system, arguments, recipe, step, data, facts, files with their sizes
        weights.safetensors               `<network>/<key>`, and `<network>_ema/<key>` of the moving averages
        training.safetensors, training.json    what only resuming needs

Opening one runs no code: safetensors and JSON only, and a pickle in their place is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainers.errors import CheckpointError, StorageError

FORMAT = 1
AVERAGED = "_ema"
_ABOUT, _WEIGHTS = "checkpoint.json", "weights.safetensors"
_STATE, _TENSORS = "training.json", "training.safetensors"


@dataclass(frozen=True)
class Training:
    """What only resuming needs: `tensors` (the optimisers' moments) and `state` (everything else, as JSON)."""

    state: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about itself; weights are read when asked for.

    system: its name in trainers/systems.py. arguments: per network its constructor's. recipe: the effective one, as a
    table; empty when imported. step: steps made. data: extractor, mode, crop, AUs, sizes. facts: the system's own.
    """

    system: str
    arguments: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def networks(self) -> tuple[str, ...]:
        """The names of what `weights` can give, averages included."""
        with _opened(self.folder / _WEIGHTS) as file:
            return tuple(dict.fromkeys(key.partition("/")[0] for key in file.keys()))  # noqa: SIM118

    def weights(self, network: str) -> dict[str, Tensor]:
        """A network's state dict, on the CPU. Raises CheckpointError where there is none of that name."""
        with _opened(self.folder / _WEIGHTS) as file:
            keys = [key for key in file.keys() if key.partition("/")[0] == network]  # noqa: SIM118
            found = {key.partition("/")[2]: file.get_tensor(key) for key in keys}
        if not found:
            has = ", ".join(self.networks()) or "none"
            raise CheckpointError(f"checkpoint {self.folder}: holds no network {network!r}; it has {has}")
        return found

    def load(self, network: str, module: nn.Module) -> None:
        """Put a network's weights into a module that was built alike. Raises CheckpointError naming what differs."""
        _fit(self.weights(network), module, f"checkpoint {self.folder}: network {network!r}")

    def training(self) -> Training:
        """What resuming needs. Raises CheckpointError where it is not there, as in an imported checkpoint."""
        if not (self.folder / _STATE).exists():
            raise CheckpointError(
                f"checkpoint {self.folder}: holds no {_STATE}, so it cannot be resumed; "
                "start a new training from its weights by --set run.weights=FOLDER"
            )
        with _opened(self.folder / _TENSORS) as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return Training(_json(self.folder / _STATE), tensors)

    def of_system(self, system: str) -> Checkpoint:
        """Itself, when it is of this system. Raises CheckpointError else."""
        if self.system != system:
            raise CheckpointError(
                f"checkpoint {self.folder}: is of system {self.system!r}, expected {system!r}; name another folder"
            )
        return self


def step_name(step: int) -> str:
    """The folder's name of a step's checkpoint."""
    return f"step_{step:08d}"


# --- reading ---------------------------------------------------------------------------------------


def read(folder: Path | str) -> Checkpoint:
    """A checkpoint's folder, or a training's folder, of which it is the latest.

    Raises CheckpointError when it is missing, damaged or of another format.
    """
    folder = latest(Path(folder))
    about = _json(folder / _ABOUT)
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {folder}: is of format {about.get('format')!r}, expected {FORMAT}; "
            "read it with the version of Marotte that wrote it"
        )
    try:
        names = {key: about[key] for key in ("system", "arguments", "recipe", "step", "data", "facts")}
        found = Checkpoint(**names, folder=folder)
        files = {str(name): int(size) for name, size in about["files"].items()}
        sound = isinstance(found.system, str) and isinstance(found.step, int) and _tables(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {folder}: {_ABOUT} is incomplete ({error!r})") from error
    if not sound:
        raise CheckpointError(f"checkpoint {folder}: {_ABOUT} holds a value of another type than expected")
    for name, size in files.items():
        _whole(folder / name, size)
    return found


def latest(folder: Path) -> Path:
    """The newest checkpoint's folder of a training's folder; a checkpoint's own folder is itself."""
    if (folder / "latest.json").is_file() and not (folder / _ABOUT).exists():
        name = _json(folder / "latest.json").get("checkpoint")
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(
                f"{folder / 'latest.json'}: names no checkpoint; name one of checkpoints/ itself"
            )
        return folder / "checkpoints" / name
    if folder.is_file():
        raise CheckpointError(
            f"checkpoint {folder}: is a file, expected a folder; turn an official file into one by marotte import"
        )
    if not (folder / _ABOUT).is_file():
        raise CheckpointError(
            f"checkpoint {folder}: there is no {_ABOUT} in it; expected the folder of a checkpoint or of a training"
        )
    return folder


def _tables(found: Checkpoint) -> bool:
    tables = (found.arguments, found.recipe, found.data, found.facts, *found.arguments.values())
    return all(isinstance(table, dict) for table in tables)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: is truncated or no JSON ({error}); take an older checkpoint"
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: holds no JSON object; take an older checkpoint")
    return found


def _whole(path: Path, size: int) -> None:
    try:
        got = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    # safetensors: eight bytes of the header's length, which may look like anything, then the header itself
    if path.suffix == ".safetensors" and start[8:] != b"{" and start.startswith((b"PK", b"\x80")):
        raise CheckpointError(
            f"{path}: is a pickle, which is never opened here; turn the original file into a checkpoint "
            "by marotte import"
        )
    if got != size:
        fault = "is truncated" if got < size else "was changed"
        raise CheckpointError(f"{path}: {fault}: {got} bytes, expected {size}; take an older checkpoint")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error})") from error


def _fit(weights: Mapping[str, Tensor], module: nn.Module, what: str) -> None:
    own = module.state_dict()
    for key, expected in own.items():
        if key in weights and weights[key].shape != expected.shape:
            raise CheckpointError(
                f"{what}: {key} is {tuple(weights[key].shape)}, expected {tuple(expected.shape)}: "
                "it was built with other widths; use the checkpoint's own arguments"
            )
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        raise CheckpointError(f"{what}: {_some('missing', missing)}{_some(' not expected', extra)}".rstrip())
    module.load_state_dict(dict(weights))


def _some(title: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{title}: {', '.join(names[:3])}{more};"


def damaged(found: Checkpoint, error: Exception) -> CheckpointError:
    """What to raise where a checkpoint's training state does not say what it should."""
    return CheckpointError(
        f"checkpoint {found.folder}: {_STATE} is incomplete ({error!r}); take an older one"
    )


def other_arguments(
    found: Checkpoint, network: str, given: Mapping[str, Any], asked: Mapping[str, Any]
) -> CheckpointError:
    """What to raise where a network was built otherwise than is asked for now."""
    names = [name for name in dict.fromkeys((*given, *asked)) if given.get(name) != asked.get(name)]
    pairs = ", ".join(f"{name} {given.get(name)!r}, expected {asked.get(name)!r}" for name in names[:3])
    return CheckpointError(
        f"checkpoint {found.folder}: network {network!r} was built with {pairs}; take the recipe it was made with"
    )


# --- writing ---------------------------------------------------------------------------------------


def write(
    folder: Path,
    about: Checkpoint,
    weights: Mapping[str, Mapping[str, Tensor]],
    training: Training | None = None,
) -> None:
    """Write a checkpoint's folder whole, or not at all: what was there before stays until the new one is complete.

    about: its `folder` is ignored. weights: state dicts by network, averages under the name with `_ema`.
    Raises StorageError when it cannot be written (a full disk); nothing half-written is left then.
    """
    tensors = {f"{network}/{key}": tensor for network, own in weights.items() for key, tensor in own.items()}
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _save(tensors, partial / _WEIGHTS)
        if training is not None:
            _save(training.tensors, partial / _TENSORS)
            _dump(dict(training.state), partial / _STATE)
        _dump(_described(about, partial), partial / _ABOUT)
        _replace(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"checkpoint {folder}: cannot be written ({reason}); free some space") from error


def point(out: Path, folder: Path) -> None:
    """Let `latest.json` of a training's folder name this checkpoint. Raises StorageError."""
    write_text(out / "latest.json", json.dumps({"checkpoint": folder.name}) + "\n")


def as_json(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table as it comes back from JSON: tuples as lists. Raises TypeError for what JSON cannot hold."""
    found: dict[str, Any] = json.loads(json.dumps(dict(table), allow_nan=False))
    return found


def write_text(path: Path, text: str) -> None:
    """A small file, whole or not at all. Raises StorageError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        _settle(partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written ({error.strerror}); free some space") from error


def _described(about: Checkpoint, folder: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "system": about.system,
        "arguments": {name: dict(arguments) for name, arguments in about.arguments.items()},
        "recipe": dict(about.recipe),
        "step": about.step,
        "data": dict(about.data),
        "facts": dict(about.facts),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # clones, because safetensors refuses two names of one memory
    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    save_file(own, path)
    _settle(path)


def _dump(table: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(table, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _settle(path)


def _settle(path: Path) -> None:
    """On the disk, not only in its cache: a full one may say so only now."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _replace(partial: Path, folder: Path) -> None:
    older = folder.with_name(f".{folder.name}.older")
    shutil.rmtree(older, ignore_errors=True)
    if folder.exists():
        folder.rename(older)
    partial.rename(folder)
    shutil.rmtree(older, ignore_errors=True)
