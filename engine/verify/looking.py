"""One file through all the readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from engine.errors import ConfigError, MarotteError, ProvenanceError
from engine.media import PICTURE_LIMITS, VIDEO_LIMITS, Limits, MediaReader, open_media
from engine.media.planes import i420_of
from engine.media.wording import one_line
from engine.types import U8
from engine.verify.badges import MeanPicture, find_badge
from engine.verify.verdict import ConsentSeen, Status, Verdict, WatermarkSeen
from engine.watermark import ENGINE, Detector, Found, open_detector
from engine.watermark.found import LEAST_CHANCE

Progress = Callable[[int, int | None], None]
_WINDOW_S: Final = 5.0
_MOST_FRAMES: Final = 150  # of a window
_MOST_SIDE: Final = 2160  # the shorter one: what is larger is looked at at this size


@dataclass(frozen=True, slots=True)
class Asked:
    """How a file is looked at. windows: how many stretches of five seconds, from its beginning on; 0 is all of it.
    anchors: PEM of certificates that are trusted besides the library's own. state: the folder with records of consent,
    None for this installation's; records: whether it is looked into. pictures, videos: limits on what is read."""

    windows: int = 6
    anchors: str = ""
    state: Path | None = None
    records: bool = True
    pictures: Limits = PICTURE_LIMITS
    videos: Limits = VIDEO_LIMITS

    def __post_init__(self) -> None:
        if not 0 <= self.windows <= 100_000:
            raise ConfigError(f"windows: got {self.windows}, expected 0 (all of it) to 100000")


def verify(
    path: Path | str, asked: Asked | None = None, *, name: str = "", progress: Progress | None = None
) -> Verdict:
    """What is found in a picture or video. name: how it is called in the verdict. progress: frames done, and of how
    many. A file that cannot be read is a verdict too; raises only what this installation is at fault for."""
    asked, path = asked or Asked(), Path(path)
    begun = Verdict(one_line(name or path.name), Status.NONE)
    try:
        with open_media(path, asked.pictures, asked.videos) as media:
            found = _pictured(begun, media, asked, progress)
    except MarotteError as error:
        return replace(begun, status=Status.UNREADABLE, why=str(error))
    return _consented(_provenance(found, path, asked), asked).judged()


def _pictured(verdict: Verdict, media: MediaReader, asked: Asked, progress: Progress | None) -> Verdict:
    """What is in the picture itself: badge and watermark."""
    step = max(1, int(np.ceil(float(media.rate) * _WINDOW_S / _MOST_FRAMES)))
    mean, windows = MeanPicture(), []
    detector: Detector | None = None
    first_s, last_s, frames = None, 0.0, 0
    ends = 0.0
    for number, frame in enumerate(media):
        first_s = frame.time_s if first_s is None else first_s
        last_s = frame.time_s - first_s
        if asked.windows and last_s >= asked.windows * _WINDOW_S:
            break
        if progress is not None:
            progress(number + 1, _total(media, asked))
        if number % step:
            continue
        if detector is not None and last_s >= ends:
            windows.append(detector.result())
            detector = None
        if detector is None:
            detector, ends = open_detector(), (last_s // _WINDOW_S + 1) * _WINDOW_S
        luma = luma_of(frame.rgb)
        detector.add(luma)
        mean.add(luma)
        frames += 1
    if detector is not None:
        windows.append(detector.result())
    return replace(
        verdict,
        kind="picture" if media.still else "video",
        size=media.size,
        frames=frames,
        seconds=0.0 if media.still else round(last_s, 2),
        badge=find_badge(mean.picture()) if frames else None,
        watermark=_watermark(windows) if windows else None,
    )


def _total(media: MediaReader, asked: Asked) -> int | None:
    most = int(asked.windows * _WINDOW_S * float(media.rate)) if asked.windows else None
    known = [one for one in (media.frame_count, most) if one]
    return min(known) if known else None


def luma_of(rgb: U8) -> U8:
    """Y of a picture, uint8 (H, W): of even sides, and no larger than is looked at."""
    height, width = rgb.shape[:2]
    rgb = rgb[: height & ~1, : width & ~1]
    if min(rgb.shape[:2]) > _MOST_SIDE:
        ratio = _MOST_SIDE / min(rgb.shape[:2])
        size = round(rgb.shape[1] * ratio / 2) * 2, round(rgb.shape[0] * ratio / 2) * 2
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(i420_of(np.ascontiguousarray(rgb))[: rgb.shape[0]])


def _watermark(windows: list[Found]) -> WatermarkSeen:
    """Of all windows. Each one's probability bounds that one; any of them may be the one by chance, so their number is
    a factor, and what the test of one window passed may be too likely for so many."""
    best = min(windows, key=lambda one: one.probability_of_chance)
    marked = [
        one for one in windows if one.present and one.probability_of_chance * len(windows) < LEAST_CHANCE
    ]
    read = next((one for one in marked if one.payload is not None), None)
    payload = None if read is None else read.payload
    chance = min(1.0, best.probability_of_chance * len(windows))
    if payload is None:
        return WatermarkSeen(
            bool(marked), chance, len(windows), len(marked), bits_sure=best.bits_sure, mirrored=best.mirrored
        )
    return WatermarkSeen(
        True,
        chance,
        len(windows),
        len(marked),
        payload.engine,
        payload.engine == ENGINE,
        f"{payload.session:08x}",
        payload.date.isoformat(),
        None if read is None else read.bits_sure,
        best.mirrored,
    )


def _provenance(verdict: Verdict, path: Path, asked: Asked) -> Verdict:
    from engine import provenance

    if not provenance.available():
        return replace(verdict, c2pa="not read", why="C2PA is not installed: pip install 'marotte[c2pa]'")
    try:
        manifest = provenance.read(path, asked.anchors)
    except ProvenanceError as error:
        return replace(verdict, c2pa="not read", why=str(error))
    if manifest is None:
        return verdict
    return replace(verdict, c2pa=manifest.state, manifest=manifest)


def _consented(verdict: Verdict, asked: Asked) -> Verdict:
    if verdict.manifest is None or not asked.records:
        return verdict
    from engine.consent import Store, fault
    from engine.consent.shipped import shipped

    store, found = Store(asked.state), []
    own = {record.id: record for record in shipped().values()}
    for one in verdict.manifest.consent:
        record = own.get(one) or store.get(one)
        if record is None:
            said = "no record of it lies here"
        else:
            why = fault(record, "render", store, datetime.now(UTC))
            said = "its record lies here and holds" if why is None else f"its record lies here and {why}"
        found.append(ConsentSeen(one, said))
    return replace(verdict, consent=tuple(found))
