"""Both marks together, on planes and on pictures of any size, in files; and what is written down where one is off."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.errors import StateError
from engine.marks import Marks, MarksConfig, SessionMarks, lowering
from engine.marks.badge import Badge
from engine.marks.files import session_of, write_marked
from engine.media import open_writer, read_picture
from engine.media.planes import i420_of
from engine.session_log import Event
from engine.types import U8, Frame, Mode
from engine.watermark import Found, Payload, open_detector

BADGE, WATERMARK = MarksConfig(watermark=False), MarksConfig(badge=False)


def noise(size: tuple[int, int], seed: int = 1) -> U8:
    """RGB (H, W, 3), softly patterned, as skin and cloth are."""
    width, height = size
    rough = np.random.default_rng(seed).integers(
        70, 190, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8
    )
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def luma(rgb: U8) -> U8:
    height, width = (side & ~1 for side in rgb.shape[:2])
    planes = cv2.cvtColor(np.ascontiguousarray(rgb[:height, :width]), cv2.COLOR_RGB2YUV_I420)
    return np.ascontiguousarray(planes[:height])


def found_in(*lumas: U8) -> Found:
    detector = open_detector()
    for one in lumas:
        detector.add(one)
    return detector.result()


def test_planes_get_both_in_place() -> None:
    """The badge in its box, the watermark all over, and not so strong that it is seen."""
    planes = i420_of(noise((320, 240)))
    before = planes.copy()
    Marks.of((320, 240), MarksConfig(), "mine").compose(planes)
    x0, y0, x1, y1 = Badge((320, 240)).box
    change = planes[:240].astype(int) - before[:240]
    assert np.abs(change[y0:y1, x0:x1]).max() > 50
    change[y0:y1, x0:x1] = 0
    assert 0 < np.abs(change).max() < 20
    assert np.count_nonzero(change) > change.size / 3
    found = found_in(planes[:240].copy())
    assert found.present
    assert found.payload == Payload.of("mine")


@pytest.mark.parametrize("size", [(320, 240), (321, 243)])
def test_a_picture_gets_both_as_a_copy(size: tuple[int, int]) -> None:
    """Odd sides too; its colours stay, but for their brightness."""
    rgb = noise(size)
    given = rgb.copy()
    marked = Marks.of(size, MarksConfig(), "mine").compose_rgb(rgb)
    assert np.array_equal(rgb, given)
    assert marked.shape == rgb.shape
    found = found_in(luma(marked))
    assert found.payload == Payload.of("mine")
    only = Marks.of(size, WATERMARK, "mine").compose_rgb(rgb).astype(int) - rgb
    inside = (rgb > 25).all(axis=2) & (rgb < 230).all(axis=2)
    assert np.ptp(only[inside], axis=1).max() == 0


def test_what_is_off_is_not_there() -> None:
    """Each by itself, and without both the picture is the picture."""
    rgb, size = noise((320, 240)), (320, 240)
    x0, y0, x1, y1 = Badge(size).box
    badge = Marks.of(size, BADGE, "x").compose_rgb(rgb)
    badge[y0:y1, x0:x1] = rgb[y0:y1, x0:x1]
    assert np.array_equal(badge, rgb)
    watermark = Marks.of(size, WATERMARK, "x").compose_rgb(rgb)
    assert np.abs(watermark.astype(int) - rgb).max() < 25
    none = Marks.of(size, MarksConfig(badge=False, watermark=False), "x")
    assert np.array_equal(none.compose_rgb(rgb), rgb)
    planes = i420_of(rgb)
    none.compose(planes)
    assert np.array_equal(planes, i420_of(rgb))
    assert not found_in(luma(rgb)).present


def test_a_fade_between_two_marked_pictures_is_marked() -> None:
    """What a viewer is shown while a picture turns into another: both marks, and the same payload."""
    marks = Marks.of((320, 240), MarksConfig(), "mine")
    one, other = i420_of(noise((320, 240), 1)), i420_of(noise((320, 240), 2))
    marks.compose(one)
    marks.compose(other)
    mixed = cv2.addWeighted(one, 0.5, other, 0.5, 0.0)
    assert found_in(np.ascontiguousarray(mixed[:240])).payload == Payload.of("mine")


def test_another_size_is_refused() -> None:
    """Nothing is marked somewhere else than the marks were made for."""
    marks = Marks.of((320, 240), BADGE, "x")
    with pytest.raises(ValueError, match="planes of shape"):
        marks.compose(i420_of(noise((240, 320))))
    with pytest.raises(ValueError, match="picture of shape"):
        marks.compose_rgb(noise((240, 320)))


def test_a_session_keeps_its_marks_by_size_and_mode() -> None:
    """They are drawn once; of a cut the badge takes to its new ground at once."""
    made = SessionMarks("mine", MarksConfig(words=True))
    first = made.of((320, 240), Mode.PUPPET)
    assert made.of((320, 240), Mode.PUPPET) is first
    assert made.of((320, 240), Mode.EDIT) is not first
    assert made.of((160, 120), Mode.PUPPET) is not first
    wordless = SessionMarks("mine", MarksConfig())
    assert wordless.of((320, 240), Mode.PUPPET) is wordless.of((320, 240), Mode.EDIT)
    planes = np.full((360, 320), 20, np.uint8)
    first.compose(planes)
    bright, fresh = (np.full((360, 320), 200, np.uint8) for _ in range(2))
    made.of((320, 240), Mode.PUPPET).compose(bright)
    Marks.of((320, 240), MarksConfig(words=True), "mine", Mode.PUPPET).compose(fresh)
    assert np.array_equal(bright, fresh)


@pytest.mark.parametrize(
    ("name", "size"), [("o.mp4", (320, 240)), ("o.webm", (320, 240)), ("o.mp4", (321, 241))]
)
def test_a_video_is_marked_as_it_is_coded(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    """Frame by frame, of odd sides too, and the frames that are given stay as they are."""
    frames = [noise(size, seed) for seed in range(6)]
    given = [one.copy() for one in frames]
    tick = Fraction(1, 25)
    with open_writer(
        tmp_path / name, size, tick, 1 / tick, marks=Marks.of(size, MarksConfig(), "x")
    ) as writer:
        for number, rgb in enumerate(frames):
            writer.write(Frame(rgb, number, tick, 0.0))
    assert all(np.array_equal(one, other) for one, other in zip(frames, given))
    with av.open(str(tmp_path / name)) as file:
        shown = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    assert found_in(*map(np.ascontiguousarray, shown)).payload == Payload.of("x")


def test_a_picture_file_is_marked(tmp_path: Path) -> None:
    """A sheet as a whole; a JPEG's too."""
    for name in ("o.png", "o.jpg"):
        write_marked(tmp_path / name, noise((400, 301)), MarksConfig(), "x")
        assert found_in(luma(read_picture(tmp_path / name))).payload == Payload.of("x")


def test_the_same_render_has_the_same_session(tmp_path: Path) -> None:
    """By what it was made of and not by names, so that it is the same file on the same day."""
    one, other = tmp_path / "a.bin", tmp_path / "b.bin"
    one.write_bytes(b"somebody")
    other.write_bytes(b"somebody")
    picture = noise((16, 16))
    assert session_of("x", [one, picture]) == session_of("x", [other, picture])
    other.write_bytes(b"somebody else")
    assert len({session_of("x", [one]), session_of("x", [other]), session_of("y", [one])}) == 3


def test_one_that_is_off_is_written_down_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what leaves without it; where that cannot be kept it is an error, and with both on there is no line."""
    lines: list[tuple[Event, dict]] = []
    monkeypatch.setattr(lowering, "note_first", lambda event, **fields: lines.append((event, fields)))
    lowering.note_lowered(MarksConfig(), "render")
    assert lines == []
    lowering.note_lowered(BADGE, "render")
    assert lines == [(Event.PROTECTION_LOWERED, {"lowered": ("watermark",), "where": "render"})]

    def full(event: Event, **fields: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(lowering, "note_first", full)
    with pytest.raises(StateError):
        lowering.note_lowered(BADGE, "render")
