"""What says of a picture that it was generated: a badge for people, a watermark for programs (docs/marks.md).

Marks are put on last, after everything that evaluate, bench and parity look at.
"""

from engine.marks.config import PLACES, MarksConfig
from engine.marks.marks import Marks
from engine.marks.session import SessionMarks
from engine.marks.wording import LANGUAGES

__all__ = ["LANGUAGES", "PLACES", "Marks", "MarksConfig", "SessionMarks"]
