"""Prints, as JSON, the signatures of a module's classes: {"Class.method": [[parameter, ...] per overload]}.

    python read_signatures.py MODULE [LIBRARY ...]      libraries are loaded first, for the symbols of the module

Run as a program of its own: bindings that lie on stand-ins must not be loaded beside ones that are used.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import sys
from typing import Any


def signatures(module: Any) -> dict[str, list[list[str]]]:
    """Of every method, by what pybind11 writes first into its docstring; of what is no method, an empty list."""
    found: dict[str, list[list[str]]] = {}
    for name, kind in vars(module).items():
        if isinstance(kind, type):
            found[name] = []
            for member in dir(kind):
                found[f"{name}.{member}"] = _overloads(member, getattr(kind, member, None))
        elif callable(kind):
            found[name] = _overloads(name, kind)
    return found


def _overloads(name: str, member: Any) -> list[list[str]]:
    text = getattr(member, "__doc__", None) or ""
    lines = re.findall(rf"^(?:\d+\. )?{re.escape(name)}\((.*)\) -> ", text, re.MULTILINE)
    return [_parameters(line) for line in lines]


def _parameters(line: str) -> list[str]:
    """Names only, at the commas that no bracket holds."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(line):
        depth += (sign in "[(<{") - (sign in "])>}")
        if sign == "," and depth == 0:
            parts.append(line[start:at])
            start = at + 1
    parts.append(line[start:])
    names = [part.partition(":")[0].partition("=")[0].strip() for part in parts]
    return [name for name in names if name and name != "/"]


if __name__ == "__main__":
    for library in sys.argv[2:]:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    loaded = importlib.import_module(sys.argv[1])
    print(json.dumps({"version": loaded.__version__, "signatures": signatures(loaded)}))
