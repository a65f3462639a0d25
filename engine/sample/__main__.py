"""Draws the sample portrait anew, over the shipped file or to the path given."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.sample import sample_portrait
from engine.sample.portrait import write_portrait

write_portrait(Path(sys.argv[1]) if len(sys.argv) > 1 else sample_portrait())
