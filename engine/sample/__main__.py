"""Draws the sample portrait anew, over the shipped file and with its record of consent, or to the path given."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.consent.bundled import shipped_bundles
from engine.consent.hashes import hash_of
from engine.consent.shipped import write_shipped
from engine.sample import sample_portrait
from engine.sample.portrait import write_portrait

if len(sys.argv) > 1:
    write_portrait(Path(sys.argv[1]))
else:
    write_portrait(sample_portrait())
    write_shipped([hash_of(sample_portrait()), *shipped_bundles()])
