import { Refusal, refusal } from "./api.js";

/**
 * @typedef {object} Person who is in a room
 * @property {string} person their name, perhaps empty
 * @property {boolean} you
 * @property {boolean} here whether their page is there
 * @property {boolean} live whether their picture is published
 * @property {boolean} camera whether their camera is not off
 * @property {boolean} muted
 * @property {boolean} paused
 * @property {boolean} [waits] whether the server had no place for their picture, and they ask again
 * @property {boolean} recorded whether the server records what leaves of them
 *
 * @typedef {{name: string, expires: number, members: Person[]}} RoomInfo
 *
 * @typedef {object} PresenceEvents
 * @property {(room: RoomInfo) => void} room at once, and when something in it changes
 * @property {(lost: boolean) => void} lost whether nothing is heard of the server
 * @property {(why: string) => void} over once: this member is in the room no more
 */

const SILENT_MS = 6000; // the server says something every two seconds
const AGAIN_MS = 500;

/** Listens to a room (Server-Sent Events), and goes on listening over lost connections. */
export class Presence {
  #over = new AbortController();

  /**
   * @param {string} address
   * @param {PresenceEvents} told
   */
  constructor(address, told) {
    this.address = address;
    this.told = told;
    void this.#listen();
  }

  /** Nothing is told from now on. */
  stop() {
    this.#over.abort();
  }

  async #listen() {
    const { signal } = this.#over;
    while (!signal.aborted) {
      try {
        await this.#once();
      } catch (error) {
        if (error instanceof Refusal && !error.passing) this.#end(error.message);
        else if (!(error instanceof Refusal) && !(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      }
      if (signal.aborted) return;
      this.told.lost(true);
      await new Promise((resolve) => window.setTimeout(resolve, AGAIN_MS));
    }
  }

  /** One connection, to its end. */
  async #once() {
    const silence = new AbortController();
    let patience = window.setTimeout(() => silence.abort(), SILENT_MS);
    try {
      const signal = AbortSignal.any([this.#over.signal, silence.signal]);
      const response = await fetch(this.address, { cache: "no-store", credentials: "same-origin", signal });
      if (!response.ok || !response.body) throw refusal(response.status, await response.text());
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        window.clearTimeout(patience);
        patience = window.setTimeout(() => silence.abort(), SILENT_MS);
        this.told.lost(false);
        const parts = (text + value).split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) this.#heard(part);
      }
    } finally {
      window.clearTimeout(patience);
    }
  }

  /** @param {string} event */
  #heard(event) {
    const lines = event.split("\n");
    if (this.#over.signal.aborted) return;
    if (lines.includes("event: over")) this.#end("You are not in this room any more.");
    const data = lines.find((line) => line.startsWith("data: "));
    if (data && !this.#over.signal.aborted) this.told.room(JSON.parse(data.slice("data: ".length)));
  }

  /** @param {string} why */
  #end(why) {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.told.over(why);
  }
}
