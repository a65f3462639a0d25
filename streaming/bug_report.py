"""What somebody who looks for a fault has to know of this machine and its server, and nothing of the people on it.

No pictures, no tokens, no names: what comes from elsewhere passes streaming/redact.py, and of a server's own account
only what is listed here is taken.
"""

from __future__ import annotations

import getpass
import http.client
import importlib.metadata
import json
import os
import platform
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from engine.errors import ConfigError
from engine.findings import Finding
from engine.media.limits import Limits
from streaming.redact import Redactor

LOG_LINES: Final = 300
_MOST_ANSWER: Final = 4 << 20
_MOST_LOG: Final = 64 << 20
_WITHIN_S: Final = 5.0
_SHIPPED: Final = (
    "mesh_flow",
    "ganimation_small",
    "geogan_small",
    "maskgan_small",
    "stit_small",
    "enrolled",
    "other",
)
_VARIABLES: Final = ("MAROTTE_", "OMP_", "OPENBLAS_", "CUDA_", "NUMBA_", "OPENCV_", "XDG_")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a report. about: in few words, what is in it."""

    name: str
    about: str
    text: str


def redactor(token: str = "") -> Redactor:
    """For this machine and the user who runs it."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, in a container
        user = ""
    return Redactor(home=Path.home(), names=(user, platform.node()), secrets=(token,))


def versions() -> Part:
    """Of Marotte, Python, the packages that it names, and the machine."""
    lines = [
        f"marotte {_version('marotte')}",
        f"python {platform.python_version()} ({platform.python_implementation()})",
        f"system {platform.system()} {platform.release()} {platform.machine()}",
        f"cores {os.cpu_count()}",
        f"memory {_memory()}",
    ]
    lines += [f"{name} {_version(name)}" for name in sorted(_packages())]
    set_ = sorted(name for name in os.environ if name.startswith(_VARIABLES))
    lines.append(f"variables set (without their values): {', '.join(set_) or 'none'}")
    return Part(
        "versions", "versions of Marotte, Python and its packages; the machine's kind", "\n".join(lines)
    )


def _packages() -> set[str]:
    try:
        required = importlib.metadata.requires("marotte") or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    return {re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in required} - {"marotte"}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    if sys.platform == "win32":
        return "unknown"
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError):
        return "unknown"


def findings(found: Iterable[Finding], clean: Redactor) -> Part:
    """The doctor's."""
    lines = [clean.text(str(finding)) for finding in found]
    return Part("doctor", "what `marotte doctor` found", "\n".join(lines))


def log(path: Path, clean: Redactor) -> Part:
    """The last lines of a file into which the server's standard error was led. Raises InputError."""
    with Limits(file_bytes=_MOST_LOG).open_file(path) as file:
        lines = file.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
    return Part("log", f"the last {len(lines)} lines of the log", clean.text("\n".join(lines)))


def server(url: str, token: str, clean: Redactor) -> list[Part]:
    """Of one that runs: how it is set, its health, its metrics. What it does not answer is told. Raises ConfigError
    for an address that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"server: got {clean.text(url)[:80]!r}, expected http://HOST:PORT")
    health = [f"{path}: {_asked(parts.geturl(), path, token, clean)}" for path in ("/healthz", "/readyz")]
    told = _asked(parts.geturl(), "/api/v1/info", token, clean)
    return [
        Part("health", "whether the server is alive and ready", "\n".join(health)),
        Part("settings", "how the server is set, without names, accounts and pictures", _settings(told)),
        Part("metrics", "its metrics now", _metrics(_asked(parts.geturl(), "/metrics", token, clean))),
    ]


def _asked(url: str, path: str, token: str, clean: Redactor) -> str:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_WITHIN_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read(_MOST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer ({clean.text(str(error) or type(error).__name__)})"
    finally:
        connection.close()
    return (
        body.strip()
        if answer.status in (200, 503)
        else f"status {answer.status}: {clean.text(body.strip())[:200]}"
    )


def _settings(told: str) -> str:
    """Of /api/v1/info, by a list of what may be told."""
    try:
        info: Any = json.loads(told)
        own = _Names()
        kept: dict[str, Any] = {name: info.get(name) for name in _KEPT}
        kept["bundles"] = [
            {"name": own(one["name"]), "system": one["system"], "modes": sorted(one["modes"])}
            for one in info["bundles"]
        ]
        kept["enrol"] = [one["system"] for one in (info.get("enrol") or {}).get("systems", ())]
        kept["ice_servers"] = dict(
            Counter(url.partition(":")[0] for one in info["ice_servers"] for url in one["urls"])
        )
        kept["sources"] = [
            {"size": one["size"], "faces": one["faces"], "pictures": len(one["pictures"])}
            | {"remarks": {each["measure"]: each["value"] for each in one.get("remarks", ())}}
            for one in info["sources"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return (
            told[:300]
            if told.startswith(("no answer", "status "))
            else "it was answered, and not as Marotte does"
        )
    return json.dumps(kept, indent=1)


_KEPT: Final = (
    "version",
    "codecs",
    "codec",
    "drivers",
    "edit",
    "pass_through",
    "driver_pixels",
    "sound",
    "limits",
    "worker",
)


class _Names:
    """Bundles that were not shipped, by a number each: a folder may have a person's name."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name in _SHIPPED:
            return name
        return self._known.setdefault(name, f"own-{len(self._known) + 1}")


def _metrics(told: str) -> str:
    own = _Names()
    return re.sub(r'bundle="((?:[^"\\]|\\.)*)"', lambda found: f'bundle="{own(found[1])}"', told)


def written(parts: Iterable[Part], path: Path) -> None:
    """As one text, or as a file each where the name ends in .zip; whole or not at all. Raises ConfigError where it is
    there already."""
    if path.exists():
        raise ConfigError(f"out: {path} is there already; name another file")
    begun = path.with_name(f"{path.name}.part")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(begun, "w", zipfile.ZIP_DEFLATED) as archive:
                for part in parts:
                    archive.writestr(f"{part.name}.txt", f"{part.text}\n")
        else:
            text = "\n".join(f"===== {part.name}: {part.about}\n{part.text}\n" for part in parts)
            begun.write_text(text, encoding="utf-8")
        begun.replace(path)
    finally:
        begun.unlink(missing_ok=True)


def guarded(name: str, about: str, look: Callable[[], Part]) -> Part:
    """A part whose making failed says so: a report is made where things fail."""
    try:
        return look()
    except Exception as error:
        return Part(name, about, f"it could not be made: {type(error).__name__}")
