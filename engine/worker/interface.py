"""What passes between the network's side and the side that tracks and generates, whichever process that is in.

`LocalWorker` does the work in threads of this process; `ProcessWorker` joins a process of its own by one-slot
mailboxes, and replaces it when it hangs, stops or dies. Both are a `Worker`.

All times are seconds of `time.perf_counter`, which one machine's processes share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.batching import check_batching
from engine.config import file_path
from engine.errors import ConfigError
from engine.fallback import FallbackConfig
from engine.plans import policy
from engine.plans.policy import PlanPolicy
from engine.types import U8, FrameReport, Mode

if TYPE_CHECKING:
    from engine.coach.measures import Measures
    from engine.self_check.signs import Signs

TICKS = 90_000
"""Presentation times count in 1/90000 s, the clock of RTP video."""
TIME_BASE = Fraction(1, TICKS)

NO_MARK = -1


@dataclass(frozen=True, slots=True)
class Stamp:
    """What goes into the worker with a driver's frame and comes back on the picture rendered from that very frame.

    pts: in 1/90000 s. arrived_s: when its first packet arrived. mark: number read from the strip in the frame
    (0 .. 2**24 - 1), NO_MARK where there was none.
    """

    pts: int
    arrived_s: float
    mark: int = NO_MARK


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One picture that leaves the worker.

    planes: uint8 (H * 3 / 2, W), I420 as in engine.media.planes, sides even; the receiver's own. A puppet has its
    source's size, an edited picture the driver's, fitted to WorkerConfig.side. changes: number of the last change (see
    Worker.change) that was in force. source: id of the source that it shows. bundle, mode: what made it. camera: what
    was measured of the driver's face, beside few of the pictures a second. signs: what a self check reads of this very
    frame, while one runs and a face is there.
    """

    session: str
    planes: U8
    stamp: Stamp
    report: FrameReport
    changes: int
    source: str
    bundle: str = ""
    mode: Mode = Mode.PUPPET
    camera: Measures | None = None
    signs: Signs | None = None


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """One of the pictures that a source was made of. place: 0 is the one that is moved and shown; further ones follow
    in the order in which a system that takes fewer takes them; None: it is not used, and `why` says the reason.
    thumbnail: JPEG, a small square around its face. looks: what engine.denied.hashing makes of it, 32 bytes a hash."""

    name: str
    place: int | None
    why: str
    thumbnail: bytes
    looks: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class SourceInfo:
    """A source that was accepted. id: SHA-256 (hex) of its bytes. size: (width, height) of the picture that leaves,
    both even. faces: how many of them are moved. still: its I420 planes, what is safe to show before any frame. notes:
    what whoever gave it should know, a sentence each: it can be used, but may look odd. pictures: those that were given
    for it, in their order, where several could be. measures: of its main face. seen: how many faces are in it."""

    id: str
    name: str
    size: tuple[int, int]
    faces: int
    still: U8
    notes: tuple[str, ...] = ()
    pictures: tuple[PictureInfo, ...] = ()
    measures: Measures | None = None
    seen: int = 1


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """A bundle that is offered, and what of it the operator allows.

    name: by which a session asks for it. modes: those that it may be opened in, never none; the first one where it
    asks for none. takes_source: those of them in which sources are used, a puppet's portrait or the donors of an
    edit. aus: whether action units move it. removes: whether an edit can also take its attribute away. directions: what
    Controls.directions moves it by: name, lowest and highest strength. outputs: sides for Controls.output_size, the
    finest first; empty where there is no choice. heeds: the fields of Controls that change something. pictures: how
    many pictures of one person a puppet is made of at most; of a source that has more it takes the first ones by place.
    own: the person that it holds and moves in place of any source, of a bundle that the driver's whole body drives.
    sha256: hex, of its manifest, which names those of its graphs; None of a generator that needs no weights.
    """

    name: str
    title: str
    system: str
    licence: str
    modes: tuple[Mode, ...] = (Mode.PUPPET,)
    takes_source: frozenset[Mode] = frozenset({Mode.PUPPET})
    aus: bool = True
    removes: bool = False
    directions: tuple[tuple[str, float, float], ...] = ()
    outputs: tuple[int, ...] = ()
    heeds: tuple[str, ...] = ()
    pictures: int = 1
    own: SourceInfo | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A layout on its way to a page: see engine.types.Layout. picture: JPEG. labels: as engine/parsing/runs.py states
    them, at a side of their own."""

    picture: bytes
    labels: tuple[tuple[int, int], ...]


def held_by(bundle: str) -> str:
    """What the person that a bundle holds (BundleInfo.own) is called: no source is, whose ids are digests."""
    return f"held by {bundle}"


class DriverKind(Enum):
    """CAMERA: frames are posted. DEMO: the worker performs the scripted driver by itself, 30 frames a second. TRACKER:
    what an external tracker saw is posted, as engine.acting packs it."""

    CAMERA = "camera"
    DEMO = "demo"
    TRACKER = "tracker"


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What one session is opened with. source: id of an added source. controls, smoothing, expression, donors: as in
    `Worker.change`. bundle: name of an offered one; empty is the first. mode: None is the bundle's first. self_checks:
    how many self checks were begun so far: what one read, the next does not count."""

    source: str
    driver: DriverKind = DriverKind.CAMERA
    controls: Mapping[str, Any] = field(default_factory=dict)
    smoothing: float = 1.0
    fallback: FallbackConfig = field(default_factory=FallbackConfig)
    bundle: str = ""
    mode: Mode | None = None
    donors: tuple[str, ...] = ()
    expression: tuple[str, float] | None = None
    self_check: bool = False
    self_checks: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of everything that it is to have at hand."""
        return (self.source, *self.donors)


class State(Enum):
    """STARTING: not yet ready for the first time. READY. REPLACING: the old one is gone, the next is on its way.
    FAILED: it cannot be started (detail says why). CLOSED."""

    STARTING = "starting"
    READY = "ready"
    REPLACING = "replacing"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """state; restarts by reason ("crashed", "hung", "overdue"); detail: one line for people; pid of the process."""

    state: State
    restarts: Mapping[str, int]
    detail: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """bundles: names or folders of those that are offered, the first one unless a session asks for another. accept:
    names of the terms that the operator has accepted for them. edit: the operator asked by name that the driver's own
    picture may be edited and leave. backend, cache, faces: as in engine.puppet. side: longest side in pixels of the
    pictures that leave. sessions: most at once. spare: keep a second process ready, so that a replacement takes a
    moment and not a start. hang_s: a stage busy for longer, or a process silent for longer, counts as hung. add_s:
    longest that a source may take. driver_pixels: the operator asked by name for the driver's inner mouth and
    shading. batch: most faces, of all sessions together, that go through a bundle's graph at once; 0 is as many as the
    backend gains from, which on a CPU is one. batch_wait_s: longest that a frame waits for those of other sessions; it
    waits only for one that is expected by then, and only while it stays in time itself (docs/batching.md). body: the
    body model of bundles that move whole bodies, a file of the operator's own or engine.imitation.mesh.SYNTHETIC.
    plans: how they are come by, in whichever process the work is done: this one's own policy unless one is given."""

    bundles: tuple[str, ...] = ("mesh_flow",)
    accept: frozenset[str] = frozenset()
    edit: bool = False
    backend: str = "auto"
    cache: Path | None = None
    faces: int = 1
    side: int = 720
    sessions: int = 4
    spare: bool = True
    hang_s: float = 2.0
    add_s: float = 15.0
    driver_pixels: bool = False
    batch: int = 0
    batch_wait_s: float = 0.004
    body: Path | str | None = None
    plans: PlanPolicy = field(default_factory=policy.current)

    def __post_init__(self) -> None:
        for name, kind in (("bundles", tuple), ("accept", frozenset)):
            given = getattr(self, name)
            names = kind((given,) if isinstance(given, (str, Path)) else given)
            object.__setattr__(self, name, names)
        called = [bundle_name(bundle) for bundle in self.bundles]
        if not called or len(set(called)) < len(called):
            raise ConfigError(f"bundles: got {', '.join(called) or 'none'}; expected one or more, each once")
        if not 128 <= self.side <= 1280:
            raise ConfigError(f"side: got {self.side}, expected 128 .. 1280 pixels")
        if not 1 <= self.sessions <= 64:
            raise ConfigError(f"sessions: got {self.sessions}, expected 1 .. 64")
        check_batching(self.batch, self.batch_wait_s)
        object.__setattr__(self, "plans", policy.beside_models(self.plans, self.cache))


