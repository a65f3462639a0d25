"""A driver's packets of sound on a recording's own time line: PCM without gaps, each moment where its picture is."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.codec.context import CodecContext
from numpy.typing import NDArray

RATE = 48_000
CHANNELS = 2
DEAD_S = 0.001
"""A packet that is off by less is laid where the one before ended."""
FAR_S = 0.06
"""One that is off by more is not stretched towards its place: silence goes before it, or its beginning is cut."""
STRETCH = 0.05
"""Most by which a packet is made longer or shorter: as quickly as streaming.sound puts packets off."""

Samples = NDArray[np.float32]
"""(channels, n), -1 .. 1."""


class TimeLine:
    """Opus in, samples out, one after the other from time 0 on. One thread at a time."""

    def __init__(self) -> None:
        self._decoder = _decoder()
        self._end = 0

    @property
    def end_s(self) -> float:
        """How far there are samples."""
        return self._end / RATE

    def packet(self, payload: bytes, at_s: float) -> Samples:
        """What is to be appended for a packet whose sound begins at at_s. One that cannot be decoded is silence."""
        pcm = self._decoded(payload)
        off = round(at_s * RATE) - self._end
        if abs(off) > FAR_S * RATE:
            pcm = _silence(off, pcm) if off > 0 else pcm[:, min(-off, pcm.shape[1]) :]
        elif abs(off) > DEAD_S * RATE and pcm.shape[1] > 1:
            most = int(STRETCH * pcm.shape[1])
            pcm = _stretched(pcm, pcm.shape[1] + max(-most, min(most, off)))
        self._end += pcm.shape[1]
        return pcm

    def silence(self, until_s: float) -> Samples:
        """What is to be appended where nothing came until then."""
        missing = max(0, round(until_s * RATE) - self._end)
        self._end += missing
        return np.zeros((CHANNELS, missing), np.float32)

    def _decoded(self, payload: bytes) -> Samples:
        try:
            frames = self._decoder.decode(av.Packet(payload))
        except av.FFmpegError:
            self._decoder = _decoder()
            return np.zeros((CHANNELS, 0), np.float32)
        planes = [frame.to_ndarray().reshape(-1, CHANNELS).T for frame in frames]
        if not planes:
            return np.zeros((CHANNELS, 0), np.float32)
        pcm = np.concatenate(planes, axis=1).astype(np.float32)
        return np.ascontiguousarray(pcm / np.float32(32768))


def _decoder() -> Any:
    context: Any = CodecContext.create("libopus", "r")
    context.format, context.layout, context.sample_rate = "s16", "stereo", RATE
    return context


def _silence(samples: int, pcm: Samples) -> Samples:
    return np.concatenate([np.zeros((CHANNELS, samples), np.float32), pcm], axis=1)


def _stretched(pcm: Samples, samples: int) -> Samples:
    """Of another length, by lines between the samples."""
    places = np.linspace(0, pcm.shape[1] - 1, samples)
    known = np.arange(pcm.shape[1])
    return np.stack([np.interp(places, known, channel) for channel in pcm]).astype(np.float32)
