"""What happens where a mark is taken off: it is written down before the first picture leaves without it."""

from __future__ import annotations

import logging

from engine.marks.config import MarksConfig
from engine.session_log import Event, note_first

_log = logging.getLogger("marotte.marks")


def note_lowered(config: MarksConfig, where: str) -> None:
    """A line in the session log and one for whoever runs this, where a mark is off; else nothing. where: what leaves
    without it, in a word. Blocks. Raises StateError where the line cannot be kept: nothing leaves unsaid.
    """
    if config.lowered:
        note_first(Event.PROTECTION_LOWERED, lowered=config.lowered, where=where)
        _log.warning("%s", told_lowered(config))


def told_lowered(config: MarksConfig) -> str:
    """What is off, in a sentence; empty where nothing is."""
    if not config.lowered:
        return ""
    off = " and ".join(config.lowered)
    return f"marks: no {off} on what is generated, as the operator has set; it is in the session log (docs/marks.md)"
