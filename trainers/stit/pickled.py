"""NVIDIA's network pickles and STIT's tuned models, read without running what they hold.

Every module in such a file is a call of one function of NVIDIA's with a dictionary: the text of the program that
defined the class, the class's name, and the attributes. The official reader executes that text. Here the call makes a
passive `Module`, the text is never looked at, and of all else a file may name only what makes tensors, numbers,
dictionaries and sets is known; anything more is refused by name. Nothing that a file names is ever imported.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from trainers.containers import check_file, load
from trainers.errors import CheckpointError
from trainers.layouts.pickles import (
    CALLS,
    DAMAGE,
    STEPS,
    Name,
    Refused,
    key_of,
    known_name,
    marked,
    plain,
    popped_name,
    run,
)

MOST_BYTES: Final = 4 << 30
MODULE: Final = "_reconstruct_persistent_obj"
"""The function that makes every module of such a file."""
_MODULE: Final = Name("torch_utils.persistence", MODULE)
_EASY_DICT: Final = Name("dnnlib.util", "EasyDict")
_SETS: Final = frozenset({Name("__builtin__", "set"), Name("builtins", "set")})
_TENSOR: Final = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER: Final = Name("torch._utils", "_rebuild_parameter")
_BYTES: Final = Name("torch.storage", "_load_from_bytes")
_STORAGES: Final = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_MOST_DIMENSIONS: Final = 8
_FEW, _SHOWN = 8, 40
_MOST_MODULES: Final = 1 << 12
_MOST_TENSORS: Final = 1 << 16
"""The published generator has some 100 modules, and 200 tensors."""
_MOST_NUMBER: Final = 1e9
_MOST_QUADS: Final = 1 << 24
"""Of the numbers of all quads: some million frames."""


@dataclass(frozen=True)
class Module:
    """A module of a file: its class by name, and its attributes as they stand there."""

    kind: str
    state: Mapping[str, Any]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers of this one and of all below it, under dotted names. Raises Refused."""
        pending, seen, given = [("", self)], 0, 0
        while pending:
            before, module = pending.pop()
            # A file can refer to the same ones again and again, or within themselves.
            seen += 1
            given += len(_table(module.state, "_parameters")) + len(_table(module.state, "_buffers"))
            if seen > _MOST_MODULES or given > _MOST_TENSORS:
                raise Refused(f"more than {_MOST_MODULES} modules, or {_MOST_TENSORS} tensors, within one")
            for group in ("_parameters", "_buffers"):
                for name, value in _table(module.state, group).items():
                    if isinstance(value, Tensor):
                        yield f"{before}{name}", value
                    elif value is not None:
                        raise Refused(f"{before}{name}, which is no tensor")
            children = []
            for name, child in _table(module.state, "_modules").items():
                if isinstance(child, Module):
                    children.append((f"{before}{name}.", child))
                elif child is not None:
                    raise Refused(f"{before}{name}, which is no module")
            pending.extend(reversed(children))

    def child(self, path: str) -> Module | None:
        """The module at a dotted path."""
        here: Any = self
        for name in path.split("."):
            here = _table(here.state, "_modules").get(name) if isinstance(here, Module) else None
        return here if isinstance(here, Module) else None

    def number(self, name: str) -> float | None:
        """An attribute that is a number, finite and of a sane size; None stays it. Raises Refused for any other."""
        value = self.state.get(name)
        if value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Refused(f"the attribute {name}, which is {type(value).__name__} and no number")
        if not abs(value) <= _MOST_NUMBER or not math.isfinite(value):
            raise Refused(f"the attribute {name}, which is not finite or beyond {_MOST_NUMBER:g}")
        return value


