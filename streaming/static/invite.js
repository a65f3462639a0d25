import { Refusal } from "./api.js";
import { button, make, part } from "./elements.js";
import { notice } from "./notices.js";
import { makeRoom } from "./room_api.js";

/** @import {Info} from "./messages.js" */

const WHOSE = ["Yours", "The other's"];

/**
 * Rooms for calls of two, where the server has them.
 *
 * @param {Info} info
 */
export function setUpInvites(info) {
  part("invite").hidden = !info.rooms;
  button("invite-make").onclick = () => void invite();
}

async function invite() {
  const pressed = button("invite-make");
  pressed.disabled = true;
  try {
    const { links } = await makeRoom();
    part("invite-links").replaceChildren(...links.map(shown));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    notice(error.message, "bad");
  } finally {
    pressed.disabled = false;
  }
}

/**
 * One of the two: to be opened here, or copied for whom it is for.
 *
 * @param {string} link
 * @param {number} at
 */
function shown(link, at) {
  const line = make("li");
  const address = new URL(link, location.href).href;
  const open = make("a", "", WHOSE[at] ?? "Another");
  open.href = address;
  open.target = "_blank";
  open.rel = "noopener";
  const copy = make("button", "small", "Copy");
  copy.type = "button";
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(address);
      notice("Copied: whoever has this link can join.");
    } catch (error) {
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      notice("The browser does not copy here: copy the link itself.", "bad"); // as on an address without https
    }
  };
  line.append(open, copy);
  return line;
}
