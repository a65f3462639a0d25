"""Through a real TURN server and by no other way: coturn, with accounts that expire, by UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streaming.config import ServeConfig
from streaming.connection import Connection
from streaming.offer import ice_servers
from streaming.remote import whip
from streaming.remote.places import Place
from tests.streaming.calls import Camera
from tests.streaming.doorstep import TOKEN, Site
from tests.streaming.remote.test_two_servers import frames, remotes, tinted
from tests.streaming.whip.house import open_house, until
from tests.streaming.whip.test_connections import client

SECRET = "a shared secret of this test"
DROPPED_S, BACK_S = 5.0, 5.0


class Turn:
    """A turnserver on an address of this machine. log: what it said."""

    def __init__(self, folder: Path) -> None:
        self.host = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False)[0]
        self.port, self.tls_port = free_port(self.host), free_port(self.host)
        self._folder = folder
        self.log = folder / "turn.log"
        write_certificate(folder, self.host)
        self.certificate = folder / "certificate.pem"
        self.start()

    def start(self) -> None:
        """Also again, at the same address."""
        folder = self._folder
        command = [
            "turnserver", "-n", "--no-cli", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test",
            f"--listening-ip={self.host}", f"--relay-ip={self.host}", f"--listening-port={self.port}",
            f"--tls-listening-port={self.tls_port}", f"--cert={self.certificate}", f"--pkey={folder / 'key.pem'}",
            "--log-file=stdout", "--verbose", f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    def wait(self) -> None:
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            try:
                socket.create_connection((self.host, self.tls_port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text(encoding="utf-8", errors="replace"))

    def drop(self) -> None:
        """All at once, with every allocation that it keeps."""
        self._process.kill()
        self._process.wait(20)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def free_port(host: str) -> int:
    with socket.socket() as opened:
        opened.bind((host, 0))
        return int(opened.getsockname()[1])


def write_certificate(folder: Path, host: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    if shutil.which("turnserver") is None:
        pytest.skip("no turnserver is installed (Debian's coturn)")
    turn = Turn(tmp_path_factory.mktemp("turn"))
    try:
        turn.wait()
        yield turn
    finally:
        turn.close()


@pytest.fixture(autouse=True)
def relays_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody here has an address of its own."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])


async def flows(far: Site, near: Site, relayed: Any = None) -> None:
    """From a driver to the far server, and from there to the near one, which pulls."""
    async with client(far, Camera(tinted)) as driver:
        inner: Any = driver.connection
        if relayed is not None:
            inner._RTCPeerConnection__configuration.iceServers = relayed
        assert (await driver.post("/whip/stage")).status == 201
        await until(lambda: frames(near) > 5)
        assert remotes(near)[0]["state"] == "up"


@pytest.mark.full
@pytest.mark.parametrize(
    "url", ["turn:{host}:{port}", "turn:{host}:{port}?transport=tcp", "turns:{host}:{tls_port}"]
)
def test_pictures_come_through_relays(turn: Turn, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends have nothing but their relay, and its account is of the secret and of today."""
    monkeypatch.setenv("SSL_CERT_FILE", str(turn.certificate))
    at = url.format(host=turn.host, port=turn.port, tls_port=turn.tls_port)
    config = ServeConfig(ice_servers=(at,), turn_secret=SECRET)
    with open_house(config) as far:
        pull = Place(f"http://127.0.0.1:{far.port}/whep/stage", TOKEN)
        near_config = ServeConfig(ice_servers=(at,), turn_secret=SECRET, pulls=(pull,))
        with open_house(near_config) as near:
            asyncio.run(flows(far, near, ice_servers(config)))


