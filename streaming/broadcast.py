"""A session's pictures on their way to all who watch it: encoded once for each rung that anybody is on.

docs/decisions/0008-encoded-once.md says why.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import av

from streaming.ladder import HEADROOM, LEAST_PART, Climber, Rung, Way, rungs
from streaming.reports import Tally
from streaming.rung_encoder import Newest, RungEncoder
from streaming.tracks import Encoded, EncodedTrack

FILLED = 0.9
"""A way that is said to carry less than so much of what is sent is too narrow. Receivers do not say more than they have
seen: of a picture at rest, which takes few bits, nothing follows."""

_FIRST_SIZE = (640, 480)


class Broadcast:
    """Stands between a session's outlet and its viewers. `show` and `end` may be called from any thread, the rest from
    the event loop that it was made on.

    encoder: as streaming.codecs.kind_of takes it. killed: as streaming.session.Session has it; nothing comes in then.
    """

    def __init__(
        self,
        session: str,
        tally: Tally,
        encoder: str = "software",
        killed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._tally = tally
        self._encoder, self._killed = encoder, killed
        self._loop = asyncio.get_running_loop()
        self.newest = Newest()
        """What its encoders take from, and whoever keeps it (streaming.recording)."""
        self._size = _FIRST_SIZE
        self._ladder = rungs(*_FIRST_SIZE)
        self._watches: list[Watch] = []
        self._running: dict[tuple[str, int], RungEncoder] = {}
        self._former: list[RungEncoder] = []
        self._over = False

    def show(self, frame: av.VideoFrame, left: Callable[[], None] | None = None) -> bool:
        """As streaming.tracks.Pictures."""
        if self._killed():
            return False
        size = frame.width, frame.height
        if size != self._size:
            self._size = size
            self._soon(lambda: self._stand_anew(size))
        return self.newest.put(frame, left)

    @property
    def watched(self) -> bool:
        """Whether anybody is shown it, or keeps it."""
        return bool(self._watches) or self.newest.taken

    def end(self) -> None:
        """Let nothing out from now on, not even what waits."""
        self.newest.end()
        self._over = True
        for watch in tuple(self._watches):
            watch.track.over = True
        self._soon(self._end_tracks)

    def join(self) -> None:
        """Wait for the end of every encoder's thread, after `end`; not on the event loop."""
        for encoder in [*self._running.values(), *self._former]:
            encoder.join()

    def watch(self, codec: str) -> Watch:
        """One viewer more, of "vp8" or "h264". Nothing is encoded for it before its sender asks."""
        watch = Watch(codec, self._ladder, self._tally, self._join, self._place, self._part)
        if self._over:
            watch.track.end()
        return watch

    def _soon(self, work: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop is closed: nobody watches
            return

    def _end_tracks(self) -> None:
        for watch in list(self._watches):
            watch.track.end()
        for encoder in self._running.values():
            encoder.end()

    def _join(self, watch: Watch) -> None:
        if not self._over:
            watch.stand_on(self._ladder)  # which may be another one by now
            self._watches.append(watch)
            self._place(watch)

    def _place(self, watch: Watch) -> None:
        """Have it get what its choice says, and no encoder run that nobody watches."""
        if watch not in self._watches or self._over:
            return
        encoder = self._encoder_of(watch.codec, watch.choice.rung)
        if watch.encoder is not encoder:
            watch.turn(encoder)
        self._tune()

    def _part(self, watch: Watch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)
            self._tune()

    def _encoder_of(self, codec: str, number: int) -> RungEncoder:
        found = self._running.get((codec, number))
        if found is None:
            found = self._running[codec, number] = RungEncoder(
                f"{self._session} {codec} {number}",
                codec,
                number,
                self._ladder[number],
                self.newest,
                self._tally,
                self._made,
                self._encoder,
            )
        return found

    def _made(self, encoder: RungEncoder, picture: Encoded) -> None:
        given = sum(watch.take(encoder, picture) for watch in self._watches)
        if given:
            self._tally.pictures_given(encoder.codec, given)
        if picture.key:
            self._tune()

    def _tune(self) -> None:
        """Each encoder sends what the slowest of those who are on it, or on their way to it, can take."""
        self._former = [encoder for encoder in self._former if encoder.alive]
        for place, encoder in list(self._running.items()):
            bits = [watch.choice.bits for watch in self._watches if watch.encoder is encoder]
            if bits:
                encoder.aim(min(bits))
            elif not any(watch.leaving is encoder for watch in self._watches):
                encoder.end()
                self._former.append(self._running.pop(place))

    def _stand_anew(self, size: tuple[int, int]) -> None:
        """The pictures have another size, and with it another ladder."""
        self._ladder = ladder = rungs(*size)
        for (_, number), encoder in self._running.items():
            encoder.rung = ladder[min(number, len(ladder) - 1)]
        for watch in list(self._watches):
            watch.stand_on(ladder)


def start_bits(ladder: tuple[Rung, ...]) -> int:
    """What a viewer begins with whose way is not known."""
    return round(ladder[0].least_bits / LEAST_PART)


class Watch:
    """One viewer's place: what it gets, and what is known of the way to it. On the event loop."""

    def __init__(
        self,
        codec: str,
        ladder: tuple[Rung, ...],
        tally: Tally,
        join: Callable[[Watch], None],
        place: Callable[[Watch], None],
        part: Callable[[Watch], None],
    ) -> None:
        self.codec = codec
        self.track = EncodedTrack(lambda: join(self), self.ask_key)
        self.encoder: RungEncoder | None = None
        """Whose pictures it gets, or will from the next key frame on."""
        self.leaving: RungEncoder | None = None
        """Whose it gets until then."""
        self._place = place
        self._part = part
        self._climber = Climber(ladder)
        self._ladder = ladder
        self._estimate: int | None = None
        self._round_trip_s: float | None = None
        self._jitter_s = 0.0
        self._loss: float | None = None
        self.choice = self._climber.step(Way(), None, time.monotonic())

    def estimated(self, bits: int) -> None:
        """The viewer, or whoever measures it, says that the way carries so many bits per second."""
        self._estimate = bits
        self._step(None)

    def reported(self, loss: float, jitter_s: float, round_trip_s: float | None) -> None:
        """A receiver report came. loss: share of packets since the last one, 0 .. 1."""
        self._loss, self._jitter_s, self._round_trip_s = loss, jitter_s, round_trip_s
        self._step(loss)

    def ask_key(self) -> None:
        """It needs a key frame."""
        for encoder in (self.encoder, self.leaving):
            if encoder is not None:
                encoder.ask_key()

    def end(self) -> None:
        """It watches no more."""
        self.track.end()
        self._part(self)

    def report(self) -> dict[str, Any]:
        """What docs/live.md says of one viewer."""
        fps, kbps = self.track.rates()
        return {
            "codec": self.codec,
            "size": None if self.track.size is None else list(self.track.size),
            "fps": fps,
            "kbps": kbps,
            "rung": self.choice.rung,
            "why": self.choice.why or None,
            "round_trip_ms": None if self._round_trip_s is None else round(self._round_trip_s * 1000, 2),
            "loss": self._loss,
        }

    def turn(self, encoder: RungEncoder) -> None:
        """For the broadcast: go on with another encoder's pictures."""
        self.leaving = self.leaving or self.encoder
        self.encoder = encoder
        if self.leaving is encoder:
            self.leaving = None
        self.track.turn(encoder)
        encoder.ask_key()

    def take(self, encoder: RungEncoder, picture: Encoded) -> bool:
        """For the broadcast: whether it gets this one."""
        given = self.track.give(encoder, picture)
        if given and encoder is self.encoder:
            self.leaving = None
        return given

    def stand_on(self, ladder: tuple[Rung, ...]) -> None:
        """For the broadcast: the ladder is another one."""
        held_back = self.choice.bits < start_bits(self._ladder)
        self._climber = Climber(ladder, self.choice.bits if held_back else None)
        self._ladder = ladder
        self._step(None)

    def _step(self, loss: float | None) -> None:
        way = Way(self._told_width(), loss, self._round_trip_s, self._jitter_s)
        encode_s = None if self.encoder is None or self.leaving else self.encoder.encode_s
        self.choice = self._climber.step(way, encode_s, time.monotonic())
        self._place(self)

    def _told_width(self) -> int | None:
        estimate = self._estimate
        if estimate is None or estimate < FILLED * 1000 * self.track.rates()[1]:
            return estimate
        return max(estimate, math.ceil(self.choice.bits / HEADROOM))