def _table(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = state.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Refused(f"{name}, which is no table of names")
    return value


def read_network(path: Path, entry: str) -> Module:
    """One network of a class-embedding pickle, such as "G_ema" of ffhq.pkl.

    Raises CheckpointError for a file that is damaged, or holds what no such file needs.
    """
    with _told(path):
        stored = run(_whole(path), _steps())
    return _entry(path, stored, entry)


@dataclass(frozen=True)
class TunedFile:
    """What STIT writes after pivotal tuning: the generator, pivots (frames, rows, w_dim), quads (frames, 4, 2) in
    pixels of the frames, float64."""

    generator: Module
    pivots: Tensor
    quads: np.ndarray[Any, np.dtype[np.float64]]


def read_tuned(path: Path) -> TunedFile:
    """`checkpoints/model_<run>.pt`: a zip file of torch around the same kind of pickle. Raises CheckpointError."""
    with _told(path), zipfile.ZipFile(path) as archive:
        members = _members(archive, path)
        content = sum(map(len, members.values()))
        root = next((name[: -len("data.pkl")] for name in members if name.endswith("data.pkl")), None)
        if root is None or members.get(f"{root}byteorder", b"little") != b"little":
            raise ValueError("it has no data.pkl, or was written on another kind of machine")
        storages: dict[str, Tensor] = {}

        def persistent(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
            stack.append(_persistent(stack.pop(), members, root, storages))

        stored = run(members[f"{root}data.pkl"], _steps() | {"BINPERSID": persistent}, content)
        generator = _entry(path, stored, "generator")
        pivots, quads = stored.get("pivots"), plain(stored.get("quads"), _MOST_QUADS)
        if not isinstance(pivots, Tensor) or pivots.ndim != 3 or not isinstance(quads, (list, tuple)):
            raise ValueError("its pivots are no tensor of three axes, or its quads are no list")
        corners = np.asarray(quads, np.float64).reshape(-1, 4, 2)
        if not np.isfinite(corners).all() or not torch.isfinite(pivots).all():
            raise ValueError("its pivots or quads are not finite")
        return TunedFile(generator, pivots, corners)


class _Told:
    """Faults of a file as errors with its name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        check_file(self.path)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Refused):
            raise CheckpointError(
                f"{self.path}: holds {error}, expected networks, tensors and plain values; nothing of it was run"
            ) from error
        if isinstance(error, OSError):
            raise CheckpointError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        if isinstance(error, (*DAMAGE, RuntimeError, EOFError, zipfile.BadZipFile, UnpicklingError)):
            raise CheckpointError(f"{self.path}: damaged, cut short, or no such file ({error})") from error


def _told(path: Path) -> _Told:
    return _Told(path)


def _whole(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise Refused(f"more than {MOST_BYTES >> 30} GiB")
    return path.read_bytes()


def _entry(path: Path, stored: Any, entry: str) -> Module:
    if not isinstance(stored, dict) or not isinstance(found := stored.get(entry), Module):
        named = type(stored).__name__
        if isinstance(stored, dict):
            some = [str(name)[:_SHOWN] for name in list(stored)[:_FEW]]
            named = ", ".join(name if name.isprintable() else repr(name) for name in some) or "nothing"
            named += " ..." if len(stored) > _FEW else ""
        raise CheckpointError(f"{path}: holds no network {entry!r}, only {named}")
    return found


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Every file of the archive. torch stores them as they are, so their sizes are that of the file."""
    infos = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise ValueError("its parts are compressed, as torch never writes them")
    if sum(info.file_size for info in infos) > min(path.stat().st_size, MOST_BYTES):
        raise ValueError("its parts are larger than the file")
    return {info.filename: archive.read(info) for info in infos}


# --- opcodes ---------------------------------------------------------------------------------------


def _steps() -> dict[str, Any]:
    return {
        "GLOBAL": _global,
        "STACK_GLOBAL": _stack_global,
        "REDUCE": _reduce,
        "NEWOBJ": _new,
        "BUILD": _build,
        "EMPTY_SET": lambda stack, memo, argument: stack.append(set()),
        "ADDITEMS": _add_items,
    }


def _known(name: Name) -> Name:
    if name in (_MODULE, _EASY_DICT, _TENSOR, _PARAMETER, _BYTES) or name in _SETS:
        return name
    if name.module == "torch" and name.name in _STORAGES:
        return name
    return known_name(name)


def _global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    stack.append(_known(Name(module, name)))


def _stack_global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(_known(popped_name(stack)))


def _reduce(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    arguments, what = stack.pop(), stack.pop()
    if not isinstance(what, Name) or not isinstance(arguments, tuple):
        raise Refused("a call")
    if what == _MODULE:
        stack.append(_module(*arguments))
    elif what == _TENSOR:
        stack.append(_tensor(*arguments[:4]))
    elif what == _PARAMETER:
        stack.append(_parameter(arguments[0]))
    elif what == _BYTES:
        stack.append(_inner(*arguments))
    elif what in _SETS:
        stack.append({key_of(member) for one in arguments for member in one})
    elif what == _EASY_DICT:
        stack.append(CALLS["OrderedDict"](arguments))
    elif what.name in CALLS and what.module != "torch":
        stack.append(CALLS[what.name](arguments))
    else:
        raise Refused(f"a call of {what}")


def _new(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    arguments, what = stack.pop(), stack.pop()
    if what != _EASY_DICT or arguments != ():
        raise Refused(f"an object of {what if isinstance(what, Name) else type(what).__name__}")
    stack.append({})


def _build(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    if isinstance(stack[-2], dict):  # attributes of an OrderedDict, which hold no weights
        stack.pop()
        return
    STEPS["BUILD"](stack, memo, argument)


def _add_items(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    values = marked(stack)
    if not isinstance(stack[-1], set):
        raise Refused("members of something that is no set")
    stack[-1].update(key_of(member) for member in values)


# --- modules and tensors ---------------------------------------------------------------------------


def _module(meta: Any) -> Module:
    """A passive node. `module_src`, the program's text, is dropped unread."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise Refused("an object of NVIDIA's that is no class")
    kind, state = meta.get("class_name"), meta.get("state")
    if not isinstance(kind, str) or not isinstance(state, dict):
        raise Refused("a class of NVIDIA's without a name or without attributes")
    return Module(kind, state)


def _inner(data: Any) -> Tensor:
    """A storage that was written as a file of torch of its own: all of its values, flat."""
    if not isinstance(data, bytes) or data.startswith(
        b"PK"
    ):  # archives may be packed; no such file holds one
        raise Refused("a storage that is no plain file of torch")
    try:
        stored = load(io.BytesIO(data))
    except (UnpicklingError, MemoryError):
        raise
    except Exception as error:  # whatever torch's reader comes upon in a damaged file
        raise ValueError(f"a storage is damaged: {error}") from error
    if not isinstance(stored, torch.storage.TypedStorage):
        raise Refused(f"a storage that is {type(stored).__name__}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have nobody use such storages
        values = torch.empty(0, dtype=stored.dtype)
        values.set_(cast(Any, stored).untyped())
        return values


def _persistent(stated: Any, members: Mapping[str, bytes], root: str, storages: dict[str, Tensor]) -> Tensor:
    """A storage that lies beside the pickle, in the archive: all of its values, flat."""
    if not isinstance(stated, tuple) or len(stated) != 5 or stated[0] != "storage":
        raise Refused("a reference to something that is no storage")
    _, kind, key, _, count = stated
    if not isinstance(kind, Name) or kind.name not in _STORAGES:
        raise Refused(f"a storage of {kind if isinstance(kind, Name) else type(kind).__name__}")
    if not isinstance(key, str):
        raise Refused("a storage whose number is no text")
    if key not in storages:
        storages[key] = torch.frombuffer(bytearray(members[f"{root}data/{key}"]), dtype=_STORAGES[kind.name])
    flat = storages[key]
    if len(flat) != count:
        raise ValueError(f"storage {key} has {len(flat)} values, not {count}")
    return flat


def _tensor(flat: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of a storage, checked against its end and copied, so that nothing is larger than the file."""
    whole = [*size, *stride, offset]
    if not isinstance(flat, Tensor) or not all(isinstance(one, int) and one >= 0 for one in whole):
        raise Refused("a tensor of unknown make")
    if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
        raise ValueError("a tensor's size and strides do not fit")
    entries = int(np.prod([int(one) for one in size], dtype=object)) if size else 1
    last = offset + sum((one - 1) * step for one, step in zip(size, stride)) if entries else 0
    if entries > flat.numel() or last >= max(flat.numel(), 1):
        raise ValueError("a tensor reaches beyond the end of its values")
    return flat.as_strided(tuple(size), tuple(stride), offset).clone()


def _parameter(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise Refused("a parameter that is no tensor")
    return value
