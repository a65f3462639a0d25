import { Refusal } from "./api.js";

/** @import {Resource} from "./whip.js" */

const CONNECT_MS = 12_000;
const DISCONNECTED_MS = 2500;
const ANEW_MS = 4000;

/** Watches over one connection's way: it is looked for anew while nothing arrives, and lost after a while. */
export class Way {
  /** @type {number | undefined} */
  #patience;
  #ended = false;

  /**
   * @param {RTCPeerConnection} peer
   * @param {Resource} resource
   * @param {(why: string) => void} lost once
   */
  constructor(peer, resource, lost) {
    this.peer = peer;
    this.resource = resource;
    this.lost = lost;
    peer.onconnectionstatechange = () => this.#watch();
  }

  /** The answer is there: it has a while to come up. */
  begin() {
    this.#patience ??= window.setTimeout(() => {
      if (this.peer.connectionState !== "connected") this.#lose("no route to the server was found");
    }, CONNECT_MS);
  }

  /** It is looked after no more. */
  end() {
    this.#ended = true;
    window.clearTimeout(this.#patience);
  }

  #watch() {
    const state = this.peer.connectionState;
    window.clearTimeout(this.#patience);
    if (state === "failed") this.#lose("the connection failed");
    if (state === "closed") this.#lose("the connection was closed");
    if (state === "disconnected") {
      this.#wait(DISCONNECTED_MS);
      void this.#seek();
    }
  }

  /** @param {number} ms until it is lost, if nothing arrives */
  #wait(ms) {
    window.clearTimeout(this.#patience);
    this.#patience = window.setTimeout(() => this.#lose("nothing arrives any more"), ms);
  }

  /** Looks for another way, as after a change of networks; the picture and all that is set stay. */
  async #seek() {
    try {
      await this.resource.restart();
    } catch (error) {
      if (!(error instanceof Refusal) && !this.#ended) console.warn(error);
      return;
    }
    if (!this.#ended && this.peer.connectionState === "disconnected") this.#wait(ANEW_MS);
  }

  /** @param {string} why */
  #lose(why) {
    if (this.#ended) return;
    this.end();
    this.lost(why);
  }
}
