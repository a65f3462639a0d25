// In the page's place of a server: a peer of the page's own, which sends back what it gets, or a picture of its own.
// `stub` is what a test says and asks.
(() => {
  const stub = {
    heard: [],
    offers: [],
    ended: [],
    patches: [],
    refuse: null, // {status, kind, message} for the next offers; only: for this source
    report: {
      outcome: "generated", reason: null, faces: 1, stages: { decode: 1.5, track: 9.25, render: 12 },
      age_ms: { p50: 21.5, p95: 33 }, filter_lag_ms: 14, fps_in: 30, fps_out: 29.5, dropped: { replaced: 3 },
      codec: "h264", kbps: 1900, size: [320, 240], worker: "ready", restarts: 0, changes: 0, measuring: false,
      paused: false, pass_through: false, driver_pixels: false, round_trip_ms: null,
    },
    say: (message) => stub.channel.send(JSON.stringify(message)),
    tell: (changes) => stub.say({ report: { ...stub.report, ...changes } }),
    drop: () => stub.peer.close(),
    paintings: [],
    doors: {
      layout: () => ({ picture: stub.jpeg, labels: [[0, 8192], [13, 8192], [1, 49152]] }),
      painting: (_, { body }) => ({ changes: stub.paintings.push(JSON.parse(body)) }),
      labels: () => ({ labels: [[17, 1024]] }),
    },
    of: (name) => stub.heard.filter((message) => name in message),
  };
  window.stub = stub;
  const blank = document.createElement("canvas");
  [blank.width, blank.height] = [64, 64];
  blank.getContext("2d").fillRect(0, 0, 64, 64);
  stub.jpeg = blank.toDataURL("image/jpeg").split(",")[1];

  function picture() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const context = canvas.getContext("2d");
    let turn = 0;
    window.setInterval(() => {
      context.fillStyle = `hsl(${(turn += 5)} 60% 50%)`;
      context.fillRect(0, 0, 320, 240);
    }, 33);
    return canvas.captureStream(30).getVideoTracks()[0];
  }

  async function answer(offer) {
    stub.offers.push(offer);
    if (stub.refuse && (!stub.refuse.only || stub.refuse.only === offer.source)) {
      const { status, kind, message } = stub.refuse;
      return new Response(JSON.stringify({ status, title: kind, detail: message }), { status });
    }
    const peer = new RTCPeerConnection();
    stub.peer = peer;
    peer.ondatachannel = ({ channel }) => {
      stub.channel = channel;
      channel.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        stub.heard.push(message);
        if ("ping" in message) stub.say({ pong: message.ping });
        if ("seq" in message) stub.say({ ack: message.seq, changes: message.seq });
      };
      if (channel.readyState === "open") stub.tell({});
      else channel.onopen = () => stub.tell({});
    };
    let echoed = null;
    peer.ontrack = ({ track }) => (echoed = track.kind === "video" ? track : echoed);
    await peer.setRemoteDescription({ type: offer.type, sdp: offer.sdp });
    const [transceiver] = peer.getTransceivers();
    await transceiver.sender.replaceTrack(offer.driver === "camera" ? echoed : picture());
    transceiver.direction = offer.driver === "camera" ? "sendrecv" : "sendonly";
    await peer.setLocalDescription();
    await new Promise((resolve) => {
      const look = () => peer.iceGatheringState === "complete" && resolve();
      peer.onicegatheringstatechange = look;
      look();
    });
    const Location = `/whip/stream/session-${stub.offers.length}`;
    return new Response(peer.localDescription.sdp, { status: 201, headers: { Location, ETag: '"1"' } });
  }

  async function patch(options) {
    stub.patches.push(options);
    if (options.headers["If-Match"] === "*") return new Response(null, { status: 422 });
    for (const line of options.body.split("\r\n").filter((each) => each.startsWith("a=candidate:"))) {
      await stub.peer.addIceCandidate({ candidate: line.slice(2), sdpMLineIndex: 0 });
    }
    return new Response(null, { status: 204 });
  }

  function offer({ searchParams }, sdp) {
    const { donors, ...asked } = Object.fromEntries(searchParams);
    return { sdp, type: "offer", ...asked, ...(donors && { donors: donors.split(",") }) };
  }

  const real = window.fetch.bind(window);
  window.fetch = async (path, options = {}) => {
    const { method = "GET" } = options;
    const address = new URL(path, location.href);
    if (method === "POST" && address.pathname === "/whip") return answer(offer(address, options.body));
    if (method === "PATCH") return patch(options);
    const door = /^\/api\/v1\/(?:sessions\/[^/]+\/(layout|painting)|(labels))/.exec(String(path));
    if (door) {
      const { status, ...told } = await stub.doors[door[1] ?? door[2]](path, options);
      return new Response(JSON.stringify(told), { status: status ?? 200 });
    }
    if (method === "DELETE" && address.pathname.startsWith("/whip/")) {
      stub.ended.push(address.pathname);
      return new Response(null);
    }
    return real(path, options);
  };
})();
