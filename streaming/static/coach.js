import { make, part } from "./elements.js";

/** @import {Remark} from "./messages.js" */

/** What was found wrong with the portrait and with the camera's picture, below the picture, as long as it is so. */
export class Coach {
  /** @type {Record<"portrait" | "camera", Remark[]>} */
  #found = { portrait: [], camera: [] };
  #shown = "";

  /** @param {Remark[] | undefined} remarks */
  portrait(remarks) {
    this.#found.portrait = remarks ?? [];
    this.#show();
  }

  /** @param {Remark[] | undefined} remarks */
  camera(remarks) {
    this.#found.camera = remarks ?? [];
    this.#show();
  }

  /** A value that wavers does not write the line again: only another set of measures does. */
  #show() {
    const { portrait, camera } = this.#found;
    const now = JSON.stringify([portrait.map((one) => one.text), camera.map((one) => one.measure)]);
    if (now === this.#shown) return;
    this.#shown = now;
    part("coach").hidden = !(portrait.length || camera.length);
    part("coach").replaceChildren(
      ...portrait.map((one) => line("Portrait", one, "only-puppet")),
      ...camera.map((one) => line("Camera", one)),
    );
  }
}

/**
 * @param {string} of
 * @param {Remark} remark
 * @param {string} [className]
 */
function line(of, remark, className) {
  const item = make("li", className);
  item.dataset.measure = remark.measure;
  item.append(make("b", "", `${of}: `), remark.text);
  return item;
}
