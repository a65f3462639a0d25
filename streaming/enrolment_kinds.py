"""Which systems a page can enrol a person for, what each takes, and whether a server is set up for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from engine.config import file_path, known
from engine.errors import ConfigError
from engine.media.limits import Limits

COMMAND: Final = (sys.executable, "-m", "marotte", "enrol")
"""What enrols, unless another command is given that takes the same words and tells its progress alike."""

MOST_BYTES: Final = 256 << 20
"""Of everything that is sent for one enrolment."""
LEAST_SECONDS: Final = 2.0
MOST_SECONDS: Final = 60.0
"""Of a clip."""

_LIBRARIES = ("torch", "safetensors", "onnx", "onnxscript")
_OURS = (
    "--weights", "--out", "--work", "--consent", "--title", "--check", "--progress-json", "--render", "--accept",
)  # fmt: skip
_ABOUT, _LATEST = "checkpoint.json", "latest.json"
_MOST_ABOUT = 4 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """title: as people call the system. networks: that its checkpoint is to hold. clips, photos: most of either; an
    enrolment is given one clip or some photos, never both. person: its bundles hold the pictures of whom they were
    tuned to, who is moved as a portrait is."""

    title: str
    networks: tuple[str, ...]
    clips: int = 1
    photos: int = 0
    person: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "stit": Kind("STIT", ("generator", "encoder")),
    "liquid_warping": Kind("Liquid Warping GAN", ("generator",), photos=8, person=True),
}
"""By the name that `marotte enrol` knows the system by."""


def checked_checkpoints(given: Mapping[str, Any]) -> dict[str, Path]:
    """Checkpoints by system, as absolute paths. Raises ConfigError, naming the fix, for a system that is not enrolled,
    and for what is not that system's checkpoint as far as its description tells."""
    return {known(system, KINDS, "enrol"): _checkpoint(system, given[system]) for system in given}


def checked_words(given: Mapping[str, Any], checkpoints: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """Further words of `marotte enrol` by system. Raises ConfigError for those that the server says itself."""
    for system, words in given.items():
        known(system, checkpoints or KINDS, "enrol_options")
        if system not in checkpoints:
            raise ConfigError(
                f"enrol_options {system}: name its checkpoint too, by --enrol {system}=CHECKPOINT"
            )
        for word in words:
            if word.partition("=")[0] in _OURS:
                raise ConfigError(
                    f"enrol_options {system}: {word} is said by the server itself; leave it out"
                )
    return {system: tuple(words) for system, words in given.items()}


def check_libraries(command: tuple[str, ...]) -> None:
    """Raises ConfigError where this Python has not what it would enrol with; another command is not known here."""
    missing = [name for name in _LIBRARIES if command == COMMAND and find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"enrol: {missing[0]} is not installed; run: python -m pip install 'marotte[train,export]'"
        )


def _checkpoint(system: str, given: Any) -> Path:
    path = file_path(f"enrol {system}", given).absolute()
    about = _about(system, path)
    if about.get("system") != system:
        raise ConfigError(
            f"enrol {system}: {path} is a checkpoint of {about.get('system')!r}; name one of {system}"
        )
    arguments = about.get("arguments")
    holds = arguments if isinstance(arguments, Mapping) else {}
    for network in KINDS[system].networks:
        if network not in holds:
            has = ", ".join(map(str, holds)) or "none"
            raise ConfigError(
                f"enrol {system}: {path} holds no {network}, it has {has}; import or train it first"
            )
    return path


def _about(system: str, folder: Path) -> Mapping[str, Any]:
    """What a checkpoint's folder says of itself; that of a training stands for its latest."""
    if not folder.is_dir():
        raise ConfigError(f"enrol {system}: {folder} is no folder; expected a checkpoint of {system}")
    latest = {} if (folder / _ABOUT).exists() else _read(system, folder / _LATEST)
    name = latest.get("checkpoint")
    if isinstance(name, str) and Path(name).name == name:
        folder = folder / "checkpoints" / name
    return _read(system, folder / _ABOUT)


def _read(system: str, path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST_ABOUT:
            raise ConfigError(f"enrol {system}: {path} is too large for a checkpoint's description")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"enrol {system}: {path.parent} is no checkpoint, there is no {path.name} in it; import or train one"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"enrol {system}: {path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"enrol {system}: {path} describes no checkpoint; import or train one")
    return found


def clip_limits() -> Limits:
    """What is read of a clip."""
    return Limits(pixels=4096 * 2304, side=4096, smallest_side=128, file_bytes=MOST_BYTES)


def photo_limits() -> Limits:
    """The same of a photo."""
    return Limits(smallest_side=128, file_bytes=MOST_BYTES)
