"""The options of the marks, which every command has that writes or sends pictures of people."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.marks import MarksConfig


GROUP: Final = "marks on what is generated (docs/marks.md)"


def add_marks(group: Any) -> None:
    """Add them to a parser, or to a group of one; `marks_of` reads them."""
    group.add_argument(
        "--no-badge",
        action="store_true",
        help="leave out the visible AI badge; it is written into the session log",
    )
    group.add_argument(
        "--no-watermark",
        action="store_true",
        help="leave out the invisible mark; it is written into the session log",
    )
    group.add_argument(
        "--badge-place",
        default="top-right",
        metavar="CORNER",
        help="top-right (default), top-left, bottom-right or bottom-left",
    )
    group.add_argument(
        "--badge-size",
        type=float,
        default=9.0,
        metavar="PERCENT",
        help="the badge's height, of the picture's: 6 .. 30 (9)",
    )
    group.add_argument(
        "--badge-language",
        default="en",
        metavar="CODE",
        help="what it says: en AI (default), de KI, fr IA ..",
    )
    group.add_argument(
        "--badge-words", action="store_true", help="say GENERATED or MODIFIED beside it, in its language"
    )


def marks_of(options: argparse.Namespace) -> MarksConfig:
    """What they say. Raises ConfigError."""
    from engine.marks import MarksConfig

    return MarksConfig(
        badge=not options.no_badge,
        watermark=not options.no_watermark,
        place=options.badge_place,
        size=options.badge_size / 100,
        language=options.badge_language,
        words=options.badge_words,
    )
