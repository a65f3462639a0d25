import { button } from "./elements.js";

const BEGINS = ["start", "demo", "tracker", "retry", "trouble-demo"];
const RELEASED = "marotte-released";

/** Whether this page knows that all output of the server is stopped: nothing can be begun then. */
export const isStopped = () => document.documentElement.dataset.killed === "true";

/**
 * Nothing of the portrait is shown, and nothing can be begun, until the output is released.
 *
 * @param {boolean} on
 */
export function showStopped(on) {
  if (on === isStopped()) return;
  document.documentElement.dataset.killed = String(on);
  for (const id of BEGINS) button(id).disabled = on;
  if (!on) window.dispatchEvent(new Event(RELEASED));
}

/** @param {() => void} heard the output was released */
export const onRelease = (heard) => window.addEventListener(RELEASED, heard);
