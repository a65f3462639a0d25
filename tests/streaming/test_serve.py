"""A server's start and end: what is said, what is left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, ClassVar

import pytest

import marotte
from engine.consent import Store
from engine.errors import ConfigError, ConsentError, InputError, MarotteError, WorkerError
from engine.marks import MarksConfig
from engine.several import ACCEPTANCE
from engine.worker.interface import State, WorkerConfig, WorkerStatus
from engine.worker.pictures import Picture, with_pictures
from engine.worker.sources import id_of
from streaming import serve as serving
from streaming.config import ServeConfig
from streaming.listen import PortTakenError, RunningError, bind
from streaming.rates import Rates
from streaming.remote.places import Place
from streaming.rtc_ports import Ports
from streaming.serve import Served, serve, served_as
from tests.engine.bundle_files import write_ganimation, write_geogan
from tests.streaming.doorstep import FakeWorker

PROJECT = Path(__file__).resolve().parents[2]
# Started in the background, a shell's child ignores interruptions; the command at a terminal does not.
_START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import marotte; sys.exit(marotte.main())"
)
QUICK = WorkerConfig(add_s=5.0)


class QuickWorker(FakeWorker):
    """Ready at once, and remembers that it was closed."""

    made: ClassVar[list[QuickWorker]] = []

    def __init__(self, config: WorkerConfig, tools: Any = None) -> None:
        super().__init__()
        self.closed = False
        self.made.append(self)

    def on_status(self, told: Any) -> None:
        self.told = told

    def start(self) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[QuickWorker]:
    """A server whose engine is none."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(serving, "worker_of", QuickWorker)
    monkeypatch.setattr(QuickWorker, "made", [])
    return QuickWorker


@contextmanager
def _served(**options: Any) -> Iterator[Served]:
    """A server in a thread, until the context ends."""
    came: list[Served] = []
    faults: list[BaseException] = []
    there = threading.Event()

    def ready(served: Served) -> None:
        came.append(served)
        there.set()

    def run() -> None:
        try:
            serve(ServeConfig(**{"port": 0, "worker": QUICK} | options), ready=ready)
        except BaseException as error:
            faults.append(error)
        there.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert there.wait(60)
    try:
        if faults:
            raise faults[0]
        yield came[0]
    finally:
        if came:
            came[0].stop()
        thread.join(30)
        assert not thread.is_alive()
    assert not faults


def _get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read()


def test_the_printed_address_is_the_last_line_and_works(
    quick: type[QuickWorker], capsys: pytest.CaptureFixture[str]
) -> None:
    """A new token at each start; the address, without its token, gives nothing."""
    with _served() as first:
        told = capsys.readouterr().out
        assert told.splitlines()[-1] == f"marotte: open {first.url}"
        assert re.fullmatch(rf"http://127\.0\.0\.1:{first.port}/\?token=[\w-]{{40,}}", first.url)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(first.url, timeout=10) as page:
            assert page.url == f"http://127.0.0.1:{first.port}/"
            assert page.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            _get(f"http://127.0.0.1:{first.port}/")
        refused.value.close()
    with _served() as second:
        assert second.token != first.token
    assert [worker.closed for worker in quick.made] == [True, True]


