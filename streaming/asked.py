"""What a command asks a running server, by its API."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from engine.errors import ConfigError, WorkerError

_MOST_ANSWER: Final = 16 << 20
_WITHIN_S: Final = 10.0


def ask(
    url: str,
    method: str,
    path: str,
    token: str,
    query: Mapping[str, str] | None = None,
    body: bytes | None = None,
    within_s: float = _WITHIN_S,
) -> Any:
    """The JSON of its answer, None of an empty one. Raises ConfigError for an address that is none and for what the
    server refuses, WorkerError where none answers."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"server: got {url[:80]!a}, expected http://HOST:PORT")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    asked = f"{path}?{urlencode(query)}" if query else path
    connection = kind(parts.hostname, _port(parts.netloc, url), timeout=within_s)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, asked, body, headers)
        answer = connection.getresponse()
        told = answer.read(_MOST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = str(error) or type(error).__name__
        raise WorkerError(
            f"server: {parts.netloc} does not answer ({why}); is it running, and is it this one?"
        ) from error
    finally:
        connection.close()
    return _read(answer.status, told)


def _port(netloc: str, url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError as error:
        raise ConfigError(f"server: got {netloc[:80]!a}, expected HOST:PORT") from error


def _read(status: int, told: str) -> Any:
    content: Any = None
    try:
        content = json.loads(told) if told else None
    except (ValueError, RecursionError):
        if status < 400:
            raise WorkerError("server: it answers, and not as Marotte does") from None
    if status >= 400:
        error = content.get("error") if isinstance(content, dict) else None
        message = error.get("message") if isinstance(error, dict) else told[:200] or f"status {status}"
        raise ConfigError(f"server: {' '.join(str(message).split())}")
    return content
