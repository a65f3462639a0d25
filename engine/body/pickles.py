"""The arrays of a body model's pickle, without unpickling: opcodes are followed, nothing that is named is imported.

SMPL's files were written by Python 2: dictionaries of NumPy arrays, of sparse matrices of SciPy, and of arrays that
chumpy wraps. What a pickle says of the last two is kept as a passive `Node` (class by name, attributes as they stand)
and turned into an array by `array`; of calls, only those that make arrays, numbers, text and such nodes are known.
Anything else is refused by name; so is a file that has the same part copied again and again, which would fill any
memory.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError

MOST_BYTES: Final = 1 << 30
"""Largest file that is read: SMPL with 300 shapes has a quarter of it."""
MOST_NUMBERS: Final = 1 << 25
"""Most numbers of one array, sparse ones and lists written out: twice those of the largest field of such models."""
_MOST_WRAPPED: Final = 16
"""How many chumpy nodes may stand around one array."""
_MOST_NESTED: Final = 4
"""How many lists may stand around one number."""
_MOST_COPIES, _LEAST_ROOM = 4, 1 << 20
"""How often a file may have its own content copied: once as bytes, as numbers, as an array, and one to spare."""
_MOST_STEPS: Final = 1 << 24
"""Most opcodes: each may make an object of many times its own size. Fields that are written as lists stay below it."""
_ENTRY: Final = 8
"""Bytes of an entry of a list."""
_MAKING: Final = {"REDUCE", "BUILD"}

Array = NDArray[Any]


class Refused(Exception):  # noqa: N818 - carries what stands in the pickle
    """What a file holds and no body model needs."""


@dataclass(frozen=True, slots=True)
class Name:
    """Something a pickle refers to: only compared, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Node:
    """An object of SciPy's or chumpy's, as it was written."""

    kind: Name
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Numbers:
    """A NumPy array or dtype in the making."""

    dtype: np.dtype[Any] | None = None
    array: Array | None = None


_MARK = object()
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
_OBJECTS = ("copy_reg", "copyreg")
_BUILTINS = ("__builtin__", "builtins")
_NODES = ("scipy.sparse", "chumpy")
_SPARSE = {"csc_matrix": "F", "csr_matrix": "C", "csc_array": "F", "csr_array": "C"}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "INT", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def read_fields(path: Path) -> dict[str, Any]:
    """The dictionary in a body model's pickle: values are numbers, text, arrays, or nodes that `array` takes.

    Raises ModelError when the file cannot be read, is damaged or too large, or holds anything else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(f"{path}: has more than {MOST_BYTES >> 20} MiB, expected a body model")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    try:
        found = _Machine(data).run()
    except Refused as refused:
        raise ModelError(
            f"{path}: holds {refused}, expected the arrays of a body model; nothing of it was run"
        ) from refused
    except _DAMAGE as error:
        raise ModelError(f"{path}: is a damaged pickle, or none ({error}); get the file again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: holds a {type(found).__name__}, expected a dictionary of arrays")
    return {key: value for key, value in found.items() if isinstance(key, str)}


def array(value: Any) -> Array:
    """A field as an array: as it is, a sparse matrix written out, or what chumpy wraps. Raises Refused, ValueError."""
    return _unwrapped(value, _MOST_WRAPPED)


def _unwrapped(value: Any, most: int) -> Array:
    """most: nodes that may stand around it."""
    for left in range(most, 0, -1):
        if not isinstance(value, Node):
            return _plain(value)
        if value.kind.name in _SPARSE and value.kind.module.startswith("scipy"):
            return _dense(value)
        if value.kind.name == "Ch":
            value = value.state["x"]
        elif value.kind.name in ("Select", "Reshape"):
            return _reordered(value, _unwrapped(value.state["a"], left - 1))
        else:
            raise Refused(f"an object of {value.kind} where an array belongs")
    raise Refused(f"more than {_MOST_WRAPPED} objects within each other")


def _plain(value: Any) -> Array:
    """Numbers without anything around them, as they all are that say how others are laid out."""
    if isinstance(value, _Numbers) and value.array is not None:
        return value.array
    if not isinstance(value, (list, tuple, int, float)):
        raise Refused(f"a {type(value).__name__.lstrip('_').lower()} where an array belongs")
    if _listed(value, {}, _MOST_NESTED) > MOST_NUMBERS:
        raise Refused(f"more than {MOST_NUMBERS} numbers, for it refers to the same ones again and again")
    made = np.asarray(value)
    if made.dtype.kind not in "fiub":
        raise Refused("a list of something other than numbers")
    return made


def _listed(value: Any, known: dict[int, int], nested: int) -> int:
    """How many numbers lists within each other have, those counted twice that are referred to twice. known: by the
    identity of lists, which the caller holds."""
    if isinstance(value, (int, float)):
        return 1
    if not isinstance(value, (list, tuple)) or not nested:
        raise Refused("a list of something other than numbers")
    if id(value) not in known:
        known[id(value)] = sum(_listed(one, known, nested - 1) for one in value)
    return known[id(value)]


def _reordered(node: Node, inner: Array) -> Array:
    """chumpy's Select takes entries of the flattened array; it and Reshape give them another shape."""
    flat = inner.reshape(-1)
    if node.kind.name == "Select":
        chosen = _plain(node.state["idxs"]).reshape(-1)
        if chosen.dtype.kind not in "iu" or chosen.size > MOST_NUMBERS:
            raise Refused("a selection of unknown make")
        flat = flat[chosen]
    shape = node.state.get("preferred_shape" if node.kind.name == "Select" else "newshape")
    return flat if shape is None else flat.reshape(tuple(int(size) for size in _plain(shape).reshape(-1)))


