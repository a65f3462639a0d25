"""TensorRT's Python bindings, of whichever flavour, behind one type.

TensorRT and TensorRT for RTX have the same calls under two names. The types are those of TensorRT 11's bindings, and
the package is held against those of 10, too (tests/stubs/).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from engine.errors import PlanError
from engine.plans.request import Flavour

if TYPE_CHECKING:
    import tensorrt as trt


class Api(Protocol):
    """What is used of the module."""

    @property
    def __version__(self) -> str: ...
    @property
    def Builder(self) -> type[trt.Builder]: ...  # noqa: N802 - TensorRT's names
    @property
    def BuilderFlag(self) -> type[trt.BuilderFlag]: ...  # noqa: N802
    @property
    def ILogger(self) -> type[trt.ILogger]: ...  # noqa: N802
    @property
    def IProgressMonitor(self) -> type[trt.IProgressMonitor]: ...  # noqa: N802
    @property
    def MemoryPoolType(self) -> type[trt.MemoryPoolType]: ...  # noqa: N802
    @property
    def NetworkDefinitionCreationFlag(self) -> type[trt.NetworkDefinitionCreationFlag]: ...  # noqa: N802
    @property
    def OnnxParser(self) -> type[trt.OnnxParser]: ...  # noqa: N802
    @property
    def OnnxParserRefitter(self) -> type[trt.OnnxParserRefitter]: ...  # noqa: N802
    @property
    def Refitter(self) -> type[trt.Refitter]: ...  # noqa: N802
    @property
    def Runtime(self) -> type[trt.Runtime]: ...  # noqa: N802
    @property
    def SerializationFlag(self) -> type[trt.SerializationFlag]: ...  # noqa: N802


if TYPE_CHECKING:
    _is_there: Api = trt  # the stub has all of it, with these types

_MODULES: Final = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_NAMES: Final = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}


@dataclass(frozen=True, slots=True, eq=False)
class Toolkit:
    """One flavour's bindings, loaded. version: as it says itself; numbers: its first three, such as (11, 4, 0)."""

    api: Api
    flavour: Flavour
    version: str
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """For messages, such as "TensorRT 11.4.0.106"."""
        return f"{_NAMES[self.flavour]} {self.version}"


@cache
def load(flavour: Flavour) -> Toolkit:
    """The bindings of a flavour. Raises PlanError where they are not installed, broken or of an unknown version."""
    api = _imported(flavour)
    version = str(api.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    toolkit = Toolkit(api, flavour, version, numbers)
    known = (10, 11) if flavour == "tensorrt" else (1,)
    if not numbers or numbers[0] not in known:
        shown = " or ".join(map(str, known))
        raise PlanError(f"{toolkit.name} is installed, expected version {shown}; {_fix(flavour)}")
    return toolkit


def _imported(flavour: Flavour) -> Api:
    """The bindings' own package stands in where the one with the short name, which only passes it on, is not there."""
    for name in _MODULES[flavour]:
        try:
            return cast(Api, importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise PlanError(f"{_NAMES[flavour]} is broken ({error}); {_fix(flavour)}") from error
        except (ImportError, OSError) as error:  # a library of it that is not there or fits nothing
            raise PlanError(f"{_NAMES[flavour]} is broken ({_line(error)}); {_fix(flavour)}") from error
    raise PlanError(f"{_NAMES[flavour]} is not installed; {_fix(flavour)}")


def _fix(flavour: Flavour) -> str:
    command = f"run: python -m pip install 'marotte[{flavour}]'"
    without_gpu = "; without a GPU take --flavour rtx, which compiles on a CPU"
    return command + (without_gpu if flavour == "tensorrt" else "")


@dataclass(slots=True)
class Lines:
    """What TensorRT says while something is done, a line each, repeated ones once."""

    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def said(self, otherwise: str) -> str:
        """Its errors in one line, or `otherwise` where it said none."""
        return "; ".join(self.errors) or otherwise


class Log:
    """The one logger of a process: TensorRT keeps the first that it is given, and uses it to the end."""

    def __init__(self, api: Api) -> None:
        self._lock = threading.Lock()
        self._heard: Lines | None = None
        self.logger = _logger(api, self._hear)

    @contextmanager
    def listening(self) -> Iterator[Lines]:
        """Collects what is said meanwhile, in whichever thread."""
        lines = Lines()
        with self._lock:
            self._heard = lines
        try:
            yield lines
        finally:
            with self._lock:
                self._heard = None

    def _hear(self, is_error: bool, text: str) -> None:
        line = " ".join(text.split())[:500]
        with self._lock:
            if self._heard is None or not line:
                return
            lines = self._heard.errors if is_error else self._heard.warnings
            if line not in lines:
                lines.append(line)


@cache
def log_of(toolkit: Toolkit) -> Log:
    """The logger that builders, parsers and refitters of this toolkit are given."""
    return Log(toolkit.api)


def _logger(api: Api, hear: Any) -> trt.ILogger:
    base: Any = api.ILogger
    errors, warning = (base.ERROR, base.INTERNAL_ERROR), base.WARNING

    class Listener(base):  # type: ignore[misc]  # the class is known when the module is
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in errors or severity == warning:
                hear(severity in errors, msg)

    return cast("trt.ILogger", Listener())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
