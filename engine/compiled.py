"""How hot kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with Numba, kept on disk where a cache folder can be written and in memory otherwise."""
    try:
        kernel = numba.njit(cache=True, fastmath=True, nogil=True)(function)
    except RuntimeError:  # Numba found no folder to write its cache to
        kernel = numba.njit(fastmath=True, nogil=True)(function)
    return cast(Function, kernel)
