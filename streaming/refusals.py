"""Requests that are turned away."""

from __future__ import annotations

from collections.abc import Mapping


class RefusedError(Exception):
    """A request that gets a status and one line. reason: as Recorder.refused counts it. headers: what its answer says
    besides."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        reason: str = "request",
        wait_s: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.reason, self.wait_s = status, kind, reason, wait_s
        self.headers = headers or {}


def busy(message: str, wait_s: int = 1) -> RefusedError:
    """429: try again later."""
    return RefusedError(429, "BusyError", message, "busy", wait_s)


def no_token() -> RefusedError:
    """401: nobody says who asks."""
    return RefusedError(401, "TokenError", "open the address that marotte printed, with its token", "token")
