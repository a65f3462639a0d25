"""Data out of a pickle without unpickling: a reader of its opcodes that knows data and can call nothing.

It understands plain values (dict, list, tuple, text, bytes, numbers, None) and NumPy arrays and scalars of numbers, as
Python 2 and 3 write them in protocols 0 to 5. Whatever else a pickle may name or call is refused by name, and nothing
that it names is ever imported.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.errors import DataError

MOST_BYTES = 1 << 30
MOST_VALUES = MOST_BYTES
"""A file of that size holds no more, for each takes a byte at least, unless it refers to its parts again and again."""

_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "INT", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_SILENT = {"PROTO", "FRAME"}
_MAKING = {"REDUCE", "BUILD"}
_MOST_COPIES, _LEAST_ROOM = 4, 1 << 20
"""How often a file may have its own content copied: once as bytes, as numbers, as an array, and one to spare."""
_MARK = object()

Step = Callable[[list[Any], dict[int, Any], Any], None]
"""What an opcode does: to the stack and the memory, with its argument."""


@dataclass(frozen=True)
class Name:
    """Something a pickle refers to by name: only compared, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_CORE = {"numpy.core.multiarray", "numpy._core.multiarray"}
_BUFFER = {"numpy.core.numeric", "numpy._core.numeric"}
_DTYPES = {
    f"{kind}{width}" for kind, widths in (("f", "248"), ("i", "1248"), ("u", "1248")) for width in widths
}
_DTYPES.add("b1")


class _Dtype:
    """A dtype in the making: only numbers."""

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or code not in _DTYPES:
            raise Refused(f"an array of type {_shown(code)}")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "=") or any(part not in (None, -1, 0) for part in state[2:8]):
            raise Refused("a structured array")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array in the making."""

    def __init__(self) -> None:
        self.array: np.ndarray[Any, Any] | None = None

    def build(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Dtype)):
            raise Refused("an array of unknown make")
        _, shape, dtype, by_columns, data = state
        self.array = _numbers(data, dtype, shape, bool(by_columns))


class Refused(Exception):  # noqa: N818 - carries what stands in the pickle
    """What a pickle holds and a reader does not know."""


def read_pickle(path: Path) -> Any:
    """The plain data in a pickle; arrays as NumPy arrays, scalars as Python numbers, Python 2's text as str (latin-1).

    Raises DataError when the file cannot be read, is damaged or too large, or holds anything but data.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: has more than {MOST_BYTES >> 20} MiB; expected a table")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    try:
        return plain(run(data))
    except Refused as refused:
        raise DataError(
            f"{path}: holds {refused}, expected plain data and arrays of numbers; nothing of it was run: "
            "convert the file where you trust it"
        ) from refused
    except DAMAGE as error:
        raise DataError(f"{path}: is a damaged pickle, or none ({error}); get the file again") from error


DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What `run` raises for a pickle that is damaged, beside Refused for one that holds more than is known."""


def run(data: bytes, steps: Mapping[str, Step] | None = None, content: int | None = None) -> Any:
    """What a pickle's opcodes build. steps: how to take further opcodes, or the same ones in another way. content: how
    many bytes it has to make something of, those of the pickle unless there are more beside it.

    Arrays are still in the making: `plain` takes them out. Raises Refused, and one of DAMAGE; Refused also where a part
    of it is copied again and again, which would fill any memory out of a small file.
    """
    known = STEPS if steps is None else {**STEPS, **steps}
    room = _LEAST_ROOM + _MOST_COPIES * (len(data) if content is None else content)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "STOP":
            return stack.pop()
        elif name not in _SILENT:
            step = known.get(name)
            if step is None:
                raise Refused(f"the opcode {name}")
            step(stack, memo, argument)
            room -= _weight(stack[-1]) if name in _MAKING else 0
            if room < 0:
                raise Refused(
                    "more than the file has content for, as it copies the same parts again and again"
                )
    raise ValueError("it ends before its end")


def _weight(made: Any) -> int:
    """Bytes, or entries, each of which has a byte at least where it was written."""
    made = made.array if isinstance(made, _Array) else made
    size = getattr(made, "nbytes", None)  # of arrays, and of what a caller's steps make in their place
    if isinstance(size, int):
        return size
    return len(made) if isinstance(made, (dict, set, bytes)) else 0


def marked(stack: list[Any]) -> list[Any]:
    """What lies above the topmost mark; both are taken away."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is _MARK:
            taken = stack[place + 1 :]
            del stack[place:]
            return taken
    raise ValueError("it has no mark")


