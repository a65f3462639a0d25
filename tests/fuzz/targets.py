"""What is read from outside, as functions of bytes: each ends well or with a MarotteError, within a second.

`TARGETS` is the one table: `python -m tests.fuzz` runs its entries for long, tests/fuzz/test_targets.py for a moment.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import MarotteError

DATA = Path(__file__).parents[1] / "streaming" / "data"
KEY = b"a key of the tests, thirty-two b"


@dataclass(frozen=True)
class Target:
    """one: takes any bytes; what it raises is a fault. seeds: what it is meant to read, to begin with. words: pieces
    that are worth putting in. most: bytes of one input."""

    one: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    most: int = 4096


def _offers() -> list[bytes]:
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(DATA.glob("*.sdp"))]


def _offer(data: bytes) -> None:
    """An SDP offer on its way to aiortc: the lines that are let in, then its own reading of them."""
    from aiortc.sdp import SessionDescription

    from streaming.candidates import clean_offer
    from streaming.whip.descriptions import described

    public = len(data) % 2 == 0
    cleaned = clean_offer(data.decode("utf-8", "replace"), public=public)
    taken = described(cleaned)
    SessionDescription.parse(taken.sdp)
    taken.answered(taken.sdp)
    again = clean_offer(cleaned, public=public)
    assert again == cleaned, "an offer that was cleaned is clean"


def _asked(data: bytes) -> Any:
    """A request from lines: method and address, then one header a line."""
    from aiohttp.test_utils import make_mocked_request

    first, *lines = data.decode("latin-1").split("\n")
    method, _, path = first.partition(" ")
    headers = [line.partition(":") for line in lines]
    named = [
        (name.strip(), value.strip()) for name, _, value in headers if name.strip().isascii() and name.strip()
    ]
    try:
        return make_mocked_request(method or "GET", "/" + path.lstrip("/"), named)
    except (ValueError, UnicodeError):  # aiohttp's own parser lets none such come
        return None


def _whip(data: bytes) -> None:
    """Head and body of a PATCH or POST, with an empty line between them."""
    from streaming.refusals import RefusedError
    from streaming.whip import fragment, requests

    head, _, body = data.partition(b"\n\n")
    request = _asked(head)
    for step in (requests.asked, requests.check_sdp, requests.check_fragment, requests.matching):
        with suppress(RefusedError, MarotteError):
            if request is not None:
                step(request)
    fragment.read(body)


@cache
def _guard() -> Any:
    from streaming.doors import Doors
    from streaming.measured import NoRecorder
    from streaming.rates import Rate, Rates

    often = Rate(1e6, 1_000_000)
    rates = Rates(often, often, often, often, often, often, often)
    named = {"hosts": ("a.example",), "origins": ("https://b.example",), "proxies": ("10.0.0.0/8",)}
    return Doors("the server's own token", 80, NoRecorder(), **named, rates=rates)


def _doors(data: bytes) -> None:
    """A request's head before the doors."""
    from streaming.cors import SHARED_WITH
    from streaming.refusals import RefusedError

    request = _asked(data)
    if request is None:
        return
    try:
        answered = _guard()._pass(request)
    except RefusedError:
        return
    if answered is None and request.path not in ("/healthz", "/readyz"):
        assert b"the server's own token" in data or b"the%20server%27s%20own%20token" in data, (
            "let in for nothing"
        )
    elif answered is not None and SHARED_WITH not in request:
        assert answered.status in (200, 303)


def _doors_seeds() -> list[bytes]:
    own, quoted = b"the server's own token", b"the%20server%27s%20own%20token"
    return [
        b"GET /api/v1/info\nHost: 127.0.0.1\nAuthorization: Bearer " + own,
        b"GET /?token=" + quoted + b"\nHost: localhost:80",
        b"GET /api/v1/info\nHost: a.example\nCookie: marotte-80="
        + quoted
        + b"; marotte-80-guest=mrt1.e30.AA",
        b"OPTIONS /whip/a\nHost: [::1]\nOrigin: https://b.example\nAccess-Control-Request-Method: POST",
        b"GET /?token=mrt1.e30.AA\nHost: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n"
        b"Sec-Fetch-Dest: document\nX-Forwarded-For: 10.0.0.1, ::1\nX-Forwarded-Proto: https",
    ]


