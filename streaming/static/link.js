import { whipOf } from "./api.js";
import { Way } from "./way.js";
import { Resource } from "./whip.js";

/** @import {Driver, Message, Mode} from "./messages.js" */

/**
 * @typedef {object} Plan what a call is made with
 * @property {string} source
 * @property {Driver} driver
 * @property {string} codec "auto", "vp8" or "h264"
 * @property {MediaStreamTrack | null} track what is sent; null with the demo driver
 * @property {"sendonly" | "sendrecv" | null} sound direction of the sound, null without
 * @property {MediaStreamTrack | null} soundTrack what is sent of it, null for silence
 * @property {RTCDegradationPreference} keep what a slow line keeps
 * @property {number} bitrate most that is sent, bits per second
 * @property {RTCIceServer[]} iceServers
 * @property {{bundle?: string, mode?: Mode, donors?: string[]}} wish what is to leave, where the server offers a choice
 * @property {string} [endpoint] of WHIP, this server's own where it is left out
 * @property {Record<string, string>} [headers] of every request
 *
 * @typedef {object} LinkEvents
 * @property {(stream: MediaStream) => void} picture the returned picture has begun
 * @property {() => void} open the control channel is open
 * @property {(message: Message) => void} message
 * @property {(why: string) => void} lost once, when the link ended by itself
 */

const LABEL = "marotte";
const MOST_BYTES = 4096;
const START_KBPS = 1000;

/**
 * One peer connection with its control channel, from offer to end. Its way is looked for anew while it is disconnected;
 * what is lost is not mended: `lost` is told once.
 */
export class Link {
  /** @type {string | null} */
  session = null;
  /** @type {Resource} */
  #resource;
  /** @type {Way} */
  #way;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {RTCRtpSender | null} */
  #soundSender = null;
  #ended = false;

  /**
   * @param {Plan} plan
   * @param {LinkEvents} told
   */
  constructor(plan, told) {
    this.plan = plan;
    this.told = told;
    this.peer = new RTCPeerConnection({ iceServers: plan.iceServers, bundlePolicy: "max-bundle" });
    this.#resource = new Resource(this.peer, plan.headers);
    this.channel = this.peer.createDataChannel(LABEL, { ordered: true });
    this.channel.onopen = () => told.open();
    this.channel.onclose = () => this.#lose("the control channel closed");
    this.channel.onmessage = (event) => this.#heard(event.data);
    this.#way = new Way(this.peer, this.#resource, (why) => this.#lose(why));
    this.peer.ontrack = ({ receiver, streams, track }) => {
      if (track.kind !== "video") return; // it is in the picture's stream
      playAtOnce(receiver);
      told.picture(streams[0] ?? new MediaStream([track]));
    };
  }

  /**
   * Offers and takes the answer. Throws Refusal, or an AbortError.
   *
   * @param {AbortSignal} signal
   */
  async open(signal) {
    const { plan, peer } = this;
    const transceiver = plan.track
      ? peer.addTransceiver(plan.track, { direction: "sendrecv", sendEncodings: [{ maxBitrate: plan.bitrate }] })
      : peer.addTransceiver("video", { direction: "recvonly" });
    preferCodec(transceiver, plan.codec);
    if (plan.track) this.#sender = transceiver.sender;
    if (plan.sound) {
      const sound = peer.addTransceiver(plan.soundTrack ?? "audio", { direction: plan.sound });
      this.#soundSender = sound.sender;
    }
    const { source, driver, codec, wish } = plan;
    await this.#resource.open(whipOf({ source, driver, codec, ...wish }, plan.endpoint), signal, startFaster);
    this.session = this.#resource.id;
    await this.#shape();
    this.#way.begin();
  }

  /**
   * @param {object} message
   * @returns {boolean} whether it went out
   */
  send(message) {
    if (this.channel.readyState !== "open") return false;
    const text = JSON.stringify(message);
    if (text.length > MOST_BYTES) throw new Error(`a message has ${text.length} characters, more than ${MOST_BYTES}`);
    this.channel.send(text);
    return true;
  }

  /** Bytes of messages that have not left yet. */
  get waiting() {
    return this.channel.bufferedAmount;
  }

  /**
   * Sends another track from the next frame on.
   *
   * @param {MediaStreamTrack | null} track null: nothing
   */
  async replaceTrack(track) {
    this.plan.track = track;
    await this.#sender?.replaceTrack(track);
  }

  /**
   * The same of the sound; null for silence.
   *
   * @param {MediaStreamTrack | null} track
   */
  async replaceSound(track) {
    this.plan.soundTrack = track;
    await this.#soundSender?.replaceTrack(track);
  }

  /** Whether it is made to send a picture. */
  get sends() {
    return this.#sender !== null;
  }

  /** Ends it here and at the server; `lost` is not told. */
  close() {
    if (this.#ended) return;
    this.#ended = true;
    this.#way.end();
    this.send({ stop: true });
    this.peer.close();
    void this.#resource.end();
  }

  /** What a slow line keeps, told to the sender once the codec is known. */
  async #shape() {
    if (!this.#sender) return;
    const parameters = this.#sender.getParameters();
    parameters.degradationPreference = this.plan.keep;
    for (const encoding of parameters.encodings) encoding.maxBitrate = this.plan.bitrate;
    await this.#sender.setParameters(parameters);
  }

  /** @param {unknown} data */
  #heard(data) {
    if (this.#ended || typeof data !== "string") return;
    /** @type {unknown} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      console.warn("a message of the server's is no JSON", data.slice(0, 80));
      return;
    }
    if (message && typeof message === "object") this.told.message(/** @type {Message} */ (message));
  }

  /** @param {string} why */
  #lose(why) {
    if (this.#ended) return;
    this.close();
    this.told.lost(why);
  }
}

/**
 * No buffer for smoothness: a late picture is worth less than the newest.
 *
 * @param {RTCRtpReceiver} receiver
 */
function playAtOnce(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}

/**
 * Puts the chosen codec first, so that both directions use it.
 *
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} codec
 */
function preferCodec(transceiver, codec) {
  const known = RTCRtpReceiver.getCapabilities("video")?.codecs;
  if (codec === "auto" || !known || !transceiver.setCodecPreferences) return;
  /** @param {{mimeType: string}} entry */
  const chosen = (entry) => entry.mimeType.toLowerCase() === `video/${codec}`;
  if (!known.some(chosen)) return;
  transceiver.setCodecPreferences([...known.filter(chosen), ...known.filter((entry) => !chosen(entry))]);
}

/** @param {string} codec */
export function playable(codec) {
  const known = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return known.some((entry) => entry.mimeType.toLowerCase() === `video/${codec}`);
}

/**
 * Lets Chromium's sender begin at a bitrate that fits a face, where it would climb to it for half a minute: the
 * server gives no transport-wide feedback. Other browsers ignore it.
 *
 * @param {string} sdp
 */
export function startFaster(sdp) {
  const hint = `x-google-start-bitrate=${START_KBPS}`;
  const types = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|H264)\/90000\r?$/gim)].map((match) => match[1]);
  return types.reduce((text, type) => {
    const parameters = new RegExp(`^(a=fmtp:${type} [^\\r\\n]*)`, "m");
    if (parameters.test(text)) return text.replace(parameters, `$1;${hint}`);
    return text.replace(new RegExp(`^(a=rtpmap:${type} [^\\r\\n]*)(\\r?\\n)`, "m"), `$1$2a=fmtp:${type} ${hint}$2`);
  }, sdp);
}
