"""Models by name: what they are, where they come from, and where their converted files lie.

A model is known by one short name. Its file is an ONNX graph in the cache, beside a sidecar of the same stem
that states what it was made from. Nothing here downloads or converts: that is ``marotte models pull``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from engine.errors import ModelError

CONVERSION: Final = 1
"""Version of the conversion that the engine expects. A cached graph of another version has to be made again.
"""

_WHEEL = "mediapipe 0.10.21 wheel"
_APACHE = "Apache-2.0"
_PULL = "run: marotte models pull"
_SIDECAR_LIMIT: Final = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the registry.

    name: what the engine asks for. file: where it lies in its origin. origin: the package that ships it.
    licence: SPDX. sha256: of the TFLite file as shipped (hex), None for one that a user brings. title: what
    it does. onnx_sha256: of the graph that CONVERSION makes of that file (hex), None for one that a user
    brings, whose graph is held only against its own sidecar.

    The conversion states every field of the graph itself, in a fixed order and with little-endian weights, so
    its bytes do not depend on the versions of onnx, protobuf and NumPy: 1.19 with 5.29 and 2.3, and 1.23 with
    7.36 and 2.4 give the same.
    """

    name: str
    file: str
    origin: str
    licence: str
    sha256: str | None
    title: str
    onnx_sha256: str | None = None


def _shipped(name: str, file: str, sha256: str, onnx_sha256: str, title: str) -> Model:
    return Model(name, f"mediapipe/modules/{file}", _WHEEL, _APACHE, sha256, title, onnx_sha256)


def _brought(name: str, file: str, title: str) -> Model:
    return Model(name, file, "face_landmarker.task named by the user", _APACHE, None, title)


_ENTRIES = (
    _shipped(
        "face_detection",
        "face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        "c393636ecf118719436ad7f0aada6290660712b07e962ff787d82c2e180d7da0",
        "faces within about two metres, 128 x 128",
    ),
    _shipped(
        "face_mesh",
        "face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        "288d458b2d76de2e7d199fe1f25340c60146a77c11e538b3b9ea7dad30ee0c59",
        "468 points of a face, 192 x 192",
    ),
    _shipped(
        "face_mesh_attention",
        "face_landmark/face_landmark_with_attention.tflite",
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        "f069b0216140e186ef907c9fcea9c5adc42c76bedb8e4ab424f6103e6906d68b",
        "468 points of a face with lips, eyes and irises refined, 192 x 192",
    ),
    _shipped(
        "selfie_segmentation",
        "selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        "84b36ab8cd56fc2e1741a087e1b36c83cf19e35013d065f9d19d6804b3d8d840",
        "person against background, 256 x 256",
    ),
    _shipped(
        "pose_detection",
        "pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        "9d9f2daaf97e38e39191af0de87124f16c80be621b0cc1ee638b70811f297280",
        "where a person stands, 224 x 224",
    ),
    _shipped(
        "pose_landmark_full",
        "pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        "3b7d2720e8378ec52afc819525fd273e6bc6dc4d91f082683d0fd58c840f6e3c",
        "33 points of a body, also in metres, 256 x 256",
    ),
    _shipped(
        "palm_detection",
        "palm_detection/palm_detection_lite.tflite",
        "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
        "559e05cb83f0e48a6e645c09428e0aa4c4eb9781a36b8391d01e2a72240fe893",
        "where palms are, 192 x 192",
    ),
    _shipped(
        "hand_landmark",
        "hand_landmark/hand_landmark_lite.tflite",
        "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
        "aefd42e90bd2c6a8f381d01e5acae228373b87b6c31dbff9e8fa171b99e716c7",
        "21 points of a hand, 224 x 224",
    ),
    _brought("task_face_detector", "face_detector.tflite", "face detector of a task file"),
    _brought("task_face_landmarks", "face_landmarks_detector.tflite", "478 points of a face, of a task file"),
    _brought(
        "task_face_blendshapes",
        "face_blendshapes.tflite",
        "52 expression weights from 146 points, of a task file",
    ),
)

REGISTRY: Final[Mapping[str, Model]] = {entry.name: entry for entry in _ENTRIES}
"""Every model that Marotte knows, by name."""

PULLED: Final = tuple(entry for entry in _ENTRIES if entry.sha256 is not None)
"""The models that ``marotte models pull`` fetches; the others come from a file that a user names."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What stands beside a converted graph. source_sha256: of the TFLite file. onnx_sha256, size: of the
    graph.
    """

    name: str
    source_sha256: str
    conversion: int
    onnx_sha256: str
    size: int

    def to_json(self) -> str:
        """As the file's text."""
        return json.dumps(asdict(self), indent=1) + "\n"


class Condition(Enum):
    """How a model's files stand."""

    READY = "ready"
    MISSING = "missing"
    STALE = "stale"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Row:
    """One model in a listing. detail: what is wrong and how to mend it, empty when nothing is."""

    model: Model
    path: Path
    condition: Condition
    detail: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return self.condition is Condition.READY

    def __str__(self) -> str:
        entry = self.model
        state = self.condition.value
        if entry.sha256 is None and self.condition is Condition.MISSING:
            state = "optional"
        line = f"{entry.name:22} {state:8} {entry.title} ({entry.origin}, {entry.licence})"
        return f"{line}\n{'':22} {entry.sha256 or 'no pinned hash'}" + (
            f"\n  {self.detail}" if self.detail else ""
        )