def test_a_token_that_stands_in_a_file_is_not_printed(
    quick: type[QuickWorker], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed goes into logs: it says where the token is, and the address is the rest."""
    with _served(token="sixteen letters and more", token_place="/run/token") as served:
        told = capsys.readouterr()
        assert told.out == (
            f"marotte: open http://127.0.0.1:{served.port}/?token=TOKEN with the token of /run/token\n"
        )
        assert "sixteen" not in told.err
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(served.url, timeout=10) as page:
            assert page.status == 200


def test_what_cannot_be_offered_is_told_before_anything_is_opened(
    quick: type[QuickWorker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown bundle, terms not accepted, a bundle that only edits, a wrong backend: no port, no worker."""
    monkeypatch.setattr(serving, "bind", lambda *_: pytest.fail("was opened"))
    edits = str(write_geogan(tmp_path / "edits"))
    bound = write_ganimation(tmp_path / "bound")
    manifest = json.loads((bound / "manifest.json").read_text())
    (bound / "manifest.json").write_text(json.dumps(manifest | {"commercial": False, "acceptance": "mine"}))
    for options, words in (
        ({"bundles": ("mesh_flow", "meshflow")}, "did you mean 'mesh_flow'"),
        ({"bundles": (str(tmp_path / "none"),)}, "expected the folder of a bundle"),
        ({"bundles": (str(bound),)}, "--accept mine"),
        ({"bundles": (edits,)}, "--edit"),
        ({"backend": "openvin"}, "openvino"),
    ):
        with pytest.raises(MarotteError, match=words):
            serve(ServeConfig(port=0, worker=WorkerConfig(**options)))
    assert not quick.made


def test_a_server_that_was_stopped_is_gone(quick: type[QuickWorker]) -> None:
    """Its port is free, its threads have ended, and stopping it again is no fault."""
    before = set(threading.enumerate())
    with _served() as served:
        assert _get(f"http://127.0.0.1:{served.port}/healthz") == (200, b"marotte: ok\n")
    with bind("127.0.0.1", served.port):
        served.stop()
    assert set(threading.enumerate()) <= before


def test_metrics_have_a_port_of_their_own(quick: type[QuickWorker]) -> None:
    """Without a token, on loopback, and nothing else is there, nor for a page that rebinds."""
    with _served(metrics_port=0) as served:
        assert served.metrics_url is not None
        status, body = _get(served.metrics_url)
        assert (status, b"marotte_sessions" in body) == (200, True)
        base = served.metrics_url.removesuffix("/metrics")
        for request in (
            urllib.request.Request(f"{base}/api/v1/info"),
            urllib.request.Request(served.metrics_url, headers={"Host": "evil.example"}),
            urllib.request.Request(served.metrics_url, headers={"Origin": "http://evil.example"}),
        ):
            with pytest.raises(urllib.error.HTTPError, match=r"40[34]") as refused:
                urllib.request.urlopen(request, timeout=10)
            refused.value.close()


def test_marotte_itself_on_the_port_is_told_as_such(quick: type[QuickWorker]) -> None:
    """Open the other one, or take another port; and it is told before anything else is looked at."""
    with (
        _served() as served,
        pytest.raises(RunningError, match="Marotte is already running there; open the ad") as raised,
    ):
        serve(ServeConfig(port=served.port, source=Path("nowhere.jpg")))
    assert "--port" in str(raised.value)
    assert len(quick.made) == 1


def test_a_port_that_is_taken_is_told_before_anything_slow(
    quick: type[QuickWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the source nor aiortc is looked at before."""
    monkeypatch.setattr(serving, "check_aiortc", lambda: pytest.fail("was looked at"))
    with bind("127.0.0.1", 0) as taken, pytest.raises(PortTakenError, match="another program"):
        serve(ServeConfig(port=taken.getsockname()[1], source=Path("nowhere.jpg")))


def test_a_port_that_is_taken_is_one_line(quick: type[QuickWorker]) -> None:
    """Naming the port and the way out, before anything is started for it."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port: {port} is taken .* --port"), _served(port=port):
            pytest.fail("was opened")
    assert not quick.made


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "203.0.113.7"}, "is no address of this machine"),
        ({"host": "no such name.invalid"}, "cannot be found"),
        ({"source": Path("nowhere.jpg")}, "'nowhere.jpg' cannot be read"),
        ({"source": PROJECT}, "is not a plain file"),
        ({"consent": "myself", "statement": "two\nlines"}, "statement: "),
        ({"consent": "nobody"}, "consent (KIND[:WHO]"),
    ],
)
def test_what_stands_in_the_way_is_one_line(
    quick: type[QuickWorker], options: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No address is printed and nothing is left running."""
    with pytest.raises(InputError, match=re.escape(said)) as raised, _served(**options):
        pytest.fail("was opened")
    assert "\n" not in str(raised.value)
    assert not capsys.readouterr().out
    assert all(worker.closed for worker in quick.made)


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid"), reason="POSIX's rule for ports")
def test_a_port_for_the_system_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said as such, and not as one that is taken."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", denied)
    with pytest.raises(ConfigError, match="may not be opened by this user"):
        bind("127.0.0.1", 80)


def test_a_worker_that_cannot_start_ends_the_server(
    quick: type[QuickWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words; no address was printed."""

    def fails(self: QuickWorker) -> None:
        self.state = State.FAILED
        self.told(WorkerStatus(State.FAILED, {}, "model x is missing; run: marotte models pull"))

    monkeypatch.setattr(quick, "start", fails)
    with pytest.raises(WorkerError), _served():
        pytest.fail("was opened")
    assert [worker.closed for worker in quick.made] == [True]


def test_an_unwritable_log_stops_the_start(quick: type[QuickWorker], tmp_path: Path) -> None:
    """What cannot be logged is not begun: no worker is started."""
    (tmp_path / "state").write_text("")
    with pytest.raises(MarotteError, match="MAROTTE_STATE"), _served():
        pytest.fail("was opened")
    assert quick.made == []


def test_beyond_this_machine_a_warning_is_given(
    quick: type[QuickWorker], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the address is one that another machine can open."""
    with caplog.at_level("WARNING", "marotte"), _served(host="0.0.0.0") as served:
        assert "not encrypted" in caplog.text
        assert "0.0.0.0" not in served.url
        host = served.url.removeprefix("http://").split(":")[0]
        assert _get(f"http://{host}:{served.port}/healthz")[0] == 200


def test_options_go_where_they_belong(tmp_path: Path) -> None:
    """One flat list for the Python API; a wrong name is told with the nearest one."""
    config = served_as("me.jpg", {"port": 0, "side": 512, "in_process": True, "backend": "onnxruntime"})
    assert (config.source, config.port, config.in_process) == (Path("me.jpg"), 0, True)
    assert (config.worker.side, config.worker.backend) == (512, "onnxruntime")
    for wrong in ("sides", "worker", "source", "further"):
        with pytest.raises(ConfigError, match="expected one of"):
            served_as(None, {wrong: 1})


def test_several_photos_of_a_person_are_the_operators_source(
    quick: type[QuickWorker], tmp_path: Path
) -> None:
    """Joined as a page's are, an acceptance among the server's with them; more than one person's are refused."""
    paths = [tmp_path / f"{number}.jpg" for number in range(9)]
    for path in paths:
        path.write_bytes(path.name.encode())
    config = served_as(paths[:2], {"accept": frozenset({ACCEPTANCE, "terms"}), "side": 512})
    assert (config.source, config.further) == (paths[0], (paths[1],))
    photos = [Picture(path.name, path.name.encode()) for path in paths[:2]]
    worker = replace(QUICK, accept={ACCEPTANCE})
    with _served(source=config.source, further=config.further, worker=worker, consent="written:Ann"):
        assert set(quick.made[0].sources) == {id_of(with_pictures(photos, {ACCEPTANCE}))}
    (kept,) = Store(tmp_path / "state").all()
    assert kept.sources[1:] == tuple(id_of(photo.data) for photo in photos)
    assert (kept.kind, kept.shown, kept.attested_by) == ("written consent", "Ann", "the operator")
    with pytest.raises(ConfigError, match="at most 8"):
        serve(ServeConfig(port=0, source=paths[0], further=tuple(paths[1:]), worker=QUICK))


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "http://stun.example", "stun:", "stun:stun.example:port", "stun:stun.example:0", "turn:",
        "stun:stun.example:70000", "turn:turn.example:3478", "stun:me:hidden@stun.example", "turn:me:hidden@",
        "stun:stun.example?transport=udp",
    ],
)  # fmt: skip
def test_an_ice_server_is_looked_at_before_anything_starts(url: str) -> None:
    """Not when the first call is opened; what is shown of it holds no password."""
    with pytest.raises(
        ConfigError, match=r"expected stun:HOST:PORT or turn:NAME:PASSWORD@HOST:PORT"
    ) as raised:
        ServeConfig(ice_servers=("stun:stun.example:3478", url))
    assert "hidden" not in str(raised.value)


