"""Sources as a worker keeps them: found once, and shared by the sessions that show them."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePath

import cv2
import numpy as np

from engine.coach.reading import measure
from engine.denied import refuse, report
from engine.errors import DecodeError, InputError, WorkerError
from engine.media import Limits, VideoReader, decode_picture, resize_within
from engine.media.header import kind_of
from engine.media.planes import i420_of
from engine.media.wording import one_line
from engine.parsing.files import decode_labels, fitted_labels
from engine.plug import Prepared
from engine.several import telling_shape
from engine.source import MAX_SIDE, MIN_SCORE, Detector, Segmenter, best_frame, sources_from_picture
from engine.types import U8, Face, FaceShape, Frame, Mode, Source
from engine.worker.interface import SourceInfo
from engine.worker.pictures import Picture, Pictures, one_person, parted

PICTURES = Limits(pixels=64_000_000, file_bytes=32 << 20)
CLIPS = Limits(pixels=8192 * 4320, side=8192, file_bytes=32 << 20)
"""What is read of what somebody sends in."""

KEPT = 12
"""Sources that no session shows and that are kept all the same, the last used ones: more than who asks for them
remembers, so that this bound is met only where nobody drops any."""

_LABELLED = b"marotte: a picture and its labels\n"
_LENGTH_BYTES = 8
_LONGEST_NAME = 120
_MAGIC_BYTES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A source that was found. faces: those of its picture, main face first. prepared: what each bundle made of it in
    each mode so far, or why it cannot; see Preparing."""

    info: SourceInfo
    faces: tuple[Source, ...]
    prepared: dict[tuple[str, Mode], tuple[Prepared, ...] | Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """What one session has at hand: the source that it shows, and the donors of its edit."""

    source: Ready
    donors: tuple[Ready, ...] = ()

    @property
    def all(self) -> tuple[Ready, ...]:
        return (self.source, *self.donors)


class Finder:
    """From bytes to a source. Not for several threads at once. side: longest side of the picture in pixels."""

    def __init__(self, detector: Detector, segmenter: Segmenter | None, *, side: int, faces: int) -> None:
        self._detector, self._segmenter = detector, segmenter
        self._side, self._faces = side, faces

    def find(self, data: bytes, name: str, go_on: Callable[[], None]) -> Ready:
        """go_on: called every now and then; what it raises ends the search.

        Raises InputError (DecodeError, TooLargeError, TooSmallError, NoFaceError), or what a network raises.
        """
        name, whole = shown_name(name), data
        if (several := parted(data, name)) is not None:
            return self._person(several, id_of(whole), name, go_on)
        PICTURES.check_bytes(name, len(data))
        data, given = _parted(data)
        labels = None if given is None else decode_labels(given, f"labels of {name}")
        stored = self._picture(data, name, go_on)
        refuse(stored, name, sums=(id_of(whole), id_of(data)))
        rgb = fitted(stored, self._side)
        if labels is not None:
            labels = fitted_labels(labels, stored.shape[1], stored.shape[0], name)
            labels = fitted_labels(labels, rgb.shape[1], rgb.shape[0], name)
            labels.setflags(write=False)
        go_on()
        detector = _Counting(self._detector)
        sources = sources_from_picture(
            rgb, detector, self._segmenter, name=name, faces=self._faces, labels=labels
        )
        report(sources[0].face, id_of(whole))
        return _ready(id_of(whole), name, sources, detector.sure)

    def _person(self, given: Pictures, known_as: str, name: str, go_on: Callable[[], None]) -> Ready:
        """One source of several pictures."""
        named = tuple(Picture(shown_name(one.name), one.data) for one in given.pictures)
        person = one_person(Pictures(named, given.accept), self._look, go_on)
        report(person.source.face, known_as)
        go_on()
        ready = _ready(known_as, name, (person.source,))
        info = dataclasses.replace(ready.info, notes=person.notes, pictures=person.pictures)
        return dataclasses.replace(ready, info=info)

    def _look(self, picture: Picture) -> tuple[U8, Callable[[], tuple[Source, FaceShape]]]:
        """See engine.worker.pictures.Look."""
        name = picture.name
        PICTURES.check_bytes(name, len(picture.data))
        if kind_of(picture.data[:_MAGIC_BYTES]) is None:
            raise DecodeError(
                f"{name}: expected a photo; several files are photos of one person, and a clip is taken alone"
            )
        large = resize_within(decode_picture(picture.data, name, PICTURES), MAX_SIDE)
        refuse(large, name, sums=(id_of(picture.data),))
        rgb = fitted(large, self._side)

        def found() -> tuple[Source, FaceShape]:
            source = sources_from_picture(rgb, self._detector, self._segmenter, name=name)[0]
            return source, telling_shape(large, source, self._detector)

        return rgb, found

    def _picture(self, data: bytes, name: str, go_on: Callable[[], None]) -> U8:
        if kind_of(data[:_MAGIC_BYTES]) is not None:
            return decode_picture(data, name, PICTURES)
        with closing(VideoReader(name, CLIPS, data=data)) as clip:
            return best_frame(_watched(clip, go_on), self._detector, clip.name)


class _Counting:
    """A detector that knows how many faces it found last, those that surely are some."""

    def __init__(self, detector: Detector) -> None:
        self._detector, self.sure = detector, 0

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        found = self._detector.detect(rgb, thorough=thorough, passes=passes)
        self.sure = sum(face.score >= MIN_SCORE for face in found)
        return found


def _ready(known_as: str, name: str, sources: tuple[Source, ...], seen: int = 1) -> Ready:
    rgb = sources[0].rgb
    still = i420_of(rgb)
    still.setflags(write=False)
    size = (rgb.shape[1], rgb.shape[0])
    try:
        measures = measure(rgb, sources[0].face.points)
    except InputError:  # a face that cannot be measured can still be refused, or moved, by others
        measures = None
    return Ready(SourceInfo(known_as, name, size, len(sources), still, measures=measures, seen=seen), sources)


def _watched(frames: Iterable[Frame], go_on: Callable[[], None]) -> Iterator[Frame]:
    for frame in frames:
        go_on()
        yield frame


def with_labels(picture: bytes, labels: bytes) -> bytes:
    """A picture's file and that of its labels as the bytes of one source."""
    return _LABELLED + len(picture).to_bytes(_LENGTH_BYTES, "big") + picture + labels


def _parted(data: bytes) -> tuple[bytes, bytes | None]:
    """The picture and, where there are any, its labels."""
    if not data.startswith(_LABELLED):
        return data, None
    start = len(_LABELLED) + _LENGTH_BYTES
    end = start + int.from_bytes(data[start - _LENGTH_BYTES : start], "big")
    return data[start:end], data[end:]


def without_labels(data: bytes) -> bytes:
    """The picture's own file."""
    return _parted(data)[0]


def id_of(data: bytes) -> str:
    """What a source is called: SHA-256 (hex) of its bytes."""
    return hashlib.sha256(data).hexdigest()


def shown_name(name: str) -> str:
    """A name from outside as it may stand in a message: one line, no folders, not longer than a line."""
    return one_line(PurePath(name[-4 * _LONGEST_NAME :]).name[:_LONGEST_NAME]) or "upload"


def fitted(rgb: U8, side: int) -> U8:
    """The picture (H, W, 3) with both sides even, the longer one at most `side`: shrunk, never enlarged."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2))
    if scale == 1.0:  # a row less costs nothing, another grid would blur
        return np.ascontiguousarray(rgb[: size[1], : size[0]])
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


class Sources:
    """The found sources by id. For any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._ready: OrderedDict[str, Ready] = OrderedDict()
        self._shown: dict[str, int] = {}
        self._kept = kept

    def add(self, ready: Ready) -> None:
        """Keep a source as the last used one."""
        with self._lock:
            self._ready[ready.info.id] = ready
            self._ready.move_to_end(ready.info.id)
            self._forget()

    def again(self, source: str, name: str) -> SourceInfo | None:
        """A source that is here already, under the name it has now."""
        with self._lock:
            ready = self._ready.get(source)
            if ready is None:
                return None
            self._ready.move_to_end(source)
            return dataclasses.replace(ready.info, name=shown_name(name))

    def show(self, sources: Sequence[str]) -> Cast:
        """A source and donors for a session: they stay until `unshow`. Raises WorkerError when one is not here."""
        with self._lock:
            ready = [self._ready.get(source) for source in sources]
            found = [one for one in ready if one is not None]
            if len(found) < len(ready):
                raise WorkerError("source: it is not known here (any more); add it again")
            for source in sources:
                self._ready.move_to_end(source)
                self._shown[source] = self._shown.get(source, 0) + 1
            return Cast(found[0], tuple(found[1:]))

    def unshow(self, cast: Cast) -> None:
        """A session no longer shows them."""
        with self._lock:
            for ready in cast.all:
                left = self._shown.pop(ready.info.id, 0) - 1
                if left > 0:
                    self._shown[ready.info.id] = left
            self._forget()

    def drop(self, source: str) -> None:
        """Forget a source, unless a session shows it."""
        with self._lock:
            if source not in self._shown:
                self._ready.pop(source, None)

    def forget(self, bundle: str) -> None:
        """What this bundle made of them; it is not offered any more."""
        with self._lock:
            for ready in self._ready.values():
                for kind in [kind for kind in ready.prepared if kind[0] == bundle]:
                    ready.prepared.pop(kind, None)

    def _forget(self) -> None:
        idle = [source for source in self._ready if source not in self._shown]
        for source in idle[: max(0, len(idle) - self._kept)]:
            del self._ready[source]
