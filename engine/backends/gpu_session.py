"""What ONNX Runtime's providers on an NVIDIA GPU share: a session on a stream of its own, which the device can time."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from engine.backends.cuda import Cuda, Stream, allocating, open_runtime
from engine.backends.onnxruntime import DeviceGraph, Place, Provider, device_session
from engine.errors import BackendError

Add = Callable[[Any, bool], Sequence[Provider]]
"""As of device_session: readies session options for a provider, with or without recording."""

_log = logging.getLogger("marotte.onnxruntime")


class TimedSession:
    """A session, and what the device takes over each of its runs. stream: the one that the session works on, None where
    there is no cuda-python: nothing is measured then. timed, device_ms: as of GpuGraph."""

    def __init__(self, session: Any, stream: Stream | None) -> None:
        self._session, self._stream = session, stream
        self.timed = False
        self.device_ms: float | None = None

    def run_with_iobinding(self, binding: Any) -> None:
        """By events on the stream, right before and right after: copies to and from the host are not in between."""
        self.device_ms = None
        if not self.timed or self._stream is None:
            self._session.run_with_iobinding(binding)
            return
        with ExitStack() as stack:
            before = self._stream.event()
            stack.callback(before.close)
            self._session.run_with_iobinding(binding)
            after = self._stream.event()
            stack.callback(after.close)
            self._stream.wait()
            self.device_ms = before.ms_until(after)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class GpuGraph(DeviceGraph):
    """A session on the first GPU. exact: float32 all through, where the provider could do with less. timed: measure
    what the device itself takes. device_ms: the same of the last run, None where it was not measured.

    Raises BackendError as the provider's `check` does, and where the graph is refused.
    """

    name: ClassVar[str]
    place: ClassVar[Place]

    def __init__(
        self,
        path: Path,
        threads: int,
        wanted: tuple[str, ...] | None,
        data: bytes | None = None,
        *,
        exact: bool = True,
        checked: bool = True,
    ) -> None:
        if checked:
            self.check()
        with ExitStack() as opened:
            if (stream := _stream(self.name)) is not None:
                opened.callback(stream.close)
            provider, add = self.provider({} if stream is None else on_stream(stream), exact=exact)

            def session_of(file: bytes | None) -> tuple[Any, bool]:
                return device_session(path, file, threads, self.name, add, provider)

            with allocating:
                session, captured = self.opened(session_of, path, data, keep=checked)
                self._running = TimedSession(session, stream)
                super().__init__(self.name, self._running, self.place, wanted, captured=captured)
            self._closing = opened.pop_all()

    @staticmethod
    @abstractmethod
    def check() -> None:
        """Raises BackendError unless a small network really runs on the GPU."""

    @abstractmethod
    def provider(self, stream: dict[str, str], *, exact: bool) -> tuple[str, Add]:
        """Its name, and what readies session options for it. stream: options that name the stream."""

    def opened(
        self,
        session_of: Callable[[bytes | None], tuple[Any, bool]],
        path: Path,
        data: bytes | None,
        *,
        keep: bool,
    ) -> tuple[Any, bool]:
        """The session, and whether it is recorded. keep: what is compiled may be kept for the next start."""
        return session_of(data)

    @property
    def timed(self) -> bool:
        return self._running.timed

    @timed.setter
    def timed(self, wanted: bool) -> None:
        self._running.timed = wanted

    @property
    def device_ms(self) -> float | None:
        return self._running.device_ms

    @device_ms.setter
    def device_ms(self, value: float | None) -> None:
        self._running.device_ms = value

    def close(self) -> None:
        """See Graph.close."""
        super().close()
        self._running = TimedSession(None, None)
        self._closing.close()  # its stream outlives the session


def on_stream(stream: Stream) -> dict[str, str]:
    """Options by which both providers take a stream of somebody else's."""
    return {"has_user_compute_stream": "1", "user_compute_stream": str(stream.handle)}


def _stream(backend: str) -> Stream | None:
    try:
        return Stream(Cuda(open_runtime()))
    except BackendError as error:
        _log.info("%s tells no times of the device: %s", backend, str(error))
        return None
