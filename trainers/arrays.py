"""Arrays out of files that others wrote."""

from __future__ import annotations

from tokenize import TokenError
from typing import Final
from zipfile import BadZipFile
from zlib import error as zlib_error

DAMAGE: Final = (
    OSError, ValueError, EOFError, KeyError, RecursionError, MemoryError, OverflowError, TokenError, BadZipFile,
    zlib_error,
)  # fmt: skip
"""What NumPy raises for an .npy or .npz file that is damaged, or none: its header is read by Python's own tokens."""

MAGIC: Final = b"\x93NUMPY"
"""What an .npy file begins with."""
