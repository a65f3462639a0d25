"""By what a person is tuned: the recipe that follows from the weights it starts from, and what those have to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError
from export.checkpoints import Loaded, load
from trainers import checkpoint
from trainers.checkpoint import Checkpoint
from trainers.config import Recipe, from_table
from trainers.errors import CheckpointError
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.live import COUNTS
from trainers.liquid_warping.recipe import PERSONALISING, GeneratorShape
from trainers.systems import find_system

SYSTEM: Final = "liquid_warping"
STEPS: Final = 300
_HELD: Final = 0.15
"""Share of a clip's frames that is held back."""
_FALLING: Final = 0.7
"""Share of the steps over which the rate falls: at a constant one looks stop getting better 1.5 dB earlier."""
_CHECKPOINTED: Final = 384
"""Side in pixels from which on less memory is worth computing twice."""
_LEAST, _MOST = 16, 1024
_MEASURED: Final = ("widths", "background_widths")
"""What tells how often a generator halves its pictures."""
_SHAPE: Final = ("block", "widths", "residual_blocks", "background_widths", "background_blocks")
_OPTIMISER: Final = ("rate", "critic_rate", "beta1", "beta2")
"""What is taken over of the optimiser of the weights' own training."""
_OURS: Final = ("system", "run.weights", "data", "generator", "stages.0.name")
_FREE: Final = "generator.checkpointed"
_NEXT: Final = (
    "train some by `marotte train configs/liquid_warping_small.toml --out runs/liquid_warping`, or import the official "
    "file by `marotte import liquid_warping AttLWB-SPADE_id_G_2020-05-18.pth --out CHECKPOINT`"
)


@dataclass(frozen=True, eq=False)
class Base:
    """The weights that a tuning starts from. generator: its arguments. size: side of the pictures that a person is
    tuned at. erosion: the box of the known background. recipe: what they were trained by, empty for imported ones."""

    loaded: Loaded
    generator: Mapping[str, Any]
    size: int
    erosion: int
    recipe: Mapping[str, Any]

    @property
    def mesh(self) -> str:
        """Which one they know."""
        return str(self.loaded.data.get("mesh"))

    @property
    def trained_at(self) -> int:
        """Side of the pictures that they were trained at."""
        return int(self.loaded.data["size"])

    @property
    def texture(self) -> int:
        """Side of the tuning's texture: at another size than that of the training twice the pictures', which is what
        was measured to be sharper."""
        return self.size if self.size == self.trained_at else 2 * self.size


def base_of(weights: Path | None, size: int | None = None) -> Base:
    """size: side of the pictures that a person is tuned at, None for that of the training.

    Raises ConfigError where no weights are named and for a size that the generator cannot make, and CheckpointError
    where they are none of this system's that can be tuned to a person and run live."""
    if weights is None:
        raise ConfigError(f"weights: got none, expected --weights CHECKPOINT; {_NEXT}")
    try:
        loaded = load(weights)
    except CheckpointError as error:
        if weights.exists():
            raise
        raise CheckpointError(f"{weights}: is not there; {_NEXT}") from error
    loaded.checkpoint.of_system(SYSTEM)
    if "generator" not in loaded.arguments:
        raise CheckpointError(f"{weights}: holds no generator; {_NEXT}")
    if not loaded.network("generator", LiquidWarpingGenerator).has_background:
        raise CheckpointError(f"{weights}: its generator has no background network; import AttLWB-SPADE")
    arguments = loaded.arguments["generator"]
    erosion = loaded.facts.get("background_erosion", loaded.data.get("background_erosion"))
    trained, box = (
        _pixels(weights, "size", loaded.data.get("size")),
        _pixels(weights, "background_erosion", erosion),
    )
    if size is not None:
        _check_size(size, arguments, trained)
    _check_recipe(weights, loaded.checkpoint.recipe)
    return Base(loaded, arguments, size or trained, box, loaded.checkpoint.recipe)


def _check_size(size: int, arguments: Mapping[str, Any], trained: int) -> None:
    multiple = GeneratorShape(**{name: arguments[name] for name in _MEASURED if name in arguments}).multiple
    if size % multiple or not _LEAST <= size <= _MOST:
        raise ConfigError(
            f"size: got {size}, expected a multiple of {multiple} in {_LEAST} .. {_MOST}; the weights were trained at "
            f"{trained} pixels"
        )


