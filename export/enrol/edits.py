"""Which edits a bundle is to offer, as the commands are told, and their directions out of the files that are named."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.stit.directions import Direction
    from trainers.stit.generator import Generator


@dataclass(frozen=True)
class TextEdit:
    """A StyleCLIP direction by the name that it gets. neutral, target: what is there and what is wanted, each a text or
    the .npy of CLIP's features of its prompts."""

    name: str
    neutral: str
    target: str


@dataclass(frozen=True)
class EditFiles:
    """Where directions come from. directions: folder of W directions. texts: of StyleCLIP, by `statistics` (fs3.npy of
    the generator) and `beta`. clip, vocabulary: weights and merges of CLIP's text encoder, for texts that are no .npy;
    prompts: sentences with {} for the text, one a line; without them the text alone."""

    directions: Path | None = None
    texts: tuple[TextEdit, ...] = ()
    statistics: Path | None = None
    beta: float = 0.2
    clip: Path | None = None
    vocabulary: Path | None = None
    prompts: Path | None = None


def add_edit_options(parser: Any) -> None:
    """--directions, --edit, --styleclip and what it reads, --freeze."""
    parser.add_argument("--directions", type=Path, metavar="DIR", help="folder of W directions, <name>.npy")
    parser.add_argument(
        "--edit",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="a direction that will be offered, and its strengths; may be repeated",
    )
    parser.add_argument(
        "--styleclip",
        action="append",
        default=[],
        metavar="NAME=NEUTRAL,TARGET",
        help="a StyleCLIP direction from what is there to what is wanted: .npy of CLIP's features, or texts",
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="NPY", help="StyleCLIP's of the generator (fs3.npy)"
    )
    parser.add_argument(
        "--beta",
        type=float,
        default=0.2,
        metavar="X",
        help="of StyleCLIP: least relevance of a channel (0.2)",
    )
    parser.add_argument(
        "--clip-weights", type=Path, metavar="FILE", help="CLIP's text encoder, for texts: a state dict"
    )
    parser.add_argument(
        "--clip-merges", type=Path, metavar="FILE", help="its bpe_simple_vocab_16e6.txt, plain or .gz"
    )
    parser.add_argument("--clip-prompts", type=Path, metavar="FILE", help="sentences with {}, one a line")
    parser.add_argument(
        "--freeze",
        type=int,
        metavar="ROW",
        help="rows of the codes from this one on stay the person's mean: hair and grain do not change",
    )


def files_of(options: argparse.Namespace) -> EditFiles:
    """Raises ConfigError for a --styleclip that is not to be read."""
    return EditFiles(
        options.directions,
        tuple(_text_edit(one) for one in options.styleclip),
        options.statistics,
        options.beta,
        options.clip_weights,
        options.clip_merges,
        options.clip_prompts,
    )


def asks_edits(options: argparse.Namespace) -> bool:
    """Whether any of the options of `add_edit_options` was given."""
    given = (options.directions, options.edit, options.styleclip, options.statistics, options.freeze)
    return any(one is not None and one != [] for one in given)


def check_frozen(row: int | None, rows: int) -> None:
    """Raises ConfigError for a first frozen row that codes of so many rows do not have; None freezes nothing."""
    if row is not None and not 0 <= row < rows:
        raise ConfigError(f"freeze: got row {row}, expected 0 .. {rows - 1} of the codes")


def reaches_of(edits: Sequence[str]) -> list[dict[str, Any]]:
    """NAME=LOW:HIGH as the fields of a Reach. Raises ConfigError."""
    return [_reach(one) for one in edits]


def read_edits(files: EditFiles, generator: Generator) -> dict[str, Direction]:
    """Every direction that is named, by name. Raises CheckpointError and ConfigError for what is missing, by its name,
    and for what is of another generator."""
    from trainers.stit.edits import read_directions

    found: dict[str, Direction] = {}
    if files.directions is not None:
        found |= read_directions(files.directions, generator.w_dim)
    if not files.texts:
        return found
    for one in files.texts:
        if one.name in found:
            raise ConfigError(f"styleclip: {one.name!r} is also a W direction; expected another name")
    return {**found, **_style_directions(files, generator)}


def _style_directions(files: EditFiles, generator: Generator) -> Mapping[str, Direction]:
    import torch

    from trainers.stit.directions import StyleDirection
    from trainers.stit.edits import global_direction, read_statistics, style_offsets, text_direction

    if files.statistics is None:
        raise ConfigError(
            "styleclip: needs the statistics of the generator; name StyleCLIP's fs3.npy by --statistics"
        )
    statistics = torch.from_numpy(read_statistics(files.statistics))
    feature = _Features(files)
    found: dict[str, Direction] = {}
    for one in files.texts:
        texts = text_direction(feature(one.neutral), feature(one.target))
        values = global_direction(statistics, texts, files.beta).double()
        style_offsets(generator.synthesis, values)  # says where it is of another generator
        found[one.name] = StyleDirection(values.numpy())
    return found


class _Features:
    """CLIP's feature of a text, from a file of it or by the text encoder, which is opened for the first text."""

    def __init__(self, files: EditFiles) -> None:
        self._files = files
        self._encoder: Callable[[str], Tensor] | None = None

    def __call__(self, what: str) -> Tensor:
        from trainers.stit.edits import mean_feature, read_text_feature

        if what.endswith(".npy"):
            return read_text_feature(Path(what))
        if self._encoder is None:
            self._encoder = self._opened(what)
        return mean_feature(self._encoder(what))

    def _opened(self, what: str) -> Callable[[str], Tensor]:
        from trainers.stit.clip_text import open_text_encoder

        files = self._files
        if files.clip is None or files.vocabulary is None:
            raise ConfigError(
                f"styleclip: {what!r} is a text, for which CLIP's encoder is needed: name its files by --clip-weights "
                "and --clip-merges, or give the .npy of the text's features"
            )
        return open_text_encoder(files.clip, files.vocabulary, files.prompts)


def _text_edit(text: str) -> TextEdit:
    name, _, both = text.partition("=")
    neutral, comma, target = (part.strip() for part in both.partition(","))
    if not name.strip() or not comma or not neutral or not target:
        raise ConfigError(
            f"--styleclip {text}: expected NAME=NEUTRAL,TARGET, such as smile=face.npy,smiling.npy"
        )
    return TextEdit(name.strip(), neutral, target)


def _reach(text: str) -> dict[str, Any]:
    from engine.types import MOST_STRENGTH

    name, _, ends = text.partition("=")
    start, _, stop = ends.partition(":")
    try:
        low, high = float(start), float(stop)
    except ValueError as error:
        raise ConfigError(f"--edit {text}: expected NAME=LOW:HIGH, such as smile=-4:4") from error
    if not (abs(low) <= MOST_STRENGTH and abs(high) <= MOST_STRENGTH):  # NaN fails here too
        raise ConfigError(f"--edit {text}: expected strengths within {-MOST_STRENGTH:g} .. {MOST_STRENGTH:g}")
    if low <= high and not low <= 0.0 <= high:
        raise ConfigError(f"--edit {text}: expected strengths that hold 0, at which nothing is edited")
    return {"name": name, "low": low, "high": high}
