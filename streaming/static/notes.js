import { need, part, say } from "./elements.js";

/** @import {Info, Mode} from "./messages.js" */

/**
 * What the operator allowed and a person before the camera should know.
 *
 * @param {Info} info
 * @param {Mode} mode
 */
export function describeServer(info, mode) {
  const text = info.pass_through
    ? "Pass-through: this server sends your own camera picture back. Nothing is generated."
    : mode === "edit"
      ? "Your own picture leaves: your camera is sent back with your face edited. All around your face, and anybody beside you, is your camera as it is."
    : info.driver_pixels
      ? "This server copies the inside of your mouth and your shading into the portrait: pixels of your camera are in the picture."
      : "";
  const told = [unmarked(info), text].filter(Boolean).join(" ");
  part("banner").hidden = !told;
  say(need("banner-text", HTMLElement), told);
  say(part("marks"), marked(info));
  say(part("version"), info.version ? `Marotte ${info.version}` : "");
}

/**
 * Which marks the operator has taken off what is generated; nothing where none is.
 *
 * @param {Info} info
 */
export function unmarked(info) {
  const off = info.pass_through ? [] : (info.marks?.lowered ?? []);
  return off.length ? `The operator of this server has taken the ${off.join(" and the ")} off what is generated.` : "";
}

/** @type {Record<string, string>} */
const MARKS = { badge: "the “AI” badge", watermark: "an invisible watermark" };

/**
 * Which marks everything that is generated carries; nothing where none is.
 *
 * @param {Info} info
 */
export function marked({ marks, pass_through }) {
  const on = pass_through ? [] : (marks?.on ?? []);
  return on.length ? `Every picture carries ${on.map((name) => MARKS[name] ?? name).join(" and ")}.` : "";
}

/**
 * What leaves the browser, and where it goes.
 *
 * @param {Info} info
 */
export function describePrivacy(info) {
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const where = here ? `this machine's own server (${location.host})` : location.host;
  const helpers = (info.ice_servers ?? []).flatMap((server) => server.urls);
  const route = helpers.length ? ` ${helpers.join(", ")} may help to find the way, or carry the encrypted call.` : "";
  const followed = info.mediapipe ? " With the tracker in this browser your camera stays in this page, and only numbers leave it." : "";
  say(
    part("privacy"),
    `While a call runs, your camera goes to ${where} by encrypted WebRTC; it is not stored. A picture that you drop goes ` +
      `there too and stays in its memory; the line about who allows it is recorded. Nothing goes anywhere else.${route}${followed}`,
  );
}