def _check_recipe(weights: Path, recipe: Mapping[str, Any]) -> None:
    """As far as it is read here: what it says of losses and critic is looked at with the tuning's own."""
    rates = recipe.get("optimiser")
    tables = isinstance(rates, Mapping) and set(_OPTIMISER) <= set(rates)
    tables = tables and all(isinstance(recipe.get(name, {}), Mapping) for name in ("critic", "losses"))
    if recipe and not tables:
        names = ", ".join(_OPTIMISER)
        raise CheckpointError(
            f"{weights}: its recipe is damaged, expected tables of critic and losses, and an optimiser's {names}; "
            "train it again"
        )


def _pixels(weights: Path, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(
            f"{weights}: states the {name} {value!r}, expected pixels; train or import it again"
        )
    return value


def count_of(pictures: int, most: int) -> int:
    """How many sources a bundle is to have for so many pictures: the next of the counts that there are, because a
    picture that is given twice costs nothing."""
    return next(count for count in COUNTS if count >= min(pictures, most))


def recipe_of(
    base: Base,
    *,
    sources: int,
    held: Sequence[int] = (),
    shown: Sequence[int] = (),
    folder: Path = Path(),
    start: Path = Path(),
    device: str = "auto",
    changes: Sequence[str] = (),
) -> Recipe:
    """The tuning's. held, shown: frames of the folder that are held back, and that are sources; empty where they are
    chosen by yaw. start: the checkpoint that it starts from. changes: `a.b=value`, over everything else.

    Losses and optimiser are those of the base's own training, at a rate that falls; of imported weights the official
    ones. Raises ConfigError and RecipeError for a change that cannot be made.
    """
    for text in changes:
        if _is_ours(text.partition("=")[0].strip()):
            raise ConfigError(f"set {text}: the enrolment says that itself; leave it out")
    optimiser: dict[str, Any] = {}
    if base.recipe:
        optimiser = {name: base.recipe["optimiser"][name] for name in _OPTIMISER} | {"falling": _FALLING}
    critic = {
        name: value
        for name, value in base.recipe.get("critic", {}).items()
        if name not in ("parts", "background")
    }
    table = {
        "system": SYSTEM,
        "run": {
            "device": device,
            "weights": str(start),
            "save_every": 25,
            "keep": 1,
            "log_every": 10,
            "sample_every": 0,
            "validate_every": 0,
            "tensorboard": False,
        },
        "data": {
            "folder": str(folder),
            "size": base.size,
            "sources": sources,
            "time_step": 1,
            "background_erosion": base.erosion,
            "held": 0.0 if shown else _HELD,
            "held_frames": list(held),
            "source_frames": list(shown),
        },
        "generator": {**base.generator, "temporal": False, "checkpointed": base.size >= _CHECKPOINTED},
        "critic": {**critic, "parts": [], "background": False},
        "losses": dict(base.recipe.get("losses", {})),
        "personalising": {"check_every": 10, "patience": 12},
        "optimiser": optimiser,
        "stages": [{"name": PERSONALISING, "steps": STEPS, "batch": 1}],
    }
    return from_table(table, changes)


def _is_ours(key: str) -> bool:
    """Whether an option, or a table of options, is or has one that follows from what is enrolled."""
    return key != _FREE and any(f"{key}.".startswith(f"{one}.") or one.startswith(f"{key}.") for one in _OURS)


def check_recipe(base: Base, device: str, changes: Sequence[str]) -> None:
    """Raises what a tuning by these would raise at its start, such as for a file of weights that is not there."""
    recipe = recipe_of(base, sources=1, device=device, changes=changes)
    find_system(recipe.system)(recipe.options)


def write_start(base: Base, recipe: Recipe, folder: Path) -> None:
    """The checkpoint that a tuning starts from: the generator as it would be exported, which is its moving average
    where one is kept."""
    weights = base.loaded.network("generator", LiquidWarpingGenerator).state_dict()
    arguments = {name: getattr(recipe.options.generator, name) for name in _SHAPE}
    about = Checkpoint(SYSTEM, {"generator": checkpoint.as_json(arguments)}, data=base.loaded.data)
    checkpoint.write(folder, about, {"generator": weights})