def _dense(node: Node) -> Array:
    state = node.state
    shape = tuple(int(size) for size in state["_shape" if "_shape" in state else "shape"])
    if len(shape) != 2 or min(shape) < 0 or shape[0] * shape[1] > MOST_NUMBERS:
        raise Refused(f"a sparse matrix of shape {shape}")
    by_columns = _SPARSE[node.kind.name] == "F"
    starts, minor, values = (_plain(state[name]).reshape(-1) for name in ("indptr", "indices", "data"))
    if len(starts) != shape[1 if by_columns else 0] + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
        raise ValueError("a sparse matrix's columns do not fit")
    count = int(starts[-1])
    minor, values = minor[:count], values[:count]
    if len(minor) != count or len(values) != count or (count and minor.min() < 0):
        raise ValueError("a sparse matrix is cut short")
    major = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    made = np.zeros(shape, values.dtype)
    np.add.at(made, (minor, major) if by_columns else (major, minor), values)
    return made


class _Machine:
    """A pickle's stack and memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._room = _LEAST_ROOM + _MOST_COPIES * len(data)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self._stack.append(_MARK),
            "POP": lambda _: self._pop_one(),
            "POP_MARK": lambda _: self._drop(),
            "DUP": lambda _: self._stack.append(self._stack[-1]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "EMPTY_SET": lambda _: self._stack.append([]),
            "DICT": lambda _: self._stack.append(_entries({}, self._marked())),
            "LIST": lambda _: self._stack.append(self._marked()),
            "TUPLE": lambda _: self._stack.append(tuple(self._marked())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "SETITEM": lambda _: self._set([self._stack.pop(), self._stack.pop()][::-1]),
            "SETITEMS": lambda _: self._set(self._marked()),
            "APPEND": lambda _: self._extend([self._stack.pop()]),
            "APPENDS": lambda _: self._extend(self._marked()),
            "ADDITEMS": lambda _: self._extend(self._marked()),
            "GLOBAL": lambda argument: self._stack.append(_known(Name(*argument.split(" ", 1)))),
            "STACK_GLOBAL": lambda _: self._stack.append(_known(Name(*self._texts()))),
            "REDUCE": lambda _: self._reduce(),
            "NEWOBJ": lambda _: self._new(),
            "BUILD": lambda _: self._build(),
        }

    def run(self) -> Any:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(self._data)):
            name = opcode.name
            if step >= _MOST_STEPS:
                raise Refused(f"more than {_MOST_STEPS} parts")
            if name == "STOP":
                return self._stack.pop()
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                self._memo[len(self._memo) if argument is None else int(argument)] = self._stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self._stack.append(self._memo[int(argument or 0)])
            elif name in self._steps:
                self._steps[name](argument)
                if name in _MAKING:
                    self._take(_weight(self._stack[-1]))
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"the opcode {name}")
        raise ValueError("it ends before its end")

    def _take(self, amount: int) -> None:
        """amount: bytes."""
        self._room -= amount
        if self._room < 0:
            raise Refused("more than the file has content for, as it copies the same parts again and again")

    def _pop_one(self) -> None:
        self._stack.pop()

    def _drop(self) -> None:
        self._marked()

    def _marked(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                taken = self._stack[place + 1 :]
                del self._stack[place:]
                return taken
        raise ValueError("it has no mark")

    def _tuple(self, count: int) -> None:
        parts = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(parts)

    def _set(self, flat: list[Any]) -> None:
        _entries(self._stack[-1], flat)

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise Refused("items of something that is no list")
        self._stack[-1].extend(values)

    def _texts(self) -> tuple[str, str]:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("a reference to something without a name")
        return module, name

    def _reduce(self) -> None:
        arguments, what = self._stack.pop(), self._stack.pop()
        if not isinstance(what, Name) or not isinstance(arguments, tuple) or what.name not in _CALLS:
            raise Refused(f"a call of {what if isinstance(what, Name) else type(what).__name__}")
        self._take(len(arguments) + sum(len(one) for one in arguments if isinstance(one, (list, tuple))))
        self._stack.append(_CALLS[what.name](*arguments))

    def _new(self) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        if not _is_node(kind) or arguments != ():
            raise Refused(f"an object of {kind if isinstance(kind, Name) else type(kind).__name__}")
        self._stack.append(Node(kind))

    def _build(self) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if isinstance(built, Node):
            built.state = state if isinstance(state, dict) else {}
        elif isinstance(built, _Numbers):
            _filled(built, state)
        else:
            raise Refused("an object with a state")


def _weight(made: Any) -> int:
    if isinstance(made, _Numbers):
        return 0 if made.array is None else made.array.nbytes
    if isinstance(made, (dict, list)):
        return _ENTRY * len(made)
    return len(made) if isinstance(made, bytes) else 0


def _entries(target: Any, flat: list[Any]) -> Any:
    if not isinstance(target, dict) or len(flat) % 2:
        raise Refused("entries of something that is no dictionary")
    for key, value in zip(flat[::2], flat[1::2]):
        if not (key is None or isinstance(key, (str, bytes, int, float))):
            raise Refused(f"a key that is {type(key).__name__}")
        target[key] = value
    return target


def _is_node(name: Any) -> bool:
    return isinstance(name, Name) and any(
        name.module == package or name.module.startswith(f"{package}.") for package in _NODES
    )


def _known(name: Name) -> Name:
    calls = {
        **dict.fromkeys(_ARRAYS, ("_reconstruct", "scalar")),
        **dict.fromkeys(_BUFFERS, ("_frombuffer",)),
        **dict.fromkeys(_OBJECTS, ("_reconstructor",)),
        **dict.fromkeys(_BUILTINS, ("object", "set")),
        "numpy": ("ndarray", "dtype"),
        "_codecs": ("encode",),
        "collections": ("OrderedDict",),
    }
    if name.name in calls.get(name.module, ()) or (_is_node(name) and name.name not in _CALLS):
        return name
    raise Refused(f"a reference to {name}")


# --- calls -----------------------------------------------------------------------------------------


def _dtype(code: Any, *rest: Any) -> _Numbers:
    if not isinstance(code, str) or code[:1] not in tuple("fiub") or code[1:] not in tuple("1248"):
        raise Refused(f"an array of type {code[:20] if isinstance(code, str) else type(code).__name__}")
    return _Numbers(np.dtype(code))


def _filled(made: _Numbers, state: Any) -> None:
    if not isinstance(state, tuple):
        raise Refused("an array of unknown make")
    if made.dtype is not None:  # of a dtype: version, byte order, and what only structured ones have
        if state[1] not in ("<", ">", "|", "=") or any(part not in (None, -1, 0) for part in state[2:8]):
            raise Refused("a structured array")
        made.dtype = made.dtype.newbyteorder(state[1])
        return
    _, shape, dtype, by_columns, data = state
    made.array = _buffer(data, dtype, shape, "F" if by_columns else "C")


def _buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, _Numbers) or dtype.dtype is None or not isinstance(shape, tuple):
        raise Refused("an array of unknown make")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(raw, (bytes, bytearray)):
        raise Refused("an array without its numbers")
    flat = np.frombuffer(raw, dtype.dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C").astype(dtype.dtype.newbyteorder("="))


def _object(kind: Any, base: Any, state: Any) -> Node:
    if not _is_node(kind):
        raise Refused(f"an object of {kind if isinstance(kind, Name) else type(kind).__name__}")
    return Node(kind)


def _encoded(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refused("bytes in another codec than latin-1")
    return text.encode("latin-1")


_CALLS: Mapping[str, Callable[..., Any]] = {
    "_reconstruct": lambda *arguments: _Numbers(),
    "_reconstructor": _object,
    "_frombuffer": lambda data, dtype, shape, order: _Numbers(array=_buffer(data, dtype, shape, order)),
    "scalar": lambda dtype, data: _buffer(data, dtype, (), "C")[()].item(),
    "dtype": _dtype,
    "encode": _encoded,
    "set": lambda *members: [*members],
    "OrderedDict": lambda *pairs: _ordered(*pairs),
}


def _ordered(pairs: Any = ()) -> Any:
    if not isinstance(pairs, (list, tuple)) or not all(_is_pair(one) for one in pairs):
        raise Refused("entries of something that is no dictionary")
    return _entries({}, [part for pair in pairs for part in pair])


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2
