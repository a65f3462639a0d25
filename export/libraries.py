"""The libraries that a command of export needs, and what is said where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = frozenset({"torch", "safetensors", "onnx", "onnxscript"})


@contextmanager
def libraries(command: str) -> Iterator[None]:
    """A library that is not installed is said with the fix."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in LIBRARIES:
            raise
        from engine.errors import ConfigError

        raise ConfigError(
            f"{command}: {error.name} is not installed; run: python -m pip install 'marotte[export]'"
        ) from error
