import { Refusal, fetched } from "./api.js";

/**
 * A connection at a WHIP or WHEP endpoint (RFC 9725): the offer goes out at once, its candidates follow as they are
 * found, and ICE can begin anew below what goes on.
 */

const SDP = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";
const GATHER_MS = 40;
const RESTART_MS = 3000;

export class Resource {
  /** The address that a POST made, "" before. */
  place = "";
  /** The newest ICE session. */
  #etag = "";
  /** @type {RTCIceCandidate[]} */
  #found = [];
  #ended = false;
  /** @type {number | undefined} */
  #soon;
  #restarting = false;

  /**
   * @param {RTCPeerConnection} peer
   * @param {Record<string, string>} [headers] of every request, as Authorization for another site's server
   */
  constructor(peer, headers = {}) {
    this.peer = peer;
    this.headers = headers;
    peer.addEventListener("icecandidate", ({ candidate }) => this.#gathered(candidate));
  }

  /**
   * Offers, and takes the answer. Throws Refusal, or an AbortError.
   *
   * @param {string} address
   * @param {AbortSignal} signal
   * @param {(sdp: string) => string} [read] the answer in other words
   */
  async open(address, signal, read = (sdp) => sdp) {
    await this.peer.setLocalDescription();
    const body = this.peer.localDescription?.sdp;
    const headers = { ...this.headers, "Content-Type": SDP, Accept: SDP };
    const answer = await fetched(address, { method: "POST", headers, body, signal });
    this.place = new URL(answer.headers.get("Location") ?? "", new URL(address, location.href)).href;
    this.#etag = answer.headers.get("ETag") ?? "";
    signal.throwIfAborted();
    await this.peer.setRemoteDescription({ type: "answer", sdp: read(answer.body) });
    this.#send();
  }

  /** The last part of the address: whose it is. */
  get id() {
    return new URL(this.place).pathname.split("/").at(-1) ?? "";
  }

  /**
   * Looks for another way to the server, while the old one carries on. Throws Refusal, as where nobody answers.
   *
   * @returns {Promise<void>}
   */
  async restart() {
    if (!this.place || this.#restarting) return;
    this.#restarting = true;
    try {
      this.#found = [];
      this.#ended = false;
      await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart: true }));
      const own = this.#taken();
      const headers = { "If-Match": "*" };
      const told = await this.#patch(own, headers, AbortSignal.timeout(RESTART_MS));
      this.#etag = told.headers.get("ETag") ?? "";
      const before = this.peer.currentRemoteDescription?.sdp ?? "";
      await this.peer.setRemoteDescription({ type: "answer", sdp: renewed(before, told.body) });
    } catch (error) {
      if (this.peer.signalingState === "have-local-offer") await this.peer.setLocalDescription({ type: "rollback" });
      throw error;
    } finally {
      this.#restarting = false;
    }
    this.#send();
  }

  /** Ends it at the server; also from a page that is being left. That it is gone already is no fault. */
  async end() {
    const { place, headers } = this;
    window.clearTimeout(this.#soon);
    this.place = "";
    try {
      if (place) await fetched(place, { method: "DELETE", headers, keepalive: true });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** @param {RTCIceCandidate | null} candidate */
  #gathered(candidate) {
    if (candidate?.candidate) this.#found.push(candidate);
    else this.#ended = true;
    window.clearTimeout(this.#soon);
    this.#soon = window.setTimeout(() => this.#send(), GATHER_MS);
  }

  /** What was found since, in one request; where it is lost, the way may still be found from the other side. */
  #send() {
    if (!this.place || this.#restarting || (!this.#found.length && !this.#ended)) return;
    const body = this.#taken();
    this.#patch(body, this.#etag ? { "If-Match": this.#etag } : {}).catch((error) => {
      if (!(error instanceof Refusal)) throw error;
    });
  }

  /** A fragment of what was found, which is not sent again. */
  #taken() {
    const lines = (this.peer.localDescription?.sdp ?? "").split("\r\n");
    const section = lines.slice(lines.findIndex((line) => line.startsWith("m=")));
    /** @param {string} start */
    const own = (start) => section.find((line) => line.startsWith(start)) ?? "";
    const ufrag = own("a=ice-ufrag:");
    const name = ufrag.slice("a=ice-ufrag:".length);
    const candidates = this.#found
      .filter(({ usernameFragment }) => !usernameFragment || usernameFragment === name)
      .map(({ candidate }) => `a=${candidate}`);
    const ends = this.#ended ? ["a=end-of-candidates"] : [];
    const group = lines.find((line) => line.startsWith("a=group:BUNDLE")) ?? "";
    this.#found = [];
    this.#ended = false;
    const all = [group, section[0], own("a=mid:"), ufrag, own("a=ice-pwd:"), ...candidates, ...ends];
    return `${all.filter(Boolean).join("\r\n")}\r\n`;
  }

  /**
   * @param {string} body
   * @param {Record<string, string>} match
   * @param {AbortSignal} [signal]
   */
  #patch(body, match, signal) {
    const headers = { ...this.headers, ...match, "Content-Type": FRAGMENT };
    return fetched(this.place, { method: "PATCH", headers, body, signal });
  }
}

/**
 * The answer of before with the ICE session of a fragment.
 *
 * @param {string} answer
 * @param {string} fragment
 */
export function renewed(answer, fragment) {
  const told = fragment.split("\r\n");
  /** @param {string} start */
  const line = (start) => told.find((each) => each.startsWith(start)) ?? "";
  const candidates = told.filter((each) => /^a=(candidate:|end-of-candidates)/.test(each));
  const [head, ...sections] = answer.replace(/\r?\n$/, "").split(/\r?\n(?=m=)/);
  const written = sections.map((section, at) => {
    const kept = section.split(/\r?\n/).filter((each) => !/^a=(candidate:|end-of-candidates)/.test(each));
    const ours = kept.map((each) => {
      if (each.startsWith("a=ice-ufrag:")) return line("a=ice-ufrag:");
      return each.startsWith("a=ice-pwd:") ? line("a=ice-pwd:") : each;
    });
    return [...ours, ...(at === 0 ? candidates : [])].join("\r\n");
  });
  return `${[head, ...written].join("\r\n")}\r\n`;
}
