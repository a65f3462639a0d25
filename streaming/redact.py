"""What is taken out of a text before somebody else reads it: tokens, accounts, addresses, names and places of files.

It takes out rather too much: what is left is for a stranger.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_MEDIA: Final = "|".join((
    "jpe?g", "png", "webp", "bmp", "tiff?", "gif", "heic", "avif", "mp4", "mov", "mkv", "webm", "avi", "mpe?g", "m4v",
    "wav", "mp3", "onnx", "pt", "pth", "safetensors", "ckpt",
))  # fmt: skip
_OURS: Final = re.compile(r"/(?:api|whip|whep|join|static|metrics|healthz|readyz)\b|/(?:proc|dev|sys)/")
_PACKAGE: Final = re.compile(
    r"/(?:[^/\s]+/)*?((?:site-packages|engine|streaming|export|trainers)/[\w./-]+\.py)"
)
_RULES: Final = (
    (re.compile(r"\bmrt1\.[\w.-]+"), "<token>"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s'\"]+"), r"\1 <token>"),
    (
        re.compile(r"(?i)\b(token|code|password|credential|secret|cookie|api[_-]?key)(\s*[=:]\s*)[^\s&'\";,]+"),
        r"\1\2<removed>",
    ),
    (re.compile(r"(?i)\b(turns?|stuns?):[^\s@'\"]*@"), r"\1:<account>@"),
    (re.compile(r"://[^/\s@'\"]*@"), "://<account>@"),
    (re.compile(r"(?i)\b(statement)(['\"]?\s*[=:]\s*).*"), r"\1\2<removed>"),
    (re.compile(rf"(?i)[^:'\"=/\\\n]*[^:'\"=/\\\s]\.({_MEDIA})\b"), r" <file>.\1"),
)  # fmt: skip
_PATH: Final = re.compile(r"(?<![\w.<>/:])/(?:[^\s:'\",;()<>|]+)|\b[A-Za-z]:\\[^\s:'\",;()<>|]+")
_NUMBERS: Final = re.compile(
    r"(?<![\w.:])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
)
_LONGEST: Final = 2000  # letters of a line; what is behind them was not looked at, and is left out
_DIGEST: Final = re.compile(r"\b[0-9a-f]{32,}\b")


class Redactor:
    """Of one machine and its user. secrets: texts that are taken out wherever they stand."""

    def __init__(self, *, home: Path, names: Iterable[str], secrets: Iterable[str] = ()) -> None:
        self._home = re.compile(re.escape(str(home)) + r"[^:'\",;\n]*") if len(str(home)) > 1 else None
        self._secrets = sorted((one for one in secrets if len(one) >= 4), key=len, reverse=True)
        known = [
            re.escape(name) for name in names if len(name) >= 3 and name not in ("root", "user", "localhost")
        ]
        self._names = re.compile(rf"(?<![\w])(?:{'|'.join(known)})(?![\w])") if known else None

    def text(self, told: str) -> str:
        """The same without them."""
        for secret in self._secrets:
            told = told.replace(secret, "<token>")
        lines = (line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..." for line in told.split("\n"))
        return "\n".join(map(self._line, lines))

    def _line(self, line: str) -> str:
        for pattern, instead in _RULES[:-1]:
            line = pattern.sub(instead, line)
        line = _PACKAGE.sub(r"\1", line)
        if self._home is not None:
            line = self._home.sub("<path>", line)
        pattern, instead = _RULES[-1]
        line = pattern.sub(instead, line)
        line = _PATH.sub(_shortened, line)
        line = _NUMBERS.sub(_address, line)
        line = _DIGEST.sub("<digest>", line)
        return line if self._names is None else self._names.sub("<name>", line)


def _shortened(found: re.Match[str]) -> str:
    path = found[0]
    return path if _OURS.match(path) or path.startswith("/?") else f"<path>{Path(path).suffix[:8]}"


def _address(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "<address>"
