import { Refusal } from "./api.js";
import { Way } from "./way.js";
import { Resource } from "./whip.js";

const WAITS_MS = [200, 400, 800, 1500];
const OPEN_MS = 5000;

/**
 * @typedef {object} WatchPlan
 * @property {string} endpoint of WHEP
 * @property {Record<string, string>} [headers] of every request
 * @property {RTCIceServer[]} iceServers
 *
 * @typedef {object} WatchEvents
 * @property {(phase: "connecting" | "live" | "waiting" | "reconnecting" | "ended", why: string) => void} phase waiting:
 *   nothing is published there now; "ended" comes last
 * @property {(stream: MediaStream) => void} picture with the sound in it, as soon as something comes
 * @property {(message: import("./messages.js").Message) => void} message of the server: what it states of the session
 */

/** Somebody's picture and sound, watched until `stop`: what is lost, or not there yet, is asked for again. */
export class Watching {
  /** @type {RTCPeerConnection | null} */
  #peer = null;
  /** @type {Resource | null} */
  #resource = null;
  /** @type {Way | null} */
  #way = null;
  #over = new AbortController();
  #tries = 0;
  /** @type {(() => void) | null} */
  #hurry = null;

  /**
   * @param {WatchPlan} plan
   * @param {WatchEvents} told
   */
  constructor(plan, told) {
    this.plan = plan;
    this.told = told;
    window.addEventListener("online", () => this.hurry(), { signal: this.#over.signal });
  }

  /** Begins; what happens is told. */
  start() {
    this.told.phase("connecting", "");
    void this.#connect();
  }

  /** There is reason to believe that it works now. */
  hurry() {
    this.#hurry?.();
  }

  /** Ends it here and at the server. */
  stop() {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#hurry = null;
    this.#drop();
    this.told.phase("ended", "");
  }

  /** The browser's own figures, or null between two connections. */
  async stats() {
    return this.#peer ? await this.#peer.getStats() : null;
  }

  async #connect() {
    const { signal } = this.#over;
    const peer = new RTCPeerConnection({ iceServers: this.plan.iceServers, bundlePolicy: "max-bundle" });
    const resource = new Resource(peer, this.plan.headers);
    const way = new Way(peer, resource, (why) => this.#peer === peer && this.#again("reconnecting", why));
    [this.#peer, this.#resource, this.#way] = [peer, resource, way];
    const stream = new MediaStream();
    peer.ontrack = ({ track }) => {
      stream.addTrack(track);
      if (track.kind === "video") this.told.picture(stream);
    };
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState !== "connected" || this.#peer !== peer) return;
      this.#tries = 0;
      this.told.phase("live", "");
    });
    peer.createDataChannel("marotte").onmessage = ({ data }) => {
      if (this.#peer === peer && typeof data === "string") this.told.message(JSON.parse(data));
    };
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    try {
      await resource.open(this.plan.endpoint, AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS)]));
      way.begin();
    } catch (error) {
      if (signal.aborted || this.#peer !== peer) return;
      this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    if (!(error instanceof Error)) throw error;
    const refused = error instanceof Refusal;
    if (refused && error.status === 404) this.#again("waiting", error.message);
    else if (refused && !error.passing) this.#end(error.message);
    else this.#again("reconnecting", error.message);
  }

  /**
   * @param {"waiting" | "reconnecting"} phase
   * @param {string} why
   */
  #again(phase, why) {
    if (this.#over.signal.aborted) return;
    this.#drop();
    this.told.phase(phase, why);
    const wait = WAITS_MS[Math.min(this.#tries, WAITS_MS.length - 1)];
    this.#tries += 1;
    const timer = window.setTimeout(() => this.#hurry?.(), wait);
    this.#hurry = () => {
      this.#hurry = null;
      window.clearTimeout(timer);
      if (!this.#over.signal.aborted) void this.#connect();
    };
  }

  /** @param {string} why */
  #end(why) {
    this.#over.abort();
    this.#drop();
    this.told.phase("ended", why);
  }

  #drop() {
    const [peer, resource] = [this.#peer, this.#resource];
    this.#way?.end();
    this.#peer = this.#resource = this.#way = null;
    peer?.close();
    void resource?.end();
  }
}
