import { make, say } from "./elements.js";

/**
 * How a live check stands (docs/live.md).
 *
 * @typedef {object} SelfCheckReport
 * @property {"rest" | "move" | "passed" | "failed"} phase
 * @property {"left" | "right" | "up" | "mouth" | null} asked
 * @property {number} done
 * @property {number} of
 * @property {boolean | null} passed null while it runs
 * @property {string} why
 * @property {string} [record] in which it stands
 * @property {string} [error]
 */

/** @type {Record<string, string>} */
const ASKS = {
  left: "Turn your head to your left, and back.",
  right: "Turn your head to your right, and back.",
  up: "Lift your chin, and come back.",
  mouth: "Open your mouth, and close it.",
};
const REST = "Look straight into the camera, mouth closed.";
const HELP =
  "Five movements, and the shape of your face against the portrait’s. It says that the two may be one person, never more: of " +
  "strangers who move as asked about one in twenty passes, and of those in the portrait about one in ten does not. A picture held to " +
  "the camera does not pass. No measure of your face is kept.";

/** The live check that whoever drives is who the portrait shows. */
export class SelfCheckPanel {
  #box = make("section", "self-check");
  #begin = make("button", "small", "Check that it is me");
  #text = make("p", "asks");
  #running = false;

  /**
   * @param {Element} after which it stands
   * @param {(message: object) => boolean} send
   */
  constructor(after, send) {
    this.#begin.type = "button";
    this.#begin.id = "self-check";
    this.#begin.title = HELP;
    this.#begin.onclick = () => send({ self_check: !this.#running });
    this.#text.id = "self-check-asks";
    this.#text.setAttribute("role", "status");
    const help = make("details");
    help.append(make("summary", "", "What does it tell?"), make("p", "note", HELP));
    this.#box.append(this.#begin, this.#text, help);
    this.#box.hidden = true;
    after.after(this.#box);
  }

  /**
   * @param {boolean} offered whether there is anybody to check
   * @param {SelfCheckReport | null | undefined} report
   */
  show(offered, report) {
    this.#running = Boolean(report && report.passed === null);
    this.#box.hidden = !offered && !report;
    say(this.#begin, this.#running ? "Stop the check" : "Check that it is me");
    this.#box.dataset.passed = String(report?.passed ?? "");
    say(this.#text, report ? line(report) : "");
  }
}

/** @param {SelfCheckReport} report */
function line({ asked, done, of, passed, why, record, error }) {
  if (passed === null) return `${done + 1 > of ? of : done + 1} of ${of}: ${asked ? ASKS[asked] : REST}`;
  if (error) return `It passed, but could not be recorded: ${error}`;
  if (passed) return record ? "It passed, and stands in the record of the portrait." : "It passed.";
  return `It did not pass: ${why}.`;
}
