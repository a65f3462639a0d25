"""The moving sample: the shipped portrait, moved by the demo driver, as a clip."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from engine.consent.doors import permit
from engine.errors import ConfigError
from engine.marks import Marks, MarksConfig
from engine.media import open_writer
from engine.puppet import Opening, load, open_session
from engine.render import Progress, Tally, write_frames
from engine.sample import sample_portrait
from engine.sample.demo import DemoTracker, demo_frames
from engine.sample.script import DURATION_S

_RATE = 30
_TIME_BASE = Fraction(1, 90000)


def play_sample(
    out: Path, *, backend: str = "auto", cache: Path | None = None, progress: Progress | None = None
) -> Tally:
    """Render one performance to `out`; its folder is made. Raises MarotteError, as engine.render.render does."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out.parent} cannot be made ({error.strerror}); name another place") from error
    permit("render", [sample_portrait()])
    opening = Opening(backend, cache=cache)
    loaded = load(sample_portrait(), opening)
    height, width = loaded.sources[0].rgb.shape[:2]
    tally = Tally()
    with ExitStack() as opened:
        session = open_session(loaded, opening, DemoTracker(), opened)
        marks = Marks.of((width, height), MarksConfig(), "sample")
        writer = opened.enter_context(
            open_writer(out, (width, height), _TIME_BASE, Fraction(_RATE), marks=marks)
        )
        loaded.announce()
        write_frames(tally, session, demo_frames(rate=_RATE), writer, round(DURATION_S * _RATE), progress)
    return tally
