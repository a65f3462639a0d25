import { Refusal, readInfo } from "./api.js";
import { button, need, part, say } from "./elements.js";

/** Whether the server turned this page away: nothing on it works until it is opened anew. */
export const locked = () => need("locked", HTMLDialogElement).open;

/** Shows the one card that is left: open the address that marotte printed. Everything else is inert under it. */
export function lock() {
  const card = need("locked", HTMLDialogElement);
  if (card.open) return;
  for (const other of document.querySelectorAll("dialog[open]")) if (other instanceof HTMLDialogElement) other.close();
  document.documentElement.dataset.phase = "locked";
  part("notices").replaceChildren();
  for (const id of ["welcome", "trouble", "bar", "veil", "chip", "readout"]) part(id).hidden = true;
  part("panel").inert = true;
  part("state").dataset.tone = "bad";
  say(part("state-text"), "This page is out of date");
  card.oncancel = (event) => event.preventDefault();
  card.onclose = () => card.showModal(); // a second Escape closes a dialog whatever the page says
  button("unlock").onclick = () => void tryAgain(true);
  // the printed address was opened in another tab: its cookie is this tab's too
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && void tryAgain(false));
  card.showModal();
}

/** @param {boolean} asked by a person, who is told that it did not help */
async function tryAgain(asked) {
  try {
    await readInfo();
    window.location.reload();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (asked) say(part("locked-answer"), error.status === 401 ? "Not yet: this browser has no valid token for the server." : error.message);
  }
}
