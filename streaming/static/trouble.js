import { button, make, part, say } from "./elements.js";

/** @import {CameraTrouble} from "./camera.js" */

/** @param {CameraTrouble} found why there is no camera, in the place of the welcome */
export function showTrouble(found) {
  say(part("trouble-title"), found.title);
  part("trouble-steps").replaceChildren(...found.steps.map((step) => make("li", "", step)));
  part("trouble").hidden = false;
  part("welcome").hidden = true;
  document.documentElement.dataset.trouble = found.kind;
  button("trouble-demo").focus();
}

/**
 * The button that was pressed is gone or dead: Stop is what is wanted next.
 *
 * @param {boolean} begun by that button
 */
export function keepFocus(begun) {
  const now = document.activeElement;
  const lost = !now || now === document.body || (now instanceof HTMLButtonElement && now.disabled);
  if (begun || lost) button("stop").focus({ preventScroll: true });
}
