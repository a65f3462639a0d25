import { Refusal, ask } from "./api.js";
import { make, part, say } from "./elements.js";
import { notice } from "./notices.js";

/** @import {Info, RecordingReport} from "./messages.js" */

/**
 * @typedef {object} Recording docs/recording.md
 * @property {string} id
 * @property {string} begun
 * @property {"recording" | "finishing" | "ready"} state
 * @property {number} seconds
 * @property {number} bytes
 * @property {string} why
 * @property {boolean} signed
 * @property {string} unsigned
 */

const AT = "/api/v1/recordings";
const LOOK_MS = 2000;
const WHY = /** @type {Record<string, string>} */ ({
  minutes: "it was as long as it may be",
  bytes: "it was as large as it may be",
  disk: "the server's disk is nearly full",
  "disk full": "the server's disk is full",
  failed: "the server could not encode it",
  consent: "who is shown has not consented to be recorded, or not any more",
  killed: "the operator stopped all output",
});

/** That the session is recorded: a sign in the picture that everybody who drives or watches it here sees. */
export class RecordingSign {
  #sign = make("p", "recorded", "Recording");

  /** @param {Element} stage the picture that it stands in */
  constructor(stage) {
    this.#sign.setAttribute("role", "status");
    this.#sign.hidden = true;
    stage.append(this.#sign);
  }

  /** @param {boolean} on */
  show(on) {
    this.#sign.hidden = !on;
  }
}

/** Recording on the server: its button, how it stands, and what is there to be had. Nothing of it is there where the server
 * keeps none. */
export class RecordingPanel {
  #section = make("section", "recordings");
  #button = make("button", "", "Record on the server");
  #told = make("p", "note");
  #list = make("ul");
  /** @type {RecordingReport | null} */
  #running = null;
  #asking = false;
  #looks = 0;

  /**
   * @param {Info} info
   * @param {() => string | null} session that runs now
   */
  constructor(info, session) {
    this.session = session;
    if (!info.recordings) return;
    this.#button.type = "button";
    this.#button.onclick = () => void this.#press();
    this.#told.setAttribute("role", "status");
    const about = "What leaves, with its marks and its sound, is kept there. Everybody in the session is told.";
    this.#section.append(make("h3", "", "Recordings"), make("p", "note", about), this.#button, this.#told, this.#list);
    part("sheet-setup").append(this.#section);
    this.show(null);
    void this.#look();
  }

  /** @param {RecordingReport | null} running as the session's report has it */
  show(running) {
    const ended = this.#running !== null && running === null;
    this.#running = running;
    this.#button.disabled = this.#asking || this.session() === null;
    say(this.#button, running ? "Stop recording" : "Record on the server");
    this.#button.setAttribute("aria-pressed", String(running !== null));
    if (running) say(this.#told, `Recording: ${spelt(running.seconds)}, ${size(running.bytes)}`);
    if (ended) void this.#look();
  }

  async #press() {
    const session = this.session();
    if (!session) return;
    this.#asking = true;
    this.show(this.#running);
    try {
      const method = this.#running ? "DELETE" : "POST";
      await ask(`/api/v1/sessions/${encodeURIComponent(session)}/recording`, { method });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      notice(error.message, "bad");
    } finally {
      this.#asking = false;
    }
    await this.#look();
  }

  /** The list, and again while something in it is being made whole. */
  async #look() {
    const look = ++this.#looks;
    /** @type {Recording[]} */
    let found;
    try {
      found = JSON.parse(await ask(AT)).recordings;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      say(this.#told, error.message);
      return;
    }
    if (look !== this.#looks) return;
    this.#list.replaceChildren(...found.reverse().map((one) => this.#row(one)));
    const last = found[0];
    if (!this.#running && last) say(this.#told, WHY[last.why] ? `The last one ended: ${WHY[last.why]}.` : "");
    if (found.some(({ state }) => state === "finishing")) window.setTimeout(() => look === this.#looks && void this.#look(), LOOK_MS);
  }

  /** @param {Recording} recording */
  #row({ id, begun, state, seconds, bytes, signed, unsigned }) {
    const row = make("li");
    const text = `${begun.slice(0, 16).replace("T", " ")} UTC, ${spelt(seconds)}`;
    if (state !== "ready") {
      row.append(make("span", "", `${text}, ${state === "recording" ? "running" : "being made whole"}`));
      return row;
    }
    const link = make("a", "", `${text}, ${size(bytes)}`);
    link.href = `${AT}/${encodeURIComponent(id)}/video.mp4`;
    link.download = `marotte-${id}.mp4`;
    const note = make("small", "", signed ? "signed (C2PA)" : "not signed");
    note.title = unsigned;
    const remove = make("button", "small", "Delete");
    remove.type = "button";
    remove.setAttribute("aria-label", `Delete the recording of ${text}`);
    remove.onclick = () => void this.#remove(id);
    row.append(link, note, remove);
    return row;
  }

  /** @param {string} id */
  async #remove(id) {
    try {
      await ask(`${AT}/${encodeURIComponent(id)}`, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      notice(error.message, "bad");
    }
    await this.#look();
  }
}

/** @param {number} seconds */
const spelt = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** @param {number} bytes */
const size = (bytes) => (bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
