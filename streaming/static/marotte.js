import { Call } from "./call.js";
import { Watching } from "./watching.js";

export { checkStatement } from "./check.js";

/** @import {CallEvents, CallPhase} from "./call.js" */
/** @import {Change, Driver, Message, Mode} from "./messages.js" */

/**
 * An edited face for any page: what this server's own page does, to be used in others (docs/api.md). It needs the files
 * that it imports beside it, and nothing else.
 *
 * @typedef {object} Options of a session
 * @property {string} [server] the origin of another site's server (scheme, host and port); this page's own where it is left out
 * @property {string} [token] with the scope publish or api; not needed on the server's own pages
 * @property {string} [stream] the name that it is published as, for viewers; by chance where it is left out
 * @property {string} [endpoint] of WHIP, in place of `stream`
 * @property {string} [source] id of a portrait; the server's first where it is left out
 * @property {string} [bundle]
 * @property {Mode} [mode]
 * @property {string[]} [donors] ids of portraits
 * @property {Driver} [driver] "camera" with a camera, else "tracker", which sendFace moves
 * @property {MediaStreamTrack | null} [camera]
 * @property {MediaStreamTrack | null} [microphone]
 * @property {"sendonly" | "sendrecv" | null} [sound] null: none; sendrecv: it comes back beside the picture, in time with
 *   it. Where it is left out it does when there is a microphone
 * @property {string} [codec] "auto", "vp8" or "h264"
 * @property {RTCDegradationPreference} [keep] what a slow line keeps
 * @property {number} [bitrate] most that is sent, bits per second
 * @property {RTCIceServer[]} [iceServers] those of `/api/v1/info`
 *
 * @typedef {object} FaceResult what MediaPipe's FaceLandmarker gives, with blendshapes and matrices asked for
 * @property {{categories: {categoryName: string, score: number}[]}[]} [faceBlendshapes]
 * @property {{data: number[] | Float32Array}[]} [facialTransformationMatrixes]
 *
 * @typedef {object} Watched what is watched
 * @property {string} [server]
 * @property {string} [token] with the scope view or api
 * @property {string} [stream]
 * @property {string} [endpoint] of WHEP, in place of `stream`
 * @property {RTCIceServer[]} [iceServers]
 */

const BITRATE = 2_500_000;
const FIRST_SEQ = 2 ** 40; // far from those of who sends messages of their own
const MOST_WAITING = 4096; // bytes: of two or three faces
const NEUTRAL = "_neutral"; // MediaPipe's first category is none

/**
 * @param {string} [server]
 * @param {string} [token]
 */
const reached = (server = "", token = "") => ({
  at: (/** @type {string} */ path) => `${server.replace(/\/$/, "")}${path}`,
  headers: token ? { Authorization: `Bearer ${token}` } : undefined,
});

/**
 * What somebody drives: it stays up until `stop`, over lost connections.
 *
 * Events, all with a `detail`: "phase" {phase, why}, "picture" MediaStream (also after each reconnection), "report" (five
 * a second), "statement" (what the server states of the session, signed: docs/statement.md) and "message", every one of
 * the server's (docs/live.md).
 */
export class Session extends EventTarget {
  /** The picture that is generated, with the sound where that comes back; null before it began. @type {MediaStream | null} */
  stream = null;
  /** @type {CallPhase} */
  phase = "connecting";
  #call;
  #told;
  #seq = FIRST_SEQ;
  /** @type {Map<number, {resolve: (changes: number) => void, reject: (error: Error) => void}>} */
  #asked = new Map();
  /** What is to be said again after a reconnection. @type {Record<string, boolean>} */
  #set = {};

