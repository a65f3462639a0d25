"""What a server is set to, checked at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import file_path, known
from engine.errors import ConfigError
from engine.marks import MarksConfig
from engine.worker.interface import WorkerConfig
from streaming.admission import POLICIES
from streaming.cors import checked_origin
from streaming.enrolment_kinds import COMMAND, checked_checkpoints, checked_words
from streaming.hardware import AUTO, ENCODERS
from streaming.hosts import is_this_machine
from streaming.landmarker import files_in
from streaming.rates import Proxies, Rates
from streaming.remote.places import MOST_PLACES, Place
from streaming.tokens import key_of
from streaming.trackers import MOST_TRACKERS, TrackerPlace
from streaming.turn import checked_secret

if TYPE_CHECKING:
    from streaming.rtc_ports import Ports

DEFAULT_PORT = 8765
MOST_UPLOAD_BYTES = 32 << 20
MOST_VIEWERS = 1000
MOST_DRAIN_S = 3600.0
MOST_ROOMS = 100
MOST_LOG_DAYS = 3650
_RECORDING = (
    ("recording_minutes", 0.1, 1440.0),
    ("recording_gb", 0.001, 1000.0),
    ("recording_free_gb", 0.0, 1e6),
)


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """host, port: where the page is served; port 0 takes a free one. token: empty makes a new one at each start.
    token_place: where the token stands, in words; it is not printed then, because logs are kept and read by others.
    token_key: what signs the tokens with a scope; empty is the token. origins: other sites whose pages may ask, with
    such a token. rates: how often one may ask. proxies: addresses or networks in figures, whose word about where a
    request comes from is believed.
    source: portrait or clip; None is the sample. further: more photos of the same person. consent: why `source` may be
    shown, as `--consent` says it; None goes by the record that is there. statement: one line of that record; alone it
    says that written consent is held.
    hosts: further names by which browsers may reach this server. metrics_port: a second door for /metrics alone, on
    loopback, without a token.
    in_process: no worker process.
    pass_through: the operator asks by name that the driver's own picture be sent back (to measure the way there and
    back); nothing is generated then. public_ice: also try remote candidates with public addresses.
    trackers: where packets of external trackers are taken, for the sessions whose driver is a tracker.
    sound: whether a driver's microphone is passed on to those who watch; else nothing of it is ever heard.
    encoder: what encodes H.264: auto takes hardware that works, software never does, or one by name, as
    streaming.hardware.ENCODERS.
    latency_s: what a frame's age is held below, by asking the engine for less where it has to be; 0 never does.
    viewers: most who watch one session, but for whoever drives it; viewers_total: most of all sessions together.
    admission: whether a session needs headroom, one of streaming.admission.POLICIES. drain_s: how long sessions go on
    when the server is asked to end.
    rooms: most rooms for calls of two at once; 0 offers none. room_empty_s: how long one is kept without anybody in it.
    ice_servers: STUN and TURN urls, as streaming.offer.ice_server reads them. turn_secret: what the TURN servers
    without an account make accounts of. udp_ports: within which connections open their sockets; None: anywhere.
    pushes, pulls: what is sent to other servers and driven by them from the start. remote_near: those that the API
    begins may go to private addresses and this machine too; remote_insecure: all of them by plain http. mediapipe: a
    folder as streaming.landmarker.files_in reads it, by which pages follow faces themselves. enrol: checkpoints
    by system, from which pages may enrol a person; none hides it. enrol_options: further words of `marotte enrol` by
    system. enrolments: the folder of what is enrolled; None is below the state's. enrol_command: what enrols.
    open_verify: the page /verify needs no token.
    marks: what every picture that is generated carries; no page and no token changes it (docs/marks.md).
    recordings: the folder of what is recorded of sessions; None: nothing can be. recording_minutes, recording_gb: most
    of one. recording_free_gb: what stays free on its disk (docs/recording.md). log_folder: of the session log; None is
    in the state's. log_days: how long its lines are kept (docs/session_log.md)."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str = field(default="", repr=False)
    token_place: str = ""
    token_key: str = field(default="", repr=False)
    origins: tuple[str, ...] = ()
    rates: Rates = field(default_factory=Rates)
    proxies: tuple[str, ...] = ()
    source: Path | None = None
    further: tuple[Path, ...] = ()
    consent: str | Path | None = None
    statement: str | None = None
    hosts: tuple[str, ...] = ()
    metrics_port: int | None = None
    in_process: bool = False
    pass_through: bool = False
    public_ice: bool = False
    ice_servers: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    udp_ports: Ports | None = None
    pushes: tuple[Place, ...] = ()
    pulls: tuple[Place, ...] = ()
    remote_near: bool = False
    remote_insecure: bool = False
    codec: str = "auto"
    trackers: tuple[TrackerPlace, ...] = ()
    sound: bool = True
    encoder: str = AUTO
    latency_s: float = 0.25
    viewers: int = 8
    viewers_total: int = 32
    admission: str = "measured"
    drain_s: float = 10.0
    rooms: int = 0
    room_empty_s: float = 600.0
    mediapipe: Path | None = None
    enrol: Mapping[str, Path] = field(default_factory=dict)
    enrol_options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enrolments: Path | None = None
    enrol_command: tuple[str, ...] = COMMAND
    open_verify: bool = False
    marks: MarksConfig = field(default_factory=MarksConfig)
    recordings: Path | None = None
    recording_minutes: float = 60.0
    recording_gb: float = 4.0
    recording_free_gb: float = 1.0
    log_folder: Path | None = None
    log_days: int = 180
    worker: WorkerConfig = field(default_factory=WorkerConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "enrol", checked_checkpoints(self.enrol))
        object.__setattr__(self, "enrol_options", checked_words(self.enrol_options, self.enrol))
        for name, port in (("port", self.port), ("metrics_port", self.metrics_port)):
            if port is not None and not 0 <= port <= 65535:
                raise ConfigError(f"{name}: got {port}, expected 0 .. 65535")
        if self.token and (len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()):
            raise ConfigError(
                "token: expected at least 16 printable ASCII characters, or none to get a new one"
            )
        if self.token_key:
            key_of(self.token_key)
        object.__setattr__(self, "origins", tuple(map(checked_origin, self.origins)))
        Proxies(self.proxies)
        for name, most in (("viewers", self.viewers), ("viewers_total", self.viewers_total)):
            if not 0 <= most <= MOST_VIEWERS:
                raise ConfigError(f"{name}: got {most}, expected 0 .. {MOST_VIEWERS}")
        if not 0 <= self.rooms <= MOST_ROOMS:
            raise ConfigError(f"rooms: got {self.rooms}, expected 0 .. {MOST_ROOMS}")
        if not 1 <= self.room_empty_s <= 86400:
            raise ConfigError(f"room_empty_s: got {self.room_empty_s:g}, expected 1 .. 86400 seconds")
        if len(self.trackers) > MOST_TRACKERS:
            raise ConfigError(f"trackers: got {len(self.trackers)}, expected at most {MOST_TRACKERS}")
        if self.admission not in POLICIES:
            known(self.admission, POLICIES, "admission")
        if not 0 <= self.drain_s <= MOST_DRAIN_S:
            raise ConfigError(f"drain_s: got {self.drain_s:g}, expected 0 .. {MOST_DRAIN_S:g} seconds")
        if self.latency_s and not 0.02 <= self.latency_s <= 1.0:
            raise ConfigError(f"latency_s: got {self.latency_s:g}, expected 0.02 .. 1 seconds, or 0 for none")
        if self.encoder not in ENCODERS:
            raise ConfigError(f"encoder: got {self.encoder!r}, expected one of {', '.join(ENCODERS)}")
        if self.codec not in ("auto", "vp8", "h264"):
            raise ConfigError(f"codec: got {self.codec!r}, expected auto, vp8 or h264")
        if len(self.pushes) + len(self.pulls) > MOST_PLACES:
            raise ConfigError(f"pushes and pulls: expected at most {MOST_PLACES} together")
        if self.mediapipe is not None:
            object.__setattr__(self, "mediapipe", Path(self.mediapipe))
            files_in(self.mediapipe)
        if self.recordings is not None:
            object.__setattr__(self, "recordings", file_path("recordings", self.recordings))
        if self.log_folder is not None:
            object.__setattr__(self, "log_folder", file_path("log_folder", self.log_folder))
        if not 1 <= self.log_days <= MOST_LOG_DAYS:
            raise ConfigError(f"log_days: got {self.log_days}, expected 1 .. {MOST_LOG_DAYS}")
        for name, least, largest in _RECORDING:
            if not least <= (value := getattr(self, name)) <= largest:
                raise ConfigError(f"{name}: got {value:g}, expected {least:g} .. {largest:g}")
        if self.turn_secret:
            checked_secret(self.turn_secret)
        if self.ice_servers:
            from streaming.offer import (
                ice_server,
            )  # it imports aiortc, whose absence others have to be able to tell

            for url in self.ice_servers:
                ice_server(url, self.turn_secret)

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach the page."""
        return is_this_machine(self.host)
