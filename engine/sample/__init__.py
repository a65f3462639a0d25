"""The face of the project, and somebody to move it: a drawn portrait and a scripted driver.

The portrait is shipped as a picture so that every machine starts from the same pixels and at once;
``python -m engine.sample`` draws it anew, and a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

_PICTURE = Path(__file__).parents[1] / "data" / "sample_portrait.webp"


def sample_portrait() -> Path:
    """The shipped sample portrait: a 1024 x 1024 WebP file, one face, nobody's photograph."""
    return _PICTURE