def bundle_name(bundle: str | Path) -> str:
    """What sessions call an offered bundle: its name, or that of its folder."""
    return file_path("bundle", bundle).resolve().name


class Worker(Protocol):
    """Every method may be called from any thread, and none but `close` blocks for longer than a copy.

    A session and a source outlive the process behind them: after a replacement they are opened again by themselves,
    with the changes made so far.
    """

    def start(self) -> None:
        """Begin to start; `status` tells when it is ready."""
        ...

    def status(self) -> WorkerStatus: ...

    def on_status(self, told: Callable[[WorkerStatus], None]) -> None:
        """Call `told` at each change of state, from a thread of the worker's."""
        ...

    def bundles(self) -> tuple[BundleInfo, ...]:
        """Those that are offered, the first one first; none before it was ready for the first time."""
        ...

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        """Open one more, a folder, beside the running sessions, and offer it from then on, also after a replacement.
        One at a time; opening may take a minute.

        The future fails with what opening it raises (BundleError, ConfigError, BackendError), and a WorkerError where
        the worker is busy with another one, away, or was lost over it.
        """
        ...

    def drop_bundle(self, name: str) -> None:
        """Offer one that was added no more. Raises ConfigError for any other, WorkerError while a session runs it."""
        ...

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        """Decode a picture (or a clip's best frame), find its faces and prepare them, beside the running sessions.

        data: of one file; a picture with its labels, or several pictures of one person, are joined by
        engine.worker.sources.with_labels and engine.worker.pictures.with_pictures. The future fails with an InputError
        (what is wrong with it) or a WorkerError (busy with another one, overdue, or away).
        """
        ...

    def drop_source(self, source: str) -> None:
        """Forget a source that no session shows."""
        ...

    def open(self, session: str, spec: SessionSpec, deliver: Callable[[Delivery], None]) -> None:
        """Open a session under a new name. `deliver` is called from one thread and must be quick. Raises WorkerError
        when there are too many, or the source is unknown."""
        ...

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        """Give the driver's newest frame, uint8 (H, W, 3), or of a driver that is a tracker uint8 (N,):
        engine.acting.packed, or engine.worker.acted.NOBODY. It replaces one that waits: the return value says whether
        it did. A session that is unknown or has another driver, or a worker that is away, drops it (returns True)."""
        ...

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        """Change a session from its next frame on; numbers count up from 1. Keys: controls (fields of
        engine.types.Controls), smoothing (0 = none, 1 = as tuned, up to 4 = calmer), source (id), recalibrate (True),
        driver ("camera", "demo", "tracker"), expression ({"name": one of engine.expressions, "intensity": 0 .. 1}; its
        action units are added to au_offsets), bundle (name) and mode ("puppet", "edit"), donors (ids of the sources
        that an edit takes from, one after the other; none: the source itself), self_check (whether
        Delivery.signs are read). Raises ConfigError for a wrong one, and changes nothing. From a change of bundle or
        mode on no picture of the former leaves."""
        ...

    def look(self, session: str, *, rest: bool = False) -> Future[Look]:
        """The layout that a session draws by, and the picture that it was drawn to last. rest: of a puppet, the
        portrait as it lies there, not moved.

        The future fails with an InputError where the session's system has no layouts or nothing was drawn yet, and a
        WorkerError where the worker or the session is away. In threads it is there at once, some milliseconds later.
        """
        ...

    def close_session(self, session: str) -> None: ...

    def close(self) -> None:
        """End every session, thread and process, and free the shared memory. More than once is allowed."""
        ...
