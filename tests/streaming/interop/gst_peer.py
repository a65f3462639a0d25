"""GStreamer's webrtcbin as a WHIP publisher or a WHEP player, for the system's Python: tests run it as a process.

    /usr/bin/python3 gst_peer.py publish|play ADDRESS TOKEN vp8|h264 SECONDS [trickle]

It prints one JSON object for each thing that happens: {"state": ...}, {"status": ..., "etag": ...}, {"frames": ...}.
"""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from itertools import pairwise
from urllib.parse import urljoin

import gi

for name in ("Gst", "GstWebRTC", "GstSdp"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAMERA = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! "
    "videoconvert ! queue ! "
)
SENT = {
    "vp8": (
        "vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay ! "
        "application/x-rtp,media=video,encoding-name=VP8,payload=96"
    ),
    "h264": (
        "x264enc tune=zerolatency speed-preset=veryfast key-int-max=30 ! video/x-h264,profile=high ! "
        "rtph264pay config-interval=-1 aggregate-mode=zero-latency ! "
        "application/x-rtp,media=video,encoding-name=H264,payload=96"
    ),
}
SOUND = (
    "audiotestsrc is-live=true wave=ticks ! opusenc ! rtpopuspay ! "
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=97"
)
CAPS = {
    "vp8": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96",
    "h264": (
        "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,packetization-mode=(string)1,"
        "profile-level-id=(string)42e01f"
    ),
}


def tell(**what):
    print(json.dumps(what), flush=True)


class Peer:
    def __init__(self, role, address, token, codec, trickle):
        self.address, self.token, self.codec, self.trickle = address, token, codec, trickle
        self.place = self.etag = ""
        self.candidates, self.frames, self.offer = [], 0, None
        if role == "publish":
            pipeline = f"{CAMERA}{SENT[codec]} ! w. {SOUND} ! w. webrtcbin name=w bundle-policy=max-bundle"
            self.pipeline = Gst.parse_launch(pipeline)
            self.webrtc = self.pipeline.get_by_name("w")
        else:
            self.pipeline, self.webrtc = Gst.Pipeline(), Gst.ElementFactory.make("webrtcbin")
            self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
            self.pipeline.add(self.webrtc)
        self.webrtc.connect("on-negotiation-needed", self.negotiate)
        self.webrtc.connect("on-ice-candidate", self.found)
        self.webrtc.connect("notify::ice-gathering-state", self.gathered)
        self.webrtc.connect("notify::connection-state", self.connected)
        self.webrtc.connect("pad-added", self.plays)
        if role == "play":
            receives = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            for caps in (
                CAPS[codec],
                "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97",
            ):
                self.webrtc.emit("add-transceiver", receives, Gst.Caps.from_string(caps))
        else:
            sends = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
            for number in range(2):
                self.webrtc.emit("get-transceiver", number).set_property("direction", sends)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda bus, message: tell(error=str(message.parse_error())))
        self.pipeline.set_state(Gst.State.PLAYING)

    def negotiate(self, element):
        element.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise, _):
        reply = promise.get_reply()
        made = reply.get_value("offer")
        # A copy of its own: what the reply has goes with it.
        _, message = GstSdp.SDPMessage.new_from_text(made.sdp.as_text())
        self.offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
        self.webrtc.emit("set-local-description", self.offer, Gst.Promise.new())
        if self.trickle:
            self.post(self.offer.sdp.as_text())

    def found(self, element, line, candidate):
        self.candidates.append(candidate)

    def gathered(self, element, _):
        if element.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        if self.trickle:
            threading.Thread(target=self.patch).start()
        elif not self.place:
            self.post(element.get_property("local-description").sdp.as_text())

    def ask(self, method, address, body, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Authorization"] = f"Bearer {self.token}"
        asked = urllib.request.Request(address, body, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                told = answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            told = error.code, error.headers, error.read().decode()
        tell(
            method=method, status=told[0], etag=told[1].get("ETag", ""), said="" if told[0] < 300 else told[2]
        )
        return told

    def post(self, sdp):
        status, headers, text = self.ask("POST", self.address, sdp.encode(), Content_Type="application/sdp")
        if status != 201:
            return
        self.etag = headers["ETag"]
        self.place = urljoin(self.address, headers["Location"])
        _, message = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new())

    def patch(self):
        while not self.place:
            time.sleep(0.05)
        text = self.offer.sdp.as_text()
        own = [line for line in text.splitlines() if line.startswith(("a=ice-ufrag", "a=ice-pwd", "a=mid"))][
            :3
        ]
        lines = [
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            *own,
            *(f"a={one}" for one in self.candidates),
            "a=end-of-candidates",
        ]
        kind = "application/trickle-ice-sdpfrag"
        body = "".join(f"{line}\r\n" for line in lines).encode()
        self.ask("PATCH", self.place, body, Content_Type=kind, If_Match=self.etag)

    def connected(self, element, _):
        tell(state=element.get_property("connection-state").value_nick)

    def plays(self, element, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        sink = Gst.ElementFactory.make("fakesink")
        if caps.get_string("media") == "video":
            depay, decode = (
                ("rtpvp8depay", "vp8dec") if self.codec == "vp8" else ("rtph264depay", "avdec_h264")
            )
            parts = [Gst.ElementFactory.make(name) for name in (depay, decode)]
            sink.set_property("signal-handoffs", True)
            sink.connect("handoff", self.shown)
        else:
            parts = [Gst.ElementFactory.make(name) for name in ("rtpopusdepay", "opusdec")]
        parts.append(sink)
        for part in parts:
            self.pipeline.add(part)
            part.sync_state_with_parent()
        for one, next_one in pairwise(parts):
            one.link(next_one)
        pad.link(parts[0].get_static_pad("sink"))
        tell(plays=caps.get_string("media"), codec=caps.get_string("encoding-name"))

    def shown(self, sink, buffer, pad):
        self.frames += 1
        if self.frames in (1, 10, 30):
            caps = pad.get_current_caps().get_structure(0)
            tell(frames=self.frames, size=[caps.get_value("width"), caps.get_value("height")])

    def end(self):
        if self.place:
            self.ask("DELETE", self.place, None)
        self.pipeline.set_state(Gst.State.NULL)


def heard(loop):
    """A line on standard input ends it earlier; the end of the input, as of one that never was, does not."""
    if os.read(sys.stdin.fileno(), 4096):
        loop.quit()
    return False


def main():
    role, address, token, codec, seconds, *rest = sys.argv[1:]
    Gst.init(None)
    loop = GLib.MainLoop()
    peer = Peer(role, address, token, codec, "trickle" in rest)
    GLib.timeout_add(int(1000 * float(seconds)), loop.quit)
    GLib.io_add_watch(
        sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, lambda *_: heard(loop)
    )
    loop.run()
    peer.end()


if __name__ == "__main__":
    main()
