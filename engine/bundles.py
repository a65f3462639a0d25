"""The bundles that are shipped with Marotte, and finding one by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.bundle import MANIFEST
from engine.config import file_path, known
from engine.errors import ConfigError

SHIPPED: Final = Path(__file__).parent / "data" / "bundles"
"""Where they lie: one folder each, of its name."""


def names(shipped: Path = SHIPPED) -> tuple[str, ...]:
    """The names of the shipped bundles."""
    if not shipped.is_dir():
        return ()
    return tuple(sorted(folder.name for folder in shipped.iterdir() if (folder / MANIFEST).is_file()))


def find(name_or_path: str | Path, shipped: Path = SHIPPED) -> Path:
    """The folder of a shipped bundle by its name, or the folder of that path.

    A shipped name wins; write ./name for a folder of the same name. Nothing is read: engine.bundle.open_bundle does.
    Raises ConfigError, with the nearest name, for what is neither.
    """
    path = file_path("bundle", name_or_path)
    if isinstance(name_or_path, str) and name_or_path in names(shipped):
        return shipped / name_or_path
    if path.is_dir():
        return path
    if isinstance(name_or_path, Path) or len(path.parts) > 1 or name_or_path.startswith("."):
        raise ConfigError(f"bundle {path}: expected the folder of a bundle, with {MANIFEST} in it")
    return shipped / known(name_or_path, names(shipped), "bundle")
