import { part, say } from "./elements.js";

/** @import {Report} from "./messages.js" */

/**
 * @typedef {"loading" | "idle" | "blocked" | "asking" | "connecting" | "live" | "reconnecting" | "stopped" | "failed"} Phase
 * @typedef {"quiet" | "busy" | "good" | "warn" | "bad"} Tone
 *
 * @typedef {object} Situation
 * @property {Phase} phase
 * @property {string} why what ended or broke it, empty where nothing did
 * @property {Report | null} report the newest, null before the first
 * @property {boolean} silent live, but nothing was heard for a while
 * @property {boolean} demo
 * @property {boolean} edit the driver's own picture is edited
 * @property {boolean} [body] the driver's whole body is followed
 * @property {"page" | "server" | ""} [tracker] where a face comes from that is known by numbers alone
 *
 * @typedef {{tone: Tone, line: string, chip: string, veil: string, note: string}} Telling
 * line: beside the name. chip: on the picture. veil: over the picture, while there is none to trust; note: below that.
 */

/** Reasons that a server gives in few words; what else it says is shown as it is. @type {Record<string, string>} */
const REASONS = {
  "no frames": "your camera sends nothing",
  "no picture": "the engine sends nothing",
  "worker away": "the engine is away",
};

/** Why plain grey is shown, as a server's words tell it; what else it says is a picture that may not be shown now. @type {[RegExp, string][]} */
const GREY = [
  [/decision of its operator/, "this portrait is not used on this server"],
  [/revoked/, "the consent to it was withdrawn"],
  [/expired/, "the consent to it has ended"],
];

/** @type {Record<Exclude<Phase, "live">, [Tone, string, string]>} */
const PHASES = {
  loading: ["busy", "Loading", ""],
  idle: ["quiet", "Ready", ""],
  blocked: ["warn", "No camera", ""],
  asking: ["busy", "Asking for the camera", "Please allow the camera"],
  connecting: ["busy", "Connecting", "Connecting"],
  reconnecting: ["warn", "Connection lost, reconnecting", "Connection lost, reconnecting"],
  stopped: ["quiet", "Stopped", ""],
  failed: ["bad", "Ended", ""],
};

/**
 * What to tell a person about the situation.
 *
 * @param {Situation} situation
 * @returns {Telling}
 */
export function tell(situation) {
  const { phase, why } = situation;
  if (phase === "live") return tellLive(situation);
  const [tone, line, veil] = PHASES[phase];
  return { tone, line: phase === "failed" && why ? why : line, chip: "", veil, note: phase === "reconnecting" ? why : "" };
}

/**
 * @param {Situation} situation
 * @returns {Telling}
 */
function tellLive({ report, silent, demo, edit, body, tracker = "" }) {
  if (!report) return telling("busy", "Waiting for the first picture", "", "Waiting for the first picture");
  if (silent) return telling("warn", "Nothing heard from the server", "The server is silent");
  if (report.withheld) return telling("bad", `Plain grey is shown: ${greyFor(report.withheld)}`, "Not shown: choose another portrait");
  if (report.worker === "failed") return telling("bad", "The engine cannot be started", "The engine cannot be started");
  if (report.worker === "replacing") return telling("warn", "The engine is being replaced", "One moment: the engine is being replaced");
  if (report.worker === "starting") return telling("busy", "The engine is starting", "The engine is starting");
  if (report.paused) return telling("quiet", "Paused", "Paused");
  if (report.outcome === "pass_through") return telling("warn", "Pass-through: your own picture");
  if (report.outcome === "waiting") {
    const cause = report.reason ?? "";
    if (cause && !cause.startsWith("no ")) return telling("bad", `Nothing can be shown (${cause})`, "This does not work with that picture");
    if (tracker === "server") return telling("busy", `Waiting for the tracker: ${cameBy(report)}`, "Waiting for the tracker");
    return demo ? telling("busy", "The demo begins") : body ? telling("busy", "Looking for your body", "Step back: from the waist up, or all of you") : telling("busy", "Looking for your face", "Look into the camera");
  }
  if (report.outcome === "generated") return telling("good", tracker ? `Live, tracker: ${cameBy(report)}` : demo ? "Live, demo driver" : "Live");
  if (tracker === "server") return tellQuiet(report);
  return tellFallback(report, edit);
}

/** @param {string} why */
const greyFor = (why) => GREY.find(([words]) => words.test(why))?.[1] ?? "it may not be shown now";

/** @param {Report} report */
const cameBy = ({ fps_in }) => (fps_in > 0 ? `${Math.round(fps_in)} packets a second` : "nothing comes");

/**
 * @param {Report} report held or faded, of a tracker elsewhere
 * @returns {Telling}
 */
function tellQuiet(report) {
  const shown = report.outcome === "held" ? "the last picture is held" : "the still portrait is shown";
  if (report.fps_in > 0) return telling("warn", `The tracker sees nobody (${cameBy(report)}): ${shown}`, "Come back before the tracker");
  return telling("warn", `Nothing comes from the tracker: ${shown}`, "Is the tracker running?");
}

/**
 * @param {Report} report held or faded
 * @param {boolean} edit
 * @returns {Telling}
 */
function tellFallback({ outcome, reason }, edit) {
  const shown = outcome === "held" ? "the last picture is held" : edit ? "it is blurred" : "the still portrait is shown";
  if (!reason || reason.startsWith("no face")) return telling("warn", `Face lost: ${shown}`, "Come back into the picture");
  if (reason.startsWith("no body")) return telling("warn", `Body lost: ${shown}`, "Come back into the picture");
  return telling("warn", `No new pictures (${REASONS[reason] ?? reason}): ${shown}`, "No new pictures right now");
}

/**
 * @param {Tone} tone
 * @param {string} line
 * @param {string} [chip]
 * @param {string} [veil]
 * @returns {Telling}
 */
function telling(tone, line, chip = "", veil = "") {
  return { tone, line, chip, veil, note: "" };
}

/**
 * Puts it where it belongs.
 *
 * @param {Telling} told
 */
export function showTelling({ tone, line, chip, veil, note }) {
  part("state").dataset.tone = tone;
  say(part("state-text"), line);
  part("state").title = line;
  part("chip").hidden = !chip;
  say(part("chip-text"), chip);
  part("veil").hidden = !veil;
  say(part("veil-text"), veil);
  say(part("veil-note"), note);
}