def _tuple(count: int) -> Step:
    def make(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
        parts = tuple(stack[-count:])
        del stack[-count:]
        stack.append(parts)

    return make


def _set(target: Any, flat: list[Any]) -> None:
    if not isinstance(target, dict) or len(flat) % 2:
        raise Refused("entries of something that is no dictionary")
    for key, value in zip(flat[::2], flat[1::2]):
        target[key_of(key)] = value


def key_of(value: Any) -> Any:
    """A value that may be a key or a member: a single one, or a tuple of such. Python takes as long to hash a tuple of
    tuples as it is large when every part that is there twice is counted twice. Raises Refused."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(part is None or isinstance(part, (str, bytes, int, float)) for part in parts):
        raise Refused(f"a key that is {type(value).__name__}")
    return value


def _append(target: Any, values: list[Any]) -> None:
    if not isinstance(target, list):
        raise Refused("items of something that is no list")
    target.extend(values)


def _set_one(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    value, key = stack.pop(), stack.pop()
    _set(stack[-1], [key, value])


def _set_all(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    flat = marked(stack)
    _set(stack[-1], flat)


def _append_one(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    value = stack.pop()
    _append(stack[-1], [value])


def _append_all(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    values = marked(stack)
    _append(stack[-1], values)


def _dict(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    made: dict[Any, Any] = {}
    _set(made, marked(stack))
    stack.append(made)


def _pop(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.pop()


def _pop_mark(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    marked(stack)


def _put(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    memo[len(memo) if argument is None else int(argument)] = stack[-1]


def _get(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(memo[int(argument)])


def _global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    stack.append(known_name(Name(module, name)))


def _stack_global(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    stack.append(known_name(popped_name(stack)))


def popped_name(stack: list[Any]) -> Name:
    """The name on top of the stack, over its module. Raises Refused."""
    name, module = stack.pop(), stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise Refused("a reference to something without a name")
    return Name(module, name)


def known_name(name: Name) -> Name:
    """A name of plain data, itself. Raises Refused."""
    if name.module in _CORE and name.name in ("_reconstruct", "scalar"):
        return name
    if name.module in _BUFFER and name.name == "_frombuffer":
        return name
    if name in _PLAIN_NAMES:
        return name
    raise Refused(f"a reference to {name}")


_PLAIN_NAMES = {
    Name("numpy", "ndarray"),
    Name("numpy", "dtype"),
    Name("_codecs", "encode"),
    Name("collections", "OrderedDict"),
}


def _reduce(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    arguments, what = stack.pop(), stack.pop()
    if not isinstance(what, Name) or not isinstance(arguments, tuple):
        raise Refused("a call")
    stack.append(CALLS[what.name](arguments))


def _dtype(arguments: tuple[Any, ...]) -> _Dtype:
    return _Dtype(arguments[0])


def _scalar(arguments: tuple[Any, ...]) -> Any:
    dtype, data = arguments
    return _numbers(data, dtype, (), False)[()].item()


def _from_buffer(arguments: tuple[Any, ...]) -> _Array:
    data, dtype, shape, order = arguments
    made = _Array()
    made.array = _numbers(data, dtype, shape, order == "F")
    return made


def _encode(arguments: tuple[Any, ...]) -> bytes:
    """How protocol 2 writes bytes: text, in latin-1."""
    text, codec = arguments
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refused(f"text in {_shown(codec)}")
    return text.encode("latin-1")


def _shown(value: Any) -> str:
    """Short, whatever a file makes of it."""
    return repr(value[:40]) if isinstance(value, (str, bytes)) else type(value).__name__


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Of one list of pairs, which are looked at first: parts of a part would be as many as their product."""
    made: dict[Any, Any] = {}
    if len(arguments) > 1:
        raise Refused("entries of something that is no dictionary")
    for pairs in arguments:
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            raise Refused("entries of something that is no dictionary")
        _set(made, [part for pair in pairs for part in pair])
    return made


CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "_reconstruct": lambda arguments: _Array(),
    "dtype": _dtype,
    "scalar": _scalar,
    "_frombuffer": _from_buffer,
    "encode": _encode,
    "OrderedDict": _ordered,
}


def _build(stack: list[Any], memo: dict[int, Any], argument: Any) -> None:
    state = stack.pop()
    if not isinstance(stack[-1], (_Array, _Dtype)):
        raise Refused("an object with a state")
    stack[-1].build(state)


def _numbers(data: Any, dtype: Any, shape: Any, by_columns: bool) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise Refused("an array of unknown make")
    raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)
    flat = np.frombuffer(raw, dtype.dtype)
    return flat.reshape(shape, order="F" if by_columns else "C").astype(dtype.dtype.newbyteorder("="))


def plain(value: Any, most: int = MOST_VALUES) -> Any:
    """Without what was only needed on the way. What is there once and referred to twice is so in the copy, too.

    most: how many values there may be when those that are referred to twice are counted twice, as they are by whoever
    goes through them: a pickle of a few hundred bytes can refer to its parts in such a way that nobody comes to an
    end. Raises Refused beyond it, ValueError for a value that contains itself.
    """
    found, _ = _unfolded(value, {}, most)
    return found


_Known = dict[int, tuple[Any, int]]
"""By identity, which is that of values that the caller holds: the copy and how many values it has. Within a value that
is being copied, 0."""


def _unfolded(value: Any, known: _Known, most: int) -> tuple[Any, int]:
    if isinstance(value, (Name, _Dtype)):
        raise Refused("a name in place of a value")
    if not isinstance(value, (dict, list, tuple, _Array)):
        return value, 1
    if id(value) not in known:
        known[id(value)] = None, 0
        known[id(value)] = _copied(value, known, most)
    found, count = known[id(value)]
    if not count:
        raise ValueError("a value contains itself")
    if count > most:
        raise Refused(f"more than {most} values, for it refers to the same ones again and again")
    return found, count


def _copied(value: Any, known: _Known, most: int) -> tuple[Any, int]:
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array has no content")
        return value.array, 1 + value.array.size
    entries = value.values() if isinstance(value, dict) else value
    made = [_unfolded(one, known, most) for one in entries]
    parts, count = [one for one, _ in made], 1 + sum(one for _, one in made)
    if isinstance(value, dict):
        return dict(zip(value, parts)), count
    return (parts if isinstance(value, list) else tuple(parts)), count


STEPS: dict[str, Step] = {
    "MARK": lambda stack, memo, argument: stack.append(_MARK),
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda stack, memo, argument: stack.append(stack[-1]),
    "TUPLE": lambda stack, memo, argument: stack.append(tuple(marked(stack))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "LIST": lambda stack, memo, argument: stack.append(marked(stack)),
    "DICT": _dict,
    "SETITEM": _set_one,
    "SETITEMS": _set_all,
    "APPEND": _append_one,
    "APPENDS": _append_all,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