class _Call:
    """Does nothing, but checks changes as a worker does."""

    def change(self, change: object) -> int:
        from engine.worker.changes import parse

        parse(change, driver_pixels=True)
        return 1

    def switched(self, on: bool) -> None:
        assert isinstance(on, bool)

    def stop(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return self.switched


def _control(data: bytes) -> None:
    """A text message of the data channel, and the answer to it."""
    from streaming.control import Control

    answered = Control(_Call()).answer(data.decode("utf-8", "replace"))
    if answered is not None:
        said = json.loads(answered)
        assert "could not follow it" not in said.get("error", ""), f"an error of another kind: {data!r}"
        assert len(answered) < 4096, f"an answer of {len(answered)} letters"


CONTROLS = [
    {"seq": 1, "change": {"controls": {"pose": 1.5, "au_offsets": {"AU12": 0.5}, "directions": {"smile": 1.0}}}},
    {"seq": 2, "change": {"controls": {"painted": [[1, 200], [255, 56]], "layout": {"nose": 0.5}, "output_size": 0}}},
    {"change": {"smoothing": 2, "source": "a", "recalibrate": True, "driver": "demo", "donors": ["a"]}},
    {"change": {"expression": {"name": "happy", "intensity": 0.5}, "bundle": "b", "mode": "edit"}},
    {"measure": True, "pause": False, "mirror": True, "mute": True}, {"stop": True}, {"ping": 12.5},
]  # fmt: skip


def _token(data: bytes) -> None:
    """A token as it came, and one that the key has signed."""
    import base64
    import hashlib
    import hmac

    from streaming.tokens import PREFIX, TokenError, Tokens

    tokens = Tokens(KEY, lambda: 1000.0)
    with suppress(TokenError):
        tokens.read(data.decode("utf-8", "replace"))
    signed = PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    mac = hmac.digest(KEY, signed.encode(), hashlib.sha256)
    read = tokens.read(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    assert read.scopes
    assert read.expires_s > 970


def _manifest(data: bytes) -> None:
    """A bundle's manifest."""
    from engine.bundle import parse_manifest

    parse_manifest(data.decode("utf-8", "replace"))


def _manifests() -> list[bytes]:
    folder = Path(__file__).parents[2] / "engine" / "data" / "bundles"
    return [path.read_bytes() for path in sorted(folder.glob("*/manifest.json"))]


@cache
def _small_bundle() -> tuple[bytes, Any]:
    from engine.bundle import open_bundle
    from tests.engine.bundle_files import write_ganimation

    with tempfile.TemporaryDirectory() as folder:
        where = write_ganimation(Path(folder) / "b", 16)
        info = open_bundle(where).info("generator")
        return (where / info.file).read_bytes(), info


def _graph(data: bytes) -> None:
    """A bundle's ONNX file, whose checksum fits."""
    from engine.graph_file import check_graph

    _, info = _small_bundle()
    check_graph(data, info.inputs, info.outputs)


def _painting(data: bytes) -> None:
    """Runs as JSON, which a brush sends."""
    from engine.parsing.runs import decode, encode
    from streaming.layouts import _runs

    painted = decode(_runs(data))
    assert (decode(encode(painted)) == painted).all()


def _labels(data: bytes) -> None:
    """A label picture."""
    from engine.parsing.files import decode_labels

    labels = decode_labels(data, "labels")
    assert (labels.dtype, labels.ndim) == (np.uint8, 2)


def _encoded(kind: str, *pictures: np.ndarray) -> list[bytes]:
    import cv2

    return [cv2.imencode(kind, picture)[1].tobytes() for picture in pictures]


def _label_pictures() -> list[bytes]:
    numbers = (np.arange(256).reshape(16, 16) % 19).astype(np.uint8)
    return _encoded(".png", numbers, np.dstack([numbers] * 3))


def _picture(data: bytes) -> None:
    """A source's picture: its header, then its pixels."""
    from engine.media.limits import Limits
    from engine.media.picture import decode_picture

    rgb = decode_picture(data, "picture", Limits(pixels=1 << 14, file_bytes=1 << 16))
    assert (rgb.dtype, rgb.shape[2:]) == (np.uint8, (3,))


def _pictures() -> list[bytes]:
    drawn = np.indices((64, 66, 3)).sum(0).astype(np.uint8) // 8 * 16
    return [*_encoded(".png", drawn), *_encoded(".jpg", drawn), *_encoded(".webp", drawn)]


def _people(data: bytes) -> None:
    """Several pictures of one person as one body, and a picture with its labels."""
    from engine.worker.pictures import parted, with_pictures
    from engine.worker.sources import _parted

    several = parted(data, "person")
    if several is not None:
        assert parted(with_pictures(several.pictures, several.accept), "again") == several
    _parted(data)


def _people_seeds() -> list[bytes]:
    from engine.worker.pictures import Picture, with_pictures
    from engine.worker.sources import with_labels

    return [
        with_pictures([Picture("a.png", b"abc"), Picture("b.png", b"")], frozenset({"different-people"})),
        with_labels(b"picture", b"labels"),
    ]


def _packets(data: bytes) -> None:
    """RTP packets of a driver's video, each behind its length in two bytes, until frames are whole."""
    from aiortc.codecs import depayload
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters
    from aiortc.rtp import RtpPacket

    from streaming.assembly import Assembly
    from streaming.rtc import begins_key_frame

    name = "VP8" if len(data) % 2 else "H264"
    codec = RTCRtpCodecParameters(mimeType=f"video/{name}", clockRate=90000, payloadType=96)
    assembly = Assembly(lambda packet: begins_key_frame(name, packet), lambda: 0.0)
    at = 0
    while at + 2 < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        try:
            packet = RtpPacket.parse(data[at + 2 : end])
            packet._data = depayload(codec, packet.payload) if packet.payload else b""  # type: ignore[attr-defined]
        except ValueError:  # aiortc drops it
            packet = None
        if packet is not None:
            assembly.add(packet)
        at = end


def _packet_seeds() -> list[bytes]:
    lasts = (0, 0x80) * 3
    heads = [bytes([0x80, 0x60 | last, 0, n, 0, 0, 0, n // 2, 0, 0, 0, 1]) for n, last in enumerate(lasts)]
    bodies = [
        b"\x10\x00key", b"\x00rest", b"\x90\x80\x01\x01more",
        b"\x67sps", b"\x78\x00\x02\x67a\x00\x01\x68", b"\x7c\x85idr",
    ]  # fmt: skip
    packets = [head + body for head, body in zip(heads, bodies)]
    joined = b"".join(len(one).to_bytes(2, "big") + one for one in packets)
    return [joined, joined + b"\0"]


def _arkit(data: bytes) -> None:
    """A packet of Live Link Face."""
    from engine.drivers.arkit import read

    _sound(read(data))


def _arkit_seeds() -> list[bytes]:
    import struct

    head = struct.pack("!Bi3si4s", 6, 3, b"dev", 4, b"name") + struct.pack("!ifii", 7, 0.5, 60, 1)
    return [head + struct.pack("!B61f", 61, *np.linspace(0, 1, 61)), head[:16]]


def _openseeface(data: bytes) -> None:
    """A packet of OpenSeeFace."""
    from engine.drivers.openseeface import read

    _sound(read(data))


def _openseeface_seeds() -> list[bytes]:
    import struct

    from engine.drivers.openseeface import SIZES

    places = np.random.default_rng(0).uniform(100, 300, (68, 2)).astype("<f4").tobytes()
    told = struct.pack("<di4fB11f68f", 12.5, 0, 640, 480, 1, 1, 1, *[0.5] * 11, *[0.9] * 68) + places
    return [told + bytes(size - len(told)) for size in SIZES]


def _mediapipe(data: bytes) -> None:
    """Blendshapes of the browser, as JSON of the data channel."""
    from engine.drivers.mediapipe import read

    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return
    _sound(read(told))


def _mediapipe_seeds() -> list[bytes]:
    matrix = np.eye(4)
    matrix[2, 3] = -40.0
    told = {"blendshapes": {"jawOpen": 0.5, "eyeBlinkLeft": 0.1}, "matrix": matrix.T.ravel().tolist()}
    return [json.dumps(told).encode(), json.dumps({"blendshapes": {}}).encode()]


def _sound(acting: Any) -> None:
    """That whoever acts can be drawn: no part is NaN or infinite."""
    from engine.acting import acted_face

    if acting is not None:
        assert np.isfinite(acted_face(acting, (640, 480)).points).all(), acting


def _messages(data: bytes) -> None:
    """What the worker's process says, which may be a wrong one's last words."""
    from engine.worker import looking, messages

    message = messages.unpack(data)
    for read in (messages.read_report, messages.read_kind, messages.read_bundles, looking.read_look):
        with suppress(MarotteError):
            read(message)
    with suppress(MarotteError):
        messages.read_source(message, np.zeros((24, 16), np.uint8))


def _message_seeds() -> list[bytes]:
    from engine.types import FrameReport, Outcome
    from engine.worker import looking, messages
    from engine.worker.interface import BundleInfo, Look, SourceInfo, Stamp

    bundle = BundleInfo("mesh_flow", "Mesh flow", "mesh_flow", "Apache-2.0")
    report = FrameReport(3, Outcome.GENERATED, {"track": 0.01}, 0.05)
    source = SourceInfo("a", "a.png", (16, 16), 1, np.zeros((24, 16), np.uint8), ("a note",))
    return [
        messages.pack("bundles", bundles=[messages.bundle_fields(bundle)]),
        messages.pack("source", **messages.source_fields(source)),
        messages.pack("look", **looking.look_fields(Look(b"jpeg", ((1, 256),)))),
        messages.pack(
            "report", **messages.report_fields(report, Stamp(0, 1.0)), bundle="mesh_flow", mode="edit"
        ),
    ]


def _remote(data: bytes) -> None:
    """What a server that is pushed to says: where it leads, why it refuses, when to come again; a line each."""
    from streaming.remote import asking

    where, why, when = [*data.decode("latin-1").split("\n", 2), "", ""][:3]
    led = asking._joined("https://host.example/whip/a", where)
    assert led is None or led.startswith(("http://", "https://"))
    assert len(asking._detail(why)) <= len(why)
    assert 0.0 <= asking._wait_s(when) <= asking.MOST_WAIT_S


def _log(data: bytes) -> None:
    """A line of a log on its way into a bug report."""
    from streaming.redact import Redactor

    clean = Redactor(home=Path("/home/anna"), names=("anna",), secrets=("the server's own token",))
    told = clean.text(data.decode("utf-8", "replace"))
    assert "the server's own token" not in told
    assert "/home/anna" not in told, told


def _log_seeds() -> list[bytes]:
    return [
        b"open http://127.0.0.1:8765/?token=the server's own token",
        b'File "/home/anna/marotte/streaming/peer.py", line 3: turn:me:secret@turn.example 2001:db8::1 a b.jpg',
    ]


def _consent(data: bytes) -> None:
    """A record's file, and the list of what was revoked: what is read is sound."""
    from engine.consent.reading import parse, written
    from engine.consent.store import _revocations

    for name in _revocations(data)[0]:
        assert name.encode() in data or b"\\u" in data
    found = parse(data, "consent")
    assert found.record.sound
    assert parse(written(found), "again") == found


@cache
def _consent_seeds() -> list[bytes]:
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from engine.consent import Kind
    from engine.consent.reading import Exported, countersign, line_of, revocation, written
    from engine.consent.record import attest
    from engine.signing import Signer

    signer, now = Signer(Ed25519PrivateKey.from_private_bytes(KEY)), datetime(2026, 11, 22, tzinfo=UTC)
    record = attest(
        signer, ["ab" * 32], Kind.WRITTEN, shown="Zoë", attested_by="Ann", statement="Yes.", now=now,
        self_check={"distance": 0.5},
    )  # fmt: skip
    revoked = revocation(record.id, "asked", signer, now)
    return [
        written(Exported(record)),
        line_of(Exported(record, countersign(record, signer, now), revoked)).encode(),
    ]


@cache
def _signed() -> tuple[Path, bytes]:
    """A folder, and a small picture with a manifest."""
    import cv2

    from engine.provenance import Made, sign

    folder = Path(tempfile.mkdtemp(prefix="marotte-fuzz-"))
    path = folder / "signed.png"
    path.write_bytes(cv2.imencode(".png", np.full((1, 1), 9, np.uint8))[1].tobytes())
    sign(path, Made("render", "Mesh flow", "Apache-2.0", consent=("0f" * 16,)))
    return folder, path.read_bytes()


def _c2pa(data: bytes) -> None:
    """A file with a manifest, or the rest of one, through the library's reader."""
    from engine.provenance import read

    path = _signed()[0] / "asked.png"
    path.write_bytes(data)
    found = read(path)
    assert found is None or found.state in ("valid", "broken"), "trusted by nobody's list"
    if found is not None and found.state == "valid":
        assert found.consent == ("0f" * 16,), "what was signed stands there"


def _c2pa_told(data: bytes) -> None:
    """The JSON that the library gives for a file, whose words are anybody's."""
    from engine.provenance.reading import parsed
    from engine.verify.verdict import Status, Verdict
    from engine.verify.wording import lines

    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(told, dict):
        return
    manifest = parsed(told)
    verdict = Verdict("a", Status.NONE, c2pa=manifest.state, manifest=manifest).judged()
    json.dumps(verdict.as_dict())
    assert all(line.isprintable() for line in lines(verdict))


_TOLD = {
    "active_manifest": "a",
    "validation_state": "Valid",
    "manifests": {
        "a": {
            "title": "t",
            "claim_generator_info": [{"name": "n", "version": "1"}],
            "signature_info": {"issuer": "i", "time": "2026-01-01"},
            "ingredients": [{"title": "d", "relationship": "componentOf", "active_manifest": "a"}],
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created"}]}},
                {
                    "label": "marotte.made",
                    "data": {"consent": ["0f"], "bundle": {"title": "b", "licence": "l"}},
                },
            ],
        }
    },
    "validation_results": {"activeManifest": {"failure": [{"code": "c", "explanation": "e", "url": "u"}]}},
}


def _denied(data: bytes) -> None:
    """An entry of the deny-list, a report of a face that is like one, and the file of the kill switch."""
    from engine.denied.entries import parse, written
    from engine.denied.store import Report
    from streaming.kill import FILE, KillSwitch, read

    report = Report.of(data)
    assert report is None or Report.of(report.line()) == report
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(data)
        assert read(Path(folder)).why.isprintable()
        (Path(folder) / "stop").mkdir()
        (Path(folder) / "stop" / FILE).write_bytes(data)
        assert KillSwitch(Path(folder)).killed
    try:
        entry = parse(data)
    except ValueError:
        return
    assert written(parse(written(entry))) == written(entry)


def _denied_seeds() -> list[bytes]:
    from datetime import UTC, datetime

    from engine.denied.entries import Entry, written
    from engine.denied.shapes import DIRECTIONS, Template

    day, random = datetime(2026, 5, 4, tzinfo=UTC), np.random.default_rng(3)
    template = Template("0f" * 8, day, random.normal(size=DIRECTIONS).astype(np.float32))
    hashes = random.integers(0, 255, (3, 32), np.uint8)
    full = Entry("0123456789ab", day, "on a report", ("ab" * 32,), (hashes,), hashes[:2], template)
    return [
        written(full),
        b'{"time": "2026-05-04T00:00:00+00:00", "source": "a", "entry": "0123456789ab", "apart": 0.05}',
        b'{"time": "2026-05-04T00:00:00+00:00", "why": "a report", "by": "the API"}',
    ]


TARGETS: dict[str, Target] = {
    "denied": Target(_denied, _denied_seeds, (b'"hashes"', b'"template"', b"null", b"1e999", b"\\u0007", b"[["), 4096),
    "c2pa": Target(_c2pa, lambda: [_signed()[1]], (b"jumb", b"jumd", b"cbor", b"c2pa", b"caBX"), 1 << 15),
    "c2pa_told": Target(
        _c2pa_told, lambda: [json.dumps(_TOLD).encode()], (b'"manifests"', b'"made"', b"null", b"[]", b"1e999"), 1 << 14
    ),
    "offer": Target(_offer, _offers, (b"a=candidate:", b"m=video ", b"\r\n", b" UDP ", b"a=fmtp:", b".local"), 8192),
    "whip": Target(
        _whip,
        lambda: [
            b'PATCH /whip/a/b\nContent-Type: application/trickle-ice-sdpfrag\nIf-Match: "x", W/"y"\n\n'
            b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijklmn\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
            b"a=candidate:1 1 UDP 1 127.0.0.1 5000 typ host\r\na=end-of-candidates\r\n",
            b"POST /whip/a?source=b&mode=edit&donors=c,d&kind=myself&attested_by=a\nContent-Type: application/sdp\n"
            b"Accept: application/sdp;q=0.5, */*;q=0\n\na=end-of-candidates",
        ],
        (b"a=candidate:", b"a=mid:", b"If-Match: *", b"Accept: ", b"q=0"),
    ),
    "doors": Target(_doors, _doors_seeds, (b"mrt1.", b"Bearer ", b"Cookie: ", b"Origin: ", b"/join/", b"%2e")),
    "control": Target(
        _control, lambda: [json.dumps(one).encode() for one in CONTROLS], (b'"change"', b"1e999", b"NaN")
    ),
    "token": Target(
        _token, lambda: [b'{"exp":2000,"iat":900,"id":"a","scopes":["api","view:demo"]}'], (b'"scopes"', b"room:"), 800
    ),
    "manifest": Target(_manifest, _manifests, (b'"format"', b'"graphs"', b'"shape"', b"null", b"1e999"), 1 << 15),
    "graph": Target(_graph, lambda: [_small_bundle()[0]], (), 1 << 15),
    "painting": Target(_painting, lambda: [b"[[1,200],[255,56]]", b"[[0,4096]]"], (b"[", b"]", b","), 2048),
    "labels": Target(_labels, _label_pictures, (b"IDAT", b"PLTE", b"tRNS", b"IEND"), 2048),
    "picture": Target(_picture, _pictures, (b"IHDR", b"VP8X", b"Exif\0\0", b"\xff\xe1"), 4096),
    "people": Target(_people, _people_seeds, (b'"pictures"', b'"accept"'), 2048),
    "packets": Target(_packets, _packet_seeds, (), 2048),
    "arkit": Target(_arkit, _arkit_seeds, (b"\x7f\x80\0\0", b"\x7f\xc0\0\0"), 1100),
    "openseeface": Target(_openseeface, _openseeface_seeds, (b"\0\0\x80\x7f", b"\0\0\xc0\x7f"), 4096),
    "mediapipe": Target(_mediapipe, _mediapipe_seeds, (b'"matrix"', b"1e999", b"NaN")),
    "remote": Target(
        _remote,
        lambda: [b'/whip/a/1\n{"status": 429, "title": "busy", "detail": "too many"}\n7', b"//b.example/x\nno\n1e9"],
        (b"https://", b"//", b"@", b'"detail"', b"Sun, 06 Nov 1994 08:49:37 GMT"),
    ),
    "log": Target(_log, _log_seeds, (b"/home/anna", b"token=", b"mrt1.", b".jpg"), 4096),
    "consent": Target(_consent, _consent_seeds, (b'"scope"', b'"revoked"', b"null", b"1e999", b"+00:00"), 4096),
    "messages": Target(_messages, _message_seeds, (b'"kind"',), 4096),
}  # fmt: skip


def run(target: Target, data: bytes) -> None:
    """One input; a MarotteError is how a refusal ends."""
    with suppress(MarotteError):
        target.one(data[: target.most])