@pytest.mark.full
def test_a_relay_that_the_far_server_names_is_used(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its Link: this side's own address leads nowhere, and the far side, which has one, learns of the relay by what
    comes through it."""
    far_config = ServeConfig(ice_servers=(f"turn:{turn.host}:{turn.port}",), turn_secret=SECRET)
    relayed: list[Any] = []
    loops: list[Any] = []
    post = whip.post

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [] if asyncio.get_running_loop() in loops else [turn.host]

    async def post_nowhere(place: Any, offer: str, **options: Any) -> Any:
        assert "a=candidate" not in offer
        nowhere = "a=candidate:1 1 udp 1 10.255.255.1 9999 typ host"
        made = await post(place, offer.replace("a=end-of-candidates", nowhere), **options)
        relayed.extend(made.servers)
        return made

    monkeypatch.setattr(whip, "post", post_nowhere)
    monkeypatch.setattr(aioice.ice, "get_host_addresses", addresses)
    with open_house(far_config) as far, open_house(ServeConfig(remote_near=True)) as near:
        loops.append(near.loop)
        pull = {"kind": "pull", "url": f"http://127.0.0.1:{far.port}/whep/stage", "token": TOKEN}
        assert near.post("/api/v1/remotes", pull).status == 201
        asyncio.run(flows(far, near))
    assert relayed[0].username.partition(":")[0].isdigit()


@pytest.mark.full
def test_a_relay_that_was_dropped_is_used_again(
    turn: Turn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed for five seconds in the middle of a stream that has no other way: pictures come again within five
    seconds of its return, and meanwhile none do."""
    at = f"turn:{turn.host}:{turn.port}"
    loops: list[Any] = []
    monkeypatch.setattr(
        aioice.ice,
        "get_host_addresses",
        lambda use_ipv4, use_ipv6: [] if asyncio.get_running_loop() in loops else [turn.host],
    )
    near_config = ServeConfig(ice_servers=(at,), turn_secret=SECRET, remote_near=True)

    async def run(far: Site, near: Site) -> float:
        async with client(far, Camera(tinted)) as driver:
            assert (await driver.post("/whip/stage")).status == 201
            pull = {"kind": "pull", "url": f"http://127.0.0.1:{far.port}/whep/stage", "token": TOKEN}
            assert (await asyncio.to_thread(near.post, "/api/v1/remotes", pull)).status == 201
            await until(lambda: frames(near) > 5, 30)
            turn.drop()
            await asyncio.sleep(1.0)
            held = frames(near)
            await asyncio.sleep(DROPPED_S - 1.0)
            assert frames(near) == held
            turn.start()
            await asyncio.to_thread(turn.wait)
            began = time.monotonic()
            await until(lambda: frames(near) > held, 60)
            return time.monotonic() - began

    with open_house() as far, open_house(near_config) as near:
        loops.append(near.loop)
        back_s = asyncio.run(run(far, near))
    with capsys.disabled():
        print(f"\nback {back_s:.2f} s after the relay")
    assert back_s < BACK_S


@pytest.mark.full
def test_a_wrong_secret_gets_no_relay(turn: Turn) -> None:
    """The TURN server refuses the account: there is no candidate then."""
    config = ServeConfig(ice_servers=(f"turn:{turn.host}:{turn.port}",), turn_secret=SECRET + "!")

    async def run() -> list[Any]:
        connection = Connection(config, "test", lambda: None, offers=True)
        connection.rtc.addTransceiver("video", "sendonly")
        await connection.offer()
        found = connection.ice.local_candidates
        await connection.close()
        return found

    assert asyncio.run(run()) == []


@pytest.mark.full
def test_the_page_finds_out_whether_relays_answer(turn: Turn, chromium: None) -> None:
    """A real browser: of the relay with our account that it answers, of one with a stranger's that it does not."""
    from streaming.bench.chromium import open_browser

    at = f"{turn.host}:{turn.port}"
    config = ServeConfig(ice_servers=(f"turn:{at}", f"turn:me:wrong@{at}"), turn_secret=SECRET)
    with open_house(config) as site, open_browser(None) as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{site.port}/?token={TOKEN}")
        page.click("#tab-latency")
        page.click("#reach")
        page.wait_for_function("() => document.querySelectorAll('#reach-lines li').length > 1")
        told = [
            (each.get_attribute("data-tone"), each.inner_text())
            for each in page.locator("#reach-lines li").all()
        ]
        assert [tone for tone, text in told if text.startswith("turn:")] == ["good", "bad"]
        assert any("relayed" in text and tone == "good" for tone, text in told)
