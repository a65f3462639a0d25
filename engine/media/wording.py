"""Names as they stand in a message."""

from __future__ import annotations

import os
from pathlib import Path


def one_line(name: str | os.PathLike[str]) -> str:
    """The name as it is, or quoted with escapes where it holds a control character or a line break."""
    text = str(Path(name)) if not isinstance(name, str) else name
    return text if text.isprintable() else repr(text)
