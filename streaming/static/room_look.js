import { stillOf } from "./api.js";
import { firstOf, hasEnded, inPlace } from "./consent.js";
import { make, need, part, select } from "./elements.js";
import { unmarked } from "./notes.js";

/** @import {BundleInfo, Info, Mode, SourceInfo} from "./messages.js" */

/** @type {[Mode, string][]} */
const MODES = [
  ["puppet", "A portrait"],
  ["edit", "Your own picture"],
];

/** What leaves of you: a portrait or your own picture, by which system, and which portrait. */
export class Look {
  /** @type {BundleInfo[]} */
  #bundles;
  /** @type {Mode} */
  mode = "puppet";
  source = "";

  /**
   * @param {Info} info
   * @param {(change: import("./messages.js").Change) => void} chosen in mid-call
   */
  constructor(info, chosen) {
    this.#bundles = info.bundles ?? [];
    this.source = firstOf(info).id;
    this.chosen = chosen;
    const modes = MODES.filter(([mode]) => this.#able(mode).length);
    this.mode = modes[0]?.[0] ?? "puppet";
    part("look-modes").hidden = modes.length < 2;
    for (const radio of this.#radios()) {
      /** @type {HTMLElement} */ (radio.parentElement).hidden = !modes.some(([mode]) => mode === radio.value);
      radio.checked = radio.value === this.mode;
      radio.onchange = () => this.#take(/** @type {Mode} */ (radio.value));
    }
    select("look-bundle").onchange = () => this.#changed();
    this.#offer();
    const sources = info.sources ?? [info.source];
    need("look-sources", HTMLElement).replaceChildren(...sources.map((source) => this.#portrait(source)));
    if (info.marks?.lowered.length) part("look-marks").textContent = unmarked(info);
    part("look-pass").hidden = !info.pass_through;
    part("look").hidden = info.pass_through === true;
  }

  /** What an offer asks for. */
  get wish() {
    const bundle = select("look-bundle").value;
    return bundle ? { bundle, mode: this.mode, source: this.source } : { source: this.source };
  }

  /** What stands at rest in your own corner. */
  get still() {
    return stillOf(this.source);
  }

  /** @param {Mode} mode */
  #able(mode) {
    return this.#bundles.filter(({ modes, own }) => modes[mode] && !own);
  }

  #offer() {
    const able = this.#able(this.mode);
    select("look-bundle").replaceChildren(...able.map(({ name, title }) => new Option(title || name, name)));
    part("look-bundle-field").hidden = able.length < 2;
    part("look-portraits").hidden = this.mode === "edit" && !able[0]?.modes.edit?.takes_source;
  }

  /** @param {Mode} mode */
  #take(mode) {
    this.mode = mode;
    this.#offer();
    this.#changed();
  }

  /** @param {SourceInfo} source */
  #portrait({ id, name, consent }) {
    const button = make("button");
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-pressed", String(id === this.source));
    const image = make("img");
    image.alt = name;
    image.onerror = () => image.replaceWith(make("span", "gone", inPlace(consent)));
    button.append(image);
    button.disabled = hasEnded(consent);
    if (button.disabled) image.replaceWith(make("span", "gone", inPlace(consent)));
    else image.src = stillOf(id);
    button.onclick = () => {
      this.source = id;
      for (const other of part("look-sources").children) other.setAttribute("aria-pressed", String(other === button));
      this.chosen({ source: id });
    };
    return button;
  }

  #changed() {
    this.chosen({ bundle: select("look-bundle").value, mode: this.mode });
  }

  /** @returns {HTMLInputElement[]} */
  #radios() {
    return /** @type {HTMLInputElement[]} */ ([...part("look-modes").querySelectorAll("input")]);
  }
}