  /**
   * @param {Options} options
   * @param {Partial<CallEvents>} told also told, before the events; sourceGone and donorsGone say what to do instead
   */
  constructor(options, told = {}) {
    super();
    this.#told = told;
    const { camera = null, microphone = null, bundle, mode, donors } = options;
    const { at, headers } = reached(options.server, options.token);
    const plan = {
      source: options.source ?? "",
      driver: options.driver ?? (camera ? "camera" : "tracker"),
      codec: options.codec ?? "auto",
      track: camera,
      sound: options.sound === undefined ? (microphone ? "sendrecv" : null) : options.sound,
      soundTrack: microphone,
      keep: options.keep ?? "maintain-framerate",
      bitrate: options.bitrate ?? BITRATE,
      iceServers: options.iceServers ?? [],
      wish: { bundle, mode, donors },
      endpoint: at(options.endpoint ?? (options.stream ? `/whip/${options.stream}` : "/whip")),
      headers,
    };
    this.#call = new Call(/** @type {import("./link.js").Plan} */ (plan), {
      phase: (phase, why) => this.#enter(phase, why),
      picture: (stream) => {
        this.stream = stream;
        told.picture?.(stream);
        this.#tell("picture", stream);
      },
      open: (source) => {
        for (const [name, on] of Object.entries(this.#set)) this.send({ [name]: on });
        told.open?.(source);
      },
      message: (message) => this.#heard(message),
      sourceGone: async (source) => (await told.sourceGone?.(source)) ?? null,
      donorsGone: async () => (await told.donorsGone?.()) ?? false,
      lockedOut: () => told.lockedOut?.(),
    });
    // after its caller has listened, and unless it was stopped by then
    window.queueMicrotask(() => this.phase === "connecting" && this.#call.start());
  }

  /** What the next connection is made with; what runs is turned by `change`. */
  get plan() {
    return this.#call.plan;
  }

  /** The id of the session that answers now, or null between two connections. */
  get session() {
    return this.#call.session;
  }

  /**
   * Portrait, system, mode, controls, expression: docs/live.md says what. Throws what the server says against it.
   *
   * @param {Change} change
   * @returns {Promise<number>} its number
   */
  change(change) {
    return new Promise((resolve, reject) => {
      const seq = this.#seq++;
      this.#asked.set(seq, { resolve, reject });
      if (this.send({ seq, change })) return;
      this.#asked.delete(seq);
      reject(new Error("there is no connection now"));
    });
  }

  /** @param {boolean} on nobody hears it */
  mute(on) {
    this.#keep("mute", on);
  }

  /** @param {boolean} on the last picture is held, and nobody hears it */
  pause(on) {
    this.#keep("pause", on);
  }

  /**
   * Begins a live check that the driver is who the portrait shows, or stops it; reports say in `self_check` what to do and
   * what came of it (docs/self_check.md). The portrait has to be one that was added as `myself`.
   *
   * @param {boolean} on
   * @returns {boolean} whether it was asked for
   */
  selfCheck(on) {
    return this.send({ self_check: on });
  }

  /**
   * Another camera, or none: a portrait idles then, and in place of an edited picture grey leaves.
   *
   * @param {MediaStreamTrack | null} track
   */
  async camera(track) {
    const { plan } = this.#call;
    const before = plan.track;
    plan.track = track;
    plan.driver = track ? "camera" : "tracker";
    this.#keep("camera", track !== null);
    if (track && !before && !this.#call.sends) this.#call.again();
    else if (track ?? before) await this.#call.replaceTrack(track);
  }

  /** @param {MediaStreamTrack | null} track another microphone, or silence */
  async microphone(track) {
    await this.#call.replaceSound(track);
  }

  /**
   * The driver's face as numbers, where the driver is "tracker": no picture leaves this page then (docs/trackers.md).
   *
   * One that would wait behind others is let fall: the next one is newer.
   *
   * @param {FaceResult | null} result of detectForVideo; null, or one without a face: nobody
   * @returns {boolean} whether it went out
   */
  sendFace(result) {
    if (this.#call.waiting > MOST_WAITING) return false;
    const categories = result?.faceBlendshapes?.[0]?.categories;
    if (!categories) return this.send({ face: null });
    const known = categories.filter(({ categoryName }) => categoryName !== NEUTRAL);
    const blendshapes = Object.fromEntries(known.map(({ categoryName, score }) => [categoryName, rounded(score)]));
    const matrix = result.facialTransformationMatrixes?.[0]?.data;
    return this.send({ face: { blendshapes, ...(matrix && { matrix: Array.from(matrix, rounded) }) } });
  }

  /**
   * Any message of docs/live.md.
   *
   * @param {object} message
   * @returns {boolean} whether it went out
   */
  send(message) {
    return this.#call.send(message);
  }

  /** @param {MediaStreamTrack} track */
  async replaceTrack(track) {
    await this.#call.replaceTrack(track);
  }

  /** The browser's own figures, or null between two connections. */
  stats() {
    return this.#call.stats();
  }

  /** Ends it here and at the server, at once. */
  stop() {
    this.#call.stop();
  }

  /**
   * @param {string} name
   * @param {boolean} on
   */
  #keep(name, on) {
    this.#set[name] = on;
    this.send({ [name]: on });
  }

  /**
   * @param {CallPhase} phase
   * @param {string} why
   */
  #enter(phase, why) {
    this.phase = phase;
    if (phase !== "live") {
      for (const { reject } of this.#asked.values()) reject(new Error(why || "the connection ended"));
      this.#asked.clear();
    }
    this.#told.phase?.(phase, why);
    this.#tell("phase", { phase, why });
  }

  /** @param {Message} message */
  #heard(message) {
    const asked = this.#asked.get(message.ack ?? -1);
    if (asked) {
      this.#asked.delete(message.ack ?? -1);
      if (message.error === undefined) asked.resolve(message.changes ?? 0);
      else asked.reject(new Error(message.error));
    }
    this.#told.message?.(message);
    if (message.report) this.#tell("report", message.report);
    if (message.statement) this.#tell("statement", message.statement);
    this.#tell("message", message);
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * Drives a session with a camera, or with faces that were followed in this page.
 *
 * @param {Options} [options]
 * @param {Partial<CallEvents>} [told]
 */
export const connect = (options = {}, told) => new Session(options, told);

/**
 * Watches a stream until `stop`. Events: "phase" {phase, why}, "picture" MediaStream with the sound in it, "statement"
 * what the server states of the session, at the beginning and whenever it changes: checkStatement says whether it holds.
 *
 * @param {Watched} watched
 * @returns {EventTarget & {stop: () => void, hurry: () => void, stats: () => Promise<RTCStatsReport | null>}}
 */
export function watch({ server, token, stream = "", endpoint = `/whep/${stream}`, iceServers = [] }) {
  const { at, headers } = reached(server, token);
  const told = new EventTarget();
  /** @param {string} name @param {unknown} detail */
  const tell = (name, detail) => void told.dispatchEvent(new CustomEvent(name, { detail }));
  const watching = new Watching(
    { endpoint: at(endpoint), headers, iceServers },
    {
      phase: (phase, why) => tell("phase", { phase, why }),
      picture: (found) => tell("picture", found),
      message: ({ statement }) => void (statement && tell("statement", statement)),
    },
  );
  window.queueMicrotask(() => watching.start()); // after its caller has listened
  return Object.assign(told, {
    stop: () => watching.stop(),
    hurry: () => watching.hurry(),
    stats: () => watching.stats(),
  });
}

/** @param {number} value */
const rounded = (value) => Math.round(value * 1e4) / 1e4;
