// A page of another site that knows nothing of ours: WHIP and WHEP through fetch alone, as RFC 9725 has them.
(() => {
  const peers = {};
  window.peers = peers;

  const authorized = (token, more) => ({ Authorization: `Bearer ${token}`, ...more });

  function camera() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const context = canvas.getContext("2d");
    let turn = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(turn += 5)} 60% 50%)`;
      context.fillRect(0, 0, 320, 240);
    }, 50);
    return canvas.captureStream(20).getVideoTracks()[0];
  }

  function microphone() {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return out.stream.getAudioTracks()[0];
  }

  const fragment = (peer, candidates) => {
    const lines = peer.localDescription.sdp.split("\r\n");
    const section = lines.slice(lines.findIndex((line) => line.startsWith("m=")));
    const own = (start) => section.find((line) => line.startsWith(start));
    const head = [section[0], own("a=mid:"), own("a=ice-ufrag:"), own("a=ice-pwd:")];
    return [...head, ...candidates.map((one) => `a=${one}`), "a=end-of-candidates", ""].join("\r\n");
  };

  const gathered = (peer) =>
    new Promise((resolve) => {
      const candidates = [];
      peer.onicecandidate = ({ candidate }) =>
        candidate?.candidate ? candidates.push(candidate.candidate) : resolve(candidates);
    });

  async function patch(made, body, match) {
    const headers = authorized(made.token, { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": match });
    const answer = await fetch(made.place, { method: "PATCH", headers, body });
    return { status: answer.status, etag: answer.headers.get("ETag"), body: await answer.text() };
  }

  async function open(name, address, token, peer) {
    const candidates = gathered(peer);
    await peer.setLocalDescription();
    const headers = authorized(token, { "Content-Type": "application/sdp" });
    const answer = await fetch(address, { method: "POST", headers, body: peer.localDescription.sdp });
    if (!answer.ok) return { status: answer.status, said: await answer.text() };
    const place = new URL(answer.headers.get("Location"), address).href;
    const made = { peer, token, place, etag: answer.headers.get("ETag") };
    peers[name] = made;
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    const trickled = await patch(made, fragment(peer, await candidates), made.etag);
    return { status: answer.status, trickled: trickled.status, etag: made.etag };
  }

  window.publish = (name, address, token) => {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    peer.addTransceiver(microphone(), { direction: "sendonly" });
    peer.addTransceiver(camera(), { direction: "sendonly" });
    return open(name, address, token, peer);
  };

  window.play = (name, address, token) => {
    const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    const video = document.body.appendChild(document.createElement("video"));
    [video.muted, video.autoplay, video.srcObject] = [true, true, new MediaStream()];
    peer.ontrack = ({ track }) => video.srcObject.addTrack(track);
    return open(name, address, token, peer);
  };

  window.restart = async (name) => {
    const made = peers[name];
    const candidates = gathered(made.peer);
    await made.peer.setLocalDescription(await made.peer.createOffer({ iceRestart: true }));
    const told = await patch(made, fragment(made.peer, await candidates), "*");
    const lines = told.body.split("\r\n");
    const own = (start) => lines.find((line) => line.startsWith(start));
    const others = lines.filter((line) => line.startsWith("a=candidate:"));
    const before = made.peer.currentRemoteDescription.sdp;
    const sdp = before
      .replace(/a=candidate:.*\r\n/g, "")
      .replace(/a=ice-ufrag:.*/g, own("a=ice-ufrag:"))
      .replace(/a=ice-pwd:.*\r\n/, `${own("a=ice-pwd:")}\r\n${others.map((line) => `${line}\r\n`).join("")}`)
      .replace(/a=ice-pwd:.*/g, own("a=ice-pwd:"));
    await made.peer.setRemoteDescription({ type: "answer", sdp });
    const stale = await patch(made, fragment(made.peer, []), made.etag);
    made.etag = told.etag;
    return { status: told.status, stale: stale.status };
  };

  window.figures = async (name) => {
    const { peer } = peers[name];
    const found = { state: peer.connectionState, pairs: 0 };
    for (const each of (await peer.getStats()).values()) {
      if (each.type === "inbound-rtp") found[each.kind] = each.framesDecoded ?? each.totalSamplesReceived;
      if (each.type === "outbound-rtp") found[each.kind] = each.packetsSent;
      if (each.type === "transport") found.pair = each.selectedCandidatePairId;
    }
    return found;
  };

  window.end = async (name) => {
    const { place, token, peer } = peers[name];
    const answer = await fetch(place, { method: "DELETE", headers: authorized(token) });
    peer.close();
    return answer.status;
  };
})();