def cache_root(
    environment: Mapping[str, str], platform: str = sys.platform, home: Path | None = None
) -> Path:
    """The folder of everything that Marotte keeps and can make again.

    environment: MAROTTE_CACHE wins; else LOCALAPPDATA on Windows, ~/Library/Caches on macOS, XDG_CACHE_HOME
    or ~/.cache elsewhere. platform: as in sys.platform. home: the user's folder, found from the system when
    None.
    """
    if environment.get("MAROTTE_CACHE"):
        return Path(environment["MAROTTE_CACHE"])
    home = Path.home() if home is None else home
    if platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        # The XDG rules: a relative path there is to be ignored.
        stated = Path(environment.get("XDG_CACHE_HOME", ""))
        base = stated if stated.is_absolute() else home / ".cache"
    return base / "marotte"


def cache_folder(cache: Path | None = None) -> Path:
    """The root that counts: the one that was named, else the environment's, as it is now."""
    return cache_root(os.environ) if cache is None else cache


def models_folder(cache: Path | None = None) -> Path:
    """Where converted models lie."""
    return cache_folder(cache) / "models"


def model(name: str) -> Model:
    """The registry's entry. Raises ModelError with the nearest name when there is none."""
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(REGISTRY)}"
        raise ModelError(f"model {name!r} is not known; {hint}")
    return REGISTRY[name]


def graph_path(name: str, cache: Path | None = None) -> Path:
    """Where a model's graph lies, or would lie."""
    return models_folder(cache) / f"{model(name).name}.onnx"


def sidecar_path(graph: Path) -> Path:
    """Where a graph's sidecar lies."""
    return graph.with_suffix(".json")


def locate(name: str, cache: Path | None = None) -> Path:
    """The ONNX file of a model, ready to be opened.

    cache: the cache's root, the environment's when None. Its bytes are checked against the hash in the
    registry, those of a user's own model against the hash stated when it was made. Raises ModelError naming
    the command that mends it.
    """
    row = inspect(model(name), cache, full=True)
    if row.condition is not Condition.READY:
        raise ModelError(row.detail)
    return row.path


def inspect(entry: Model, cache: Path | None, *, full: bool) -> Row:
    """How one model stands. full: hash the graph too."""
    path = graph_path(entry.name, cache)
    condition, fault = _condition(entry, path, full=full)
    mend = (
        _PULL
        if entry.sha256
        else "run: marotte models pull --task FILE, with MediaPipe's face_landmarker.task"
    )
    return Row(entry, path, condition, f"model {entry.name}: {fault}; {mend}" if fault else "")


def _condition(entry: Model, path: Path, *, full: bool) -> tuple[Condition, str]:
    try:
        size = _plain_size(path)
        sidecar = _read_sidecar(sidecar_path(path))
        if sidecar.conversion != CONVERSION:
            made = f"{path} was made by version {sidecar.conversion!r} of the conversion"
            return Condition.STALE, f"{made}, expected {CONVERSION}"
        if entry.sha256 not in (None, sidecar.source_sha256):
            made = f"{path} was made from a file with the SHA-256 {sidecar.source_sha256!r}"
            return Condition.STALE, f"{made}, expected {entry.sha256}"
        if sidecar.size != size:
            return Condition.DAMAGED, f"{path} has {size} bytes, expected {sidecar.size!r}"
        if entry.onnx_sha256 not in (None, sidecar.onnx_sha256):
            return Condition.DAMAGED, f"{path} does not have the SHA-256 {entry.onnx_sha256}, by its sidecar"
        if full and file_sha256(path) != sidecar.onnx_sha256:
            return Condition.DAMAGED, f"{path} does not have the SHA-256 that its sidecar states"
    except FileNotFoundError as error:
        return Condition.MISSING, f"{error.filename} is not there"
    except OSError as error:
        return Condition.DAMAGED, f"its files cannot be read ({error})"
    except (ValueError, TypeError, RecursionError):
        return Condition.DAMAGED, f"{sidecar_path(path)} cannot be read: it is not as Marotte writes it"
    return Condition.READY, ""


def _plain_size(path: Path) -> int:
    """Bytes of a plain file. Raises OSError for anything else: a pipe or a device may never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a plain file")
    return status.st_size


def _read_sidecar(path: Path) -> Sidecar:
    """Raises OSError, ValueError, TypeError or RecursionError for what is none."""
    _plain_size(path)
    with path.open("rb") as file:
        data = file.read(_SIDECAR_LIMIT + 1)
    if len(data) > _SIDECAR_LIMIT:
        raise ValueError("too long")
    return Sidecar(**json.loads(data.decode()))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_models(cache: Path | None = None) -> list[Row]:
    """Every model of the registry and how it stands, without reading the graphs."""
    return [inspect(entry, cache, full=False) for entry in REGISTRY.values()]


def verify(cache: Path | None = None) -> list[Row]:
    """The same, with every graph hashed. A user's own models count only when they are there."""
    rows = [inspect(entry, cache, full=True) for entry in REGISTRY.values()]
    return [row for row in rows if row.model.sha256 or row.condition is not Condition.MISSING]
