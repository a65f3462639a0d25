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


def compiled_for(signature: Any) -> Callable[[Function], Function]:
    """The same for one signature, compiled when the module is imported and with arithmetic in the order written.

    signature: Numba's, so that a read-only picture, say, is no other type that compiles again in mid-stream.
    """

    def compile_now(function: Function) -> Function:
        options = {"nogil": True, "error_model": "numpy"}
        try:
            kernel = numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # Numba found no folder to write its cache to
            kernel = numba.njit(signature, **options)(function)
        return cast(Function, kernel)

    return compile_now