def test_ice_servers_of_every_kind_are_taken() -> None:
    """As the command's help has them."""
    ServeConfig(ice_servers=("stun:s", "stun:s:1", "turn:me:secret@t:3478?transport=tcp", "turns:me:a@b@t"))


def test_the_python_api_serves_in_this_process(
    quick: type[QuickWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script without a guard, or a notebook, needs no process that imports it again; it can be asked for."""
    asked: list[ServeConfig] = []
    monkeypatch.setattr(serving, "serve", lambda config, **_: asked.append(config))
    marotte.serve("me.jpg")
    marotte.serve(in_process=False, port=0)
    assert [(config.in_process, config.source) for config in asked] == [(True, Path("me.jpg")), (False, None)]


def test_on_a_running_loop_it_says_what_to_do(quick: type[QuickWorker]) -> None:
    """One line, and no coroutine that was never awaited."""

    async def cell() -> None:
        serve(ServeConfig(port=0))

    with pytest.raises(ConfigError, match="in a thread of its own"):
        asyncio.run(cell())


# --- the command ---


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What the command asks `marotte.serve` for; nothing is served."""
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(marotte, "serve", lambda source, **options: calls.append((source, options)))
    monkeypatch.delenv("MAROTTE_TOKEN", raising=False)
    return calls


def test_the_command_hands_on_what_it_was_given(
    asked: list[tuple[Any, dict[str, Any]]], tmp_path: Path
) -> None:
    """Every option, the token from a file and never from the line that other users see."""
    (tmp_path / "token").write_text("a token of sixteen\n", encoding="utf-8")
    (tmp_path / "key").write_text("a-key\n", encoding="utf-8")
    line = "serve --source me.jpg --consent myself --statement mine --host ::1 --port 9 "
    line += f"--token-file {tmp_path}/token --host-name a "
    line += "--host-name b:1 --metrics-port 10 --in-process --pass-through --driver-pixels --codec vp8 --side 512 "
    line += "--sessions 2 --backend onnxruntime --no-spare --public-ice --ice-server stun:s:1 "
    line += "--rooms 5 --room-empty 3 --viewers 3 --viewers-total 5 --latency 300 --no-sound "
    line += "--origin https://a.example --behind-proxy 10.0.0.1 "
    line += f"--push b=https://b.example/whip?k --push https://c.example/ --push-token-file {tmp_path}/key "
    line += f"--pull http://localhost/w --remote-near --remote-insecure --turn-secret-file {tmp_path}/token "
    line += f"--udp-ports 5000-5001 --log-folder {tmp_path}/log --log-days 9 --no-badge "
    line += "--recordings kept --recording-minutes 3 "
    line += (
        "--bundle mesh_flow --bundle ./mine --accept terms --edit --batch 4 --batch-wait 2.5 --body synthetic"
    )
    assert marotte.main(line.split()) == 0
    ((source, options),) = asked
    assert source == Path("me.jpg")
    assert options.pop("ready") is not None
    assert options == {
        "consent": "myself", "statement": "mine", "host": "::1",
        "port": 9, "token": "a token of sixteen", "hosts": ("a", "b:1"),
        "metrics_port": 10, "in_process": True, "pass_through": True, "driver_pixels": True, "codec": "vp8",
        "side": 512, "sessions": 2, "backend": "onnxruntime", "spare": False, "public_ice": True, "viewers": 3,
        "viewers_total": 5, "rooms": 5, "room_empty_s": 180.0, "sound": False, "origins": ("https://a.example",),
        "proxies": ("10.0.0.1",),
        "latency_s": 0.3, "encoder": "auto", "rates": Rates(), "token_key": "", "trackers": (),
        "ice_servers": ("stun:s:1",), "cache": None, "bundles": ("mesh_flow", "./mine"),
        "accept": frozenset({"terms"}), "edit": True, "batch": 4, "batch_wait_s": 0.0025, "body": "synthetic",
        "token_place": f"{tmp_path}/token", "enrol": {}, "enrol_options": {}, "enrolments": None,
        "pushes": (
            Place("https://b.example/whip?k", stream="b"), Place("https://c.example/", "a-key", stream="live")
        ),
        "pulls": (Place("http://localhost/w"),), "remote_near": True, "remote_insecure": True,
        "turn_secret": "a token of sixteen", "udp_ports": Ports(5000, 5001),
        "admission": "measured", "drain_s": 10.0, "mediapipe": None,
        "recordings": Path("kept"), "recording_minutes": 3.0, "recording_gb": 4.0, "recording_free_gb": 1.0,
        "log_folder": tmp_path / "log", "log_days": 9, "marks": MarksConfig(badge=False),
        "open_verify": False,
    }  # fmt: skip
    served_as(source, options)


def test_the_token_may_come_from_the_environment(
    asked: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read when it is needed, and a file counts more."""
    monkeypatch.setenv("MAROTTE_TOKEN", "from the environment")
    assert marotte.main(["serve"]) == 0
    assert asked[0][1]["token"] == "from the environment"
    assert asked[0][1]["token_place"] == "MAROTTE_TOKEN"
    monkeypatch.delenv("MAROTTE_TOKEN")
    assert marotte.main(["serve"]) == 0
    assert (asked[1][1]["token"], asked[1][1]["token_place"]) == ("", "")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"x" * 5000])
def test_a_token_file_that_holds_none_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never a server with an empty or a cut token."""
    (tmp_path / "token").write_bytes(content)
    assert marotte.main(["serve", "--token-file", str(tmp_path / "token")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_run_takes_a_free_port_where_the_usual_one_is_taken(
    asked: list[tuple[Any, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And says so; a port that was asked for is not replaced."""
    taken_by = PortTakenError

    def taken(source: Any, **options: Any) -> None:
        asked.append((source, options))
        if options["port"]:
            raise taken_by(f"port: {options['port']} is taken")

    monkeypatch.setattr(marotte, "serve", taken)
    assert marotte.main(["run", "me.jpg", "--no-open"]) == 0
    assert [(source, options["port"]) for source, options in asked] == [
        (Path("me.jpg"), 8765),
        (Path("me.jpg"), 0),
    ]
    assert "a free one is used" in capsys.readouterr().err
    assert marotte.main(["run", "--no-open", "--port", "9000"]) == 2
    assert asked[-1][1]["port"] == 9000
    taken_by = RunningError
    assert marotte.main(["run", "--no-open"]) == 0
    assert "Marotte, which is already running there: a free one is used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "display", "opens"),
    [
        ("run", ":0", True),
        ("run", "", False),
        ("run --no-open", ":0", False),
        ("serve", ":0", False),
        ("serve --open", "", True),
    ],
)
def test_the_browser_is_opened_where_it_can_be_seen(
    line: str,
    display: str,
    opens: bool,
    asked: list[tuple[Any, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server on a machine without a screen starts no text browser in its terminal."""
    opened: list[str] = []
    there = threading.Event()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("webbrowser.open", lambda url: (opened.append(url), there.set()))
    assert marotte.main(line.split()) == 0
    passing = "http://here/?code=once"
    asked[0][1]["ready"](Served("http://here/?token=t", "t", 1, None, lambda: None, lambda: passing))
    if opens:
        assert there.wait(10)
    assert opened == [passing] * opens  # other users can read a browser's command line: no token stands there


def test_the_address_for_a_browser_opens_the_page_once(quick: type[QuickWorker]) -> None:
    """It holds no token, and whoever finds it later finds nothing."""

    def asked(address: str) -> tuple[int, bool]:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.request("GET", address[address.index("/?") :])
        with connection.getresponse() as answer:
            connection.close()
            return answer.status, "Set-Cookie" in answer.headers

    with _served() as served:
        address = served.passing()
        assert served.token not in address
        assert asked(address) == (303, True)
        assert asked(address) == (401, False)
        old = served.passing()
        assert asked(served.passing()) == (303, True)
        assert asked(old) == (401, False)


# --- a real one ---


def _below(pid: int) -> set[int]:
    """A process's children and theirs, by /proc."""
    found = {pid}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) in found:
            found.add(int(path.parent.name))
    return found - {pid}


def _segments(pids: set[int]) -> set[Path]:
    """The shared memory that they have mapped."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {Path("/dev/shm", name[1]) for line in lines if (name := re.search(r"/dev/shm/(\S+)$", line))}


def _ended(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"MAROTTE_STATE": str(tmp_path / "state"), "PYTHONUNBUFFERED": ""}


@pytest.mark.usefixtures("models")
@pytest.mark.skipif(sys.platform != "linux", reason="processes and segments are counted as Linux shows them")
@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.full)])
def test_a_signal_ends_it_cleanly(name: str, environment: dict[str, str]) -> None:
    """Status 0, no traceback; no process and no shared memory stays. Ctrl+C reaches every process of the terminal."""
    line = [sys.executable, "-W", "error", "-c", _START, "serve", "--port", "0"]
    with subprocess.Popen(
        line, stdout=-1, stderr=-1, text=True, cwd=PROJECT, env=environment, start_new_session=True
    ) as running:
        assert running.stdout is not None
        told = running.stdout.readline()
        assert told.startswith("marotte: open http://127.0.0.1:"), (
            running.stderr.read() if running.stderr else ""
        )
        children = _below(running.pid)
        segments = _segments({running.pid, *children})
        assert children
        assert segments
        if name == "SIGINT":
            os.killpg(running.pid, signal.SIGINT)
        else:
            running.send_signal(getattr(signal, name))
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "marotte: stopped"
    assert "Traceback" not in err
    assert "Warning" not in err
    deadline = time.monotonic() + 20
    while not _ended(children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _ended(children)
    assert not any(path.exists() for path in segments)


@pytest.mark.skipif(os.name != "posix", reason="interruptions are sent as POSIX signals here")
def test_an_interruption_before_it_can_be_opened_is_130(environment: dict[str, str], tmp_path: Path) -> None:
    """As with every other command; nothing was printed to open."""
    start = (
        "import signal, sys, threading; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import marotte\nfrom streaming import serve\nfrom tests.streaming.test_serve import QuickWorker\n"
        "class Slow(QuickWorker):\n"
        "    def start(self):\n"
        "        from engine.worker.interface import State\n"
        "        self.state = State.STARTING\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "serve.worker_of = Slow\n"
        "status = marotte.main()\n"
        "assert Slow.made[0].closed\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", start, "serve", "--port", "0"],
        capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "marotte: interrupted"


def test_models_that_are_missing_are_told_before_an_address(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one line says what to run; in this process or in another."""
    line = ["serve", "--port", "0", "--cache", str(tmp_path / "none"), "--in-process"]
    done = subprocess.run(
        [sys.executable, "-m", "marotte", *line],
        capture_output=True, text=True, cwd=PROJECT, env=environment, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "marotte models pull" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_source_that_nobody_allows_starts_no_engine(
    quick: type[QuickWorker], real_consent: Path, tmp_path: Path
) -> None:
    """It is looked at before anything is started for it, which takes seconds."""
    portrait = tmp_path / "ann.png"
    portrait.write_bytes(b"a picture")
    with pytest.raises(ConsentError, match="nobody's consent is recorded"), _served(source=portrait):
        pass
    assert not quick.made
