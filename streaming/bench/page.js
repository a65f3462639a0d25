// One camera, drawn with a numbered strip into one canvas, and calls that carry that canvas's track.
//
// What is sent, how it is limited and how it is read back is the same for every call; only the far end differs:
// another connection of this page, or a server. Times are performance.now() in milliseconds.
import { Beeper, inPageTime, onsets } from "./beeps.js";
import * as strip from "./strip.js";

const MAX_BITRATE = 2_500_000;
const REMEMBERED = 1024;
const REFRESH_MS = 1000 / 60;
const SWEEP_MS = 2000;

/**
 * Milliseconds from a camera's frame until it is drawn: to and fro over one refresh of the display. Pictures are
 * presented at a refresh; without this a whole run would stand at one distance from it, and so by luck.
 */
function phase(now) {
  const turn = (now / SWEEP_MS) % 2;
  return REFRESH_MS * (turn < 1 ? turn : 2 - turn);
}

const bench = {
  calls: new Map(),
  drawn: new Map(),
  number: 0,
  kept: null,
  beeper: null,
  flashing: false,
  flashes: [],
  lastFlash: -REMEMBERED,

  /** Open the camera and number its frames. sound: and beep once in a second. */
  async start({ width, height, rate, sound }) {
    if (sound) bench.beeper = await Beeper.start();
    const camera = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: rate } });
    const video = document.createElement("video");
    video.muted = true;
    video.srcObject = camera;
    document.body.append(video);
    await video.play();
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { alpha: false });
    bench.track = canvas.captureStream(0).getVideoTracks()[0];
    const next = () => {
      setTimeout(() => bench.sendFrame(video, context), phase(performance.now()));
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  },

  sendFrame(video, context) {
    const number = ++bench.number;
    bench.drawn.set(number, performance.now());
    bench.drawn.delete(number - REMEMBERED);
    context.drawImage(video, 0, 0, context.canvas.width, context.canvas.height);
    if (bench.flashing && bench.beeper.beeping) {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
      bench.flashed(number);
    }
    if (bench.kept) bench.keep("sent", number, context.canvas, context.canvas.width, context.canvas.height);
    strip.draw(context, context.canvas.width, context.canvas.height, number);
    bench.track.requestFrame();
  },

  /** Whether frames are white while it beeps. */
  flash(on) {
    bench.flashing = on;
  },

  /** The first frame of a flash is the one that counts. */
  flashed(number) {
    const { flashes } = bench;
    if (number - bench.lastFlash > 3) flashes.push(bench.drawn.get(number));
    bench.lastFlash = number;
    if (flashes.length > REMEMBERED) flashes.shift();
  },

  /** A smaller copy of a picture, with its number, as JPEG; encoded beside this thread. */
  keep(kind, number, picture, width, height) {
    const kept = bench.kept;
    const canvas = document.createElement("canvas");
    canvas.width = kept.width;
    canvas.height = Math.round((kept.width * height) / width);
    canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0, canvas.width, canvas.height);
    kept[kind].push([number, performance.now(), new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))]);
  },

  /** A connection that sends the canvas's track with the codec and the limits that all calls have. */
  async connection(codec, direction) {
    const pc = new RTCPeerConnection();
    const streams = [new MediaStream()];
    const transceiver = pc.addTransceiver(bench.track, { direction, streams });
    if (bench.beeper) pc.addTransceiver(bench.beeper.track, { direction, streams });
    bench.prefer(transceiver, codec);
    const parameters = transceiver.sender.getParameters();
    parameters.encodings = [{ ...parameters.encodings[0], maxBitrate: MAX_BITRATE }];
    parameters.degradationPreference = "maintain-resolution";
    await transceiver.sender.setParameters(parameters);
    return pc;
  },

  prefer(transceiver, codec) {
    const mime = `video/${codec}`.toLowerCase();
    const all = RTCRtpReceiver.getCapabilities("video").codecs;
    transceiver.setCodecPreferences([
      ...all.filter((one) => one.mimeType.toLowerCase() === mime),
      ...all.filter((one) => one.mimeType.toLowerCase() === "video/rtx"),
    ]);
  },

  /** Browser to browser: two connections of this page. */
  async callLocal(name, codec) {
    const near = await bench.connection(codec, "sendonly");
    const far = new RTCPeerConnection();
    const call = bench.register(name, near, far);
    near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
    far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
    await near.setLocalDescription();
    await far.setRemoteDescription(near.localDescription);
    await far.setLocalDescription();
    await near.setRemoteDescription(far.localDescription);
    await call.playing;
  },

  /** To a server, in two steps: the offer with all its candidates, then the answer. */
  async offer(name, codec) {
    const pc = await bench.connection(codec, "sendrecv");
    const call = bench.register(name, pc, pc);
    call.channel = pc.createDataChannel("marotte", { ordered: true });
    call.channel.onopen = () => call.channel.send(JSON.stringify({ measure: true }));
    call.channel.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.report) call.reports.push([performance.now(), message.report]);
      else call.messages.push([performance.now(), message]);
    };
    await pc.setLocalDescription();
    await new Promise((done) => {
      const look = () => pc.iceGatheringState === "complete" && done();
      pc.addEventListener("icegatheringstatechange", look);
      look();
    });
    return { sdp: pc.localDescription.sdp, type: pc.localDescription.type };
  },

  async answer(name, description) {
    const call = bench.calls.get(name);
    await call.sending.setRemoteDescription(description);
    await call.playing;
  },

  say(name, message) {
    bench.calls.get(name).channel.send(JSON.stringify(message));
  },

  register(name, sending, receiving) {
    const video = document.createElement("video");
    video.muted = true;
    video.autoplay = true;
    document.body.append(video);
    const stream = new MediaStream();
    const call = { sending, receiving, video, rows: [], numbers: new Set(), reports: [], messages: [], last: 0, frames: 0 };
    Object.assign(call, { beeps: [], seen: [], bright: false });
    call.playing = new Promise((done) => {
      receiving.ontrack = ({ track, receiver }) => {
        stream.addTrack(track);
        video.srcObject = stream;
        if (track.kind === "audio") {
          void onsets(track.clone(), (at) => call.beeps.push(at));
          return;
        }
        receiver.jitterBufferTarget = 0;
        if (!bench.beeper) bench.count(call, track.clone());
      };
      const look = (now, about) => {
        done();
        bench.shown(call, about);
        video.requestVideoFrameCallback(look);
      };
      video.requestVideoFrameCallback(look);
    });
    bench.calls.set(name, call);
    return call;
  },

  /** Read the number of a received picture, and note when its frame was drawn and when it was presented. */
  shown(call, about) {
    const { videoWidth: width, videoHeight: height } = call.video;
    const rows = strip.stripHeight(height);
    if (!call.reader || call.reader.canvas.width !== width || call.reader.canvas.height !== rows) {
      const canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = rows;
      call.reader = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    }
    call.reader.drawImage(call.video, 0, 0, width, rows, 0, 0, width, rows);
    const number = strip.read(call.reader.getImageData(0, 0, width, rows));
    call.frames++;
    if (bench.flashing) bench.look(call, about);
    if (bench.kept && bench.kept.call === call) bench.keep("received", number, call.video, width, height);
    if (number <= call.last) return;
    call.last = number;
    const drawn = bench.drawn.get(number);
    if (drawn !== undefined) call.rows.push([number, drawn, about.presentationTime, about.expectedDisplayTime]);
  },

  /** Note when a flash begins. */
  look(call, about) {
    call.small ??= new OffscreenCanvas(8, 8).getContext("2d", { alpha: false, willReadFrequently: true });
    const { videoWidth: width, videoHeight: height } = call.video;
    call.small.drawImage(call.video, 0, height / 4, width, height / 2, 0, 0, 8, 8);
    const { data } = call.small.getImageData(0, 0, 8, 8);
    const bright = data.reduce((sum, value) => sum + value, 0) / data.length > 225;
    if (bright && !call.bright) call.seen.push(about.presentationTime);
    call.bright = bright;
  },

  /** Read every received picture's number, also of those that no refresh of the display was left for. */
  async count(call, track) {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 4 }).readable.getReader();
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) return;
      const number = await bench.numberOf(frame).finally(() => frame.close());
      if (number >= 0) call.numbers.add(number);
    }
  },

  /** From the luma of a VideoFrame's first rows. */
  async numberOf(frame) {
    const { x, y, width: wide } = frame.visibleRect;
    const width = wide & ~1;
    const height = strip.stripHeight(frame.visibleRect.height) & ~1;
    const rect = { x, y, width, height };
    const bytes = new Uint8Array(frame.allocationSize({ rect }));
    const [luma] = await frame.copyTo(bytes, { rect });
    const data = new Uint8Array(4 * width * height);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        data.fill(bytes[luma.offset + row * luma.stride + column], 4 * (row * width + column), 4 * (row * width + column) + 3);
      }
    }
    return strip.read({ data, width, height });
  },

  /** What a call does in the next `ms`. */
  async measure(name, ms) {
    const call = bench.calls.get(name);
    const before = await bench.stats(call);
    const [sent, frames, from] = [bench.number, call.frames, performance.now()];
    call.rows.length = call.reports.length = 0;
    const beeped = bench.beeper?.sent.length ?? 0;
    call.numbers.clear();
    await new Promise((done) => setTimeout(done, ms));
    const seconds = (performance.now() - from) / 1000;
    const after = await bench.stats(call);
    return {
      seconds,
      from,
      sent: bench.number - sent,
      presented: call.frames - frames,
      received: call.numbers.size,
      rows: call.rows.slice(),
      reports: call.reports.map(([, report]) => report),
      beeped: (bench.beeper?.sent.slice(beeped) ?? []).map(inPageTime),
      beeps: call.beeps.map(inPageTime),
      flashed: bench.flashes.slice(),
      flashes: call.seen.slice(),
      before,
      after,
      codec: await bench.codec(call),
      size: [call.video.videoWidth, call.video.videoHeight],
    };
  },

  async stats(call) {
    const found = {};
    for (const [pc, kind] of [[call.sending, "outbound-rtp"], [call.receiving, "inbound-rtp"]]) {
      for (const one of (await pc.getStats()).values()) {
        if (one.type === kind && (one.kind === "video" || one.kind === "audio")) {
          for (const [key, value] of Object.entries(one)) {
            const of = one.kind === "video" ? kind.split("-")[0] : `${one.kind}.${kind.split("-")[0]}`;
            if (typeof value === "number" || typeof value === "string") found[`${of}.${key}`] = value;
          }
        }
      }
    }
    return found;
  },

  /** Mime type of what is received. */
  async codec(call) {
    const all = [...(await call.receiving.getStats()).values()];
    const inbound = all.find((one) => one.type === "inbound-rtp" && one.kind === "video");
    return all.find((one) => one.id === inbound?.codecId)?.mimeType ?? "";
  },

  /** For `ms`, smaller copies of every sent and received picture: [number, time, base64 JPEG] each. */
  async record(name, ms, width) {
    const kept = (bench.kept = { call: bench.calls.get(name), width, sent: [], received: [] });
    await new Promise((done) => setTimeout(done, ms));
    bench.kept = null;
    const text = async (blob) => {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      let binary = "";
      for (const byte of bytes) binary += String.fromCharCode(byte);
      return btoa(binary);
    };
    const all = (list) => Promise.all(list.map(async ([n, t, blob]) => [n, t, await text(await blob)]));
    return { sent: await all(kept.sent), received: await all(kept.received) };
  },

  hangUp(name) {
    const call = bench.calls.get(name);
    if (!call) return;
    call.sending.close();
    call.receiving.close();
    call.video.srcObject = null;
    call.video.remove();
    bench.calls.delete(name);
  },
};

window.bench = bench;
