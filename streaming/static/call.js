import { Refusal, saysDonorGone, saysSourceGone } from "./api.js";
import { Link } from "./link.js";

/** @import {Message} from "./messages.js" */
/** @import {Plan} from "./link.js" */

/**
 * @typedef {"connecting" | "live" | "reconnecting" | "ended"} CallPhase
 *
 * @typedef {object} CallEvents
 * @property {(phase: CallPhase, why: string) => void} phase "ended" comes last; why is empty when the user ended it
 * @property {(stream: MediaStream) => void} picture
 * @property {(source: string) => void} open a control channel is open, for the first time or again: say all that is set;
 *   source: what this link was opened with
 * @property {(message: Message) => void} message
 * @property {(source: string) => Promise<string | null>} sourceGone the server does not have it: what to show instead
 * @property {() => Promise<boolean>} donorsGone the server does not have all of them: whether those that are gone are known
 * @property {() => void} lockedOut the server does not let this page in any more; the call has ended
 */

const WAITS_MS = [300, 700, 1500, 3000, 6000, 10_000];
const STEADY_MS = 5000;

/** Reasons with which a server ends a session for good, and what is said of them. @type {Record<string, string>} */
const LAST_ENDS = {
  page: "The server ended the output.",
  stopped: "The server ended the output.",
  killed: "The operator has stopped all output of this server.",
};

/** A call that stays up: when its link is lost it makes another one, with growing pauses, until `stop`. */
export class Call {
  /** @type {Link | null} */
  #link = null;
  #over = new AbortController();
  #losses = 0;
  #openedAt = 0;
  /** @type {(() => void) | null} */
  #hurry = null;

  /**
   * @param {Plan} plan
   * @param {CallEvents} told
   */
  constructor(plan, told) {
    this.plan = plan;
    this.told = told;
    const hurry = () => this.#hurry?.();
    const { signal } = this.#over;
    window.addEventListener("online", hurry, { signal });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && hurry(), { signal });
    window.addEventListener("pagehide", () => this.#link?.close(), { signal });
    window.addEventListener("pageshow", (event) => event.persisted && this.#again("the page was left"), { signal });
  }

  /** Begins; what happens is told. */
  start() {
    this.told.phase("connecting", "");
    void this.#connect();
  }

  /** Ends the call here and at the server, at once. */
  stop() {
    this.#end("");
  }

  /**
   * @param {object} message
   * @returns {boolean} whether it went out
   */
  send(message) {
    return this.#link?.send(message) ?? false;
  }

  /**
   * Sends another track, also over links to come.
   *
   * @param {MediaStreamTrack | null} track null: nothing
   */
  async replaceTrack(track) {
    this.plan.track = track;
    await this.#link?.replaceTrack(track);
  }

  /**
   * Sends another sound, or none.
   *
   * @param {MediaStreamTrack | null} track
   */
  async replaceSound(track) {
    this.plan.soundTrack = track;
    await this.#link?.replaceSound(track);
  }

  /** Bytes of messages that have not left yet. */
  get waiting() {
    return this.#link?.waiting ?? 0;
  }

  /** Whether the link that is there now is made to send a picture. */
  get sends() {
    return this.#link?.sends ?? false;
  }

  /** Makes the link anew, with what is planned now. */
  again() {
    if (!this.#link) return;
    this.#link.close();
    this.#losses = 0;
    this.#again("it is made anew");
  }

  /** The session that answers now, or null between two links. */
  get session() {
    return this.#openedAt ? (this.#link?.session ?? null) : null;
  }

  /** The browser's own figures, or null between two links. */
  async stats() {
    return this.#link ? await this.#link.peer.getStats() : null;
  }

  async #connect() {
    const { signal } = this.#over;
    const link = new Link(
      { ...this.plan },
      {
        picture: (stream) => this.told.picture(stream),
        open: () => {
          this.#openedAt = performance.now();
          this.told.phase("live", "");
          this.told.open(link.plan.source);
        },
        message: (message) => this.#heard(message),
        lost: (why) => this.#again(why),
      },
    );
    this.#link = link;
    try {
      await link.open(signal);
    } catch (error) {
      link.close();
      if (signal.aborted) return;
      await this.#failed(error, link.plan.source);
      return;
    }
    if (signal.aborted) link.close();
  }

  /**
   * @param {unknown} error
   * @param {string} source that was asked for
   */
  async #failed(error, source) {
    if (error instanceof Refusal && saysSourceGone(error.message)) {
      const other = await this.told.sourceGone(source);
      if (other && other !== source) {
        this.plan.source = other;
        this.#again("the server does not have that portrait any more");
        return;
      }
    }
    if (error instanceof Refusal && saysDonorGone(error.message) && (await this.told.donorsGone())) {
      this.#again("the server does not have all donors any more");
      return;
    }
    if (error instanceof Refusal && !error.passing) {
      this.#end(error.message);
      if (error.lockedOut) this.told.lockedOut();
      return;
    }
    if (!(error instanceof Error)) throw error;
    if (!(error instanceof Refusal)) console.warn(error);
    this.#again(error.message);
  }

  /** @param {Message} message */
  #heard(message) {
    if (message.stopped === undefined) {
      this.told.message(message);
      return;
    }
    const last = LAST_ENDS[message.stopped];
    if (last !== undefined) {
      this.#end(last);
      return;
    }
    this.#link?.close();
    this.#again(`the server ended the session (${message.stopped})`);
  }

  /**
   * Waits and connects again. A link that held for a while starts the pauses anew.
   *
   * @param {string} why
   */
  #again(why) {
    if (this.#over.signal.aborted) return;
    this.#link = null;
    if (this.#openedAt && performance.now() - this.#openedAt > STEADY_MS) this.#losses = 0;
    this.#openedAt = 0;
    const wait = WAITS_MS[Math.min(this.#losses, WAITS_MS.length - 1)] * (0.8 + 0.4 * Math.random());
    this.#losses += 1;
    this.told.phase("reconnecting", why);
    const timer = window.setTimeout(() => this.#hurry?.(), wait);
    this.#hurry = () => {
      this.#hurry = null;
      window.clearTimeout(timer);
      if (!this.#over.signal.aborted) void this.#connect();
    };
  }

  /** @param {string} why */
  #end(why) {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#hurry = null;
    this.#link?.close();
    this.#link = null;
    this.told.phase("ended", why);
  }
}
