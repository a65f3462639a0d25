import { make, part } from "./elements.js";
import { preview } from "./preview.js";

/** The chosen photos of one person, before they are sent: any of them can be taken away again. */
export class Photos {
  #list = part("attest-photos");
  /** @type {File[]} */
  #files = [];

  /** @param {(files: File[]) => void} changed those that are left */
  constructor(changed) {
    this.changed = changed;
  }

  /** @param {File[]} files none: nothing is shown */
  show(files) {
    this.#files = files;
    this.#list.hidden = !files.length;
    this.#list.replaceChildren(...files.map((file) => this.#tile(file)));
  }

  /**
   * Points at the photo that a refusal begins with.
   *
   * @param {string} message
   */
  mark(message) {
    this.#files.forEach((file, number) => {
      const tile = /** @type {HTMLElement} */ (this.#list.children[number]);
      tile.dataset.bad = String(message.startsWith(`${file.name}:`) || message.startsWith(`${file.name} `));
    });
  }

  /** @param {boolean} on while they are sent none is taken away */
  hold(on) {
    for (const remove of this.#list.querySelectorAll("button")) remove.disabled = on;
  }

  /** @param {File} file */
  #tile(file) {
    const tile = make("li");
    tile.title = file.name;
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", file.name);
    void preview(file, canvas);
    const name = make("small", "", file.name);
    const remove = make("button", "", "✕");
    remove.type = "button";
    remove.setAttribute("aria-label", `Leave out ${file.name}`);
    remove.onclick = () => {
      const place = this.#files.indexOf(file);
      this.changed(this.#files.filter((other) => other !== file));
      const left = this.#list.querySelectorAll("button");
      (left[Math.min(place, left.length - 1)] ?? part("statement")).focus();
    };
    tile.append(canvas, name, remove);
    return tile;
  }
}
