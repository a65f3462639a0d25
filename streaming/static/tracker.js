import { button, make, part, say, select } from "./elements.js";
import { Following, FollowingTrouble } from "./following.js";
import { notice } from "./notices.js";
import { isStopped } from "./stopped.js";

/** @import {FaceResult} from "./marotte.js" */
/** @import {Info} from "./messages.js" */

/** @typedef {"page" | "server"} Way this page follows the face, or packets reach the server */

/** @type {Record<string, string>} */
const NAMES = { arkit: "ARKit (Live Link Face)", openseeface: "OpenSeeFace" };
const NO_BODY = "A tracker follows a face, and this system needs your whole body";

/** Why a call that a tracker drives cannot be turned to an edit. */
export const NO_EDIT = "A tracker sends numbers: there is no picture of yours to edit";

/** The driver that is known by numbers alone: what there is of it, why it cannot be had now, and following a face here. */
export class Tracker {
  #following;

  /**
   * @param {Info} info
   * @param {HTMLVideoElement} camera
   * @param {{start: () => void, seen: (result: FaceResult | null) => void}} told start: somebody wants it
   */
  constructor(info, camera, { start, seen }) {
    this.#following = new Following(camera, seen, (why) => notice(`Your face is not followed any more: ${why}`, "bad"));
    const trackers = info.trackers ?? [];
    const ways = [
      ...(info.mediapipe ? [new Option("This browser: your picture stays here", "page")] : []),
      ...(trackers.length ? [new Option(trackers.map((kind) => NAMES[kind] ?? kind).join(", "), "server")] : []),
    ];
    const hidden = ways.length === 0 || Boolean(info.pass_through);
    button("tracker").hidden = part("tracker-section").hidden = hidden;
    button("tracker").onclick = start;
    lay(part("tracker-section"));
    select("follow").replaceChildren(...ways);
    select("follow").onchange = () => this.#describe("");
  }

  /** @returns {Way} */
  get way() {
    return /** @type {Way} */ (select("follow").value);
  }

  /**
   * @param {boolean} edit the driver's own picture is to be edited
   * @param {boolean} body a whole body drives
   */
  offer(edit, body) {
    const why = edit ? NO_EDIT : body ? NO_BODY : "";
    select("follow").disabled = why !== "";
    button("tracker").disabled = why !== "" || isStopped();
    button("tracker").title = why;
    this.#describe(why);
  }

  /**
   * Follows the face before the camera that is on.
   *
   * @returns {Promise<boolean>} whether it does; where it does not, that was said
   */
  async follow() {
    try {
      if (!this.#following.ready) notice("What follows your face is loading.");
      await this.#following.load();
    } catch (error) {
      if (!(error instanceof FollowingTrouble)) throw error;
      notice(error.message, "bad");
      return false;
    }
    this.#following.start();
    return true;
  }

  stop() {
    this.#following.stop();
  }

  /** @param {string} why it cannot be had */
  #describe(why) {
    const how = this.way === "page" ? "Your camera is looked at in this page alone; only numbers leave it." : "A phone or a program sends its packets to the server; no camera is used here.";
    say(part("tracker-note"), why || how);
  }
}

/** @param {HTMLElement} section */
function lay(section) {
  const field = make("label", "field");
  const choice = make("select");
  const note = make("p", "note");
  choice.id = "follow";
  note.id = "tracker-note";
  field.append(make("span", "", "Followed by"), choice);
  section.replaceChildren(make("h3", "", "Tracker"), field, note);
}
