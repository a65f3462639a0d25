"""A secret that a command is given: in a file, or in the environment."""

from __future__ import annotations

import os
from pathlib import Path


def read_token(file: Path | None, option: str = "token-file") -> str:
    """From the file or the environment, never from the command line, which other users can read."""
    if file is None:
        return os.environ.get("MAROTTE_TOKEN", "")
    from engine.errors import ConfigError
    from engine.media.limits import Limits

    try:
        with Limits(file_bytes=4096).open_file(file) as opened:
            token = opened.read().decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option}: {file} holds no text; expected one line, the token") from error
    if not token:
        raise ConfigError(f"{option}: {file} holds no token; expected one line of 16 characters or more")
    return token
