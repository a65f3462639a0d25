import { need, part, say, select } from "./elements.js";
import { recall, remember } from "./memory.js";

/** @import {BundleInfo, Info, Mode} from "./messages.js" */

/** @type {Mode[]} */
const MODES = ["puppet", "edit"];
const GAINS = ["pose", "mouth", "eyes", "brows", "gaze", "motion"];

/** What a call runs: which of the systems that the server offers, and in which of its modes. */
export class System {
  /** @type {BundleInfo[]} */
  #bundles;
  /** @type {Mode} */
  mode = "puppet";
  /** @type {BundleInfo | null} */
  bundle = null;

  /**
   * @param {Info} info
   * @param {() => void} chosen another one was chosen
   */
  constructor(info, chosen) {
    this.#bundles = info.bundles ?? [];
    this.chosen = chosen;
    for (const radio of this.#radios()) {
      radio.onchange = () => this.#take(/** @type {Mode} */ (radio.value), this.bundle?.name);
    }
    select("bundle").onchange = () => this.#take(this.mode, select("bundle").value);
    const modes = this.#showModes();
    const before = recall();
    const first = this.#bundles[0]?.modes.puppet ? "puppet" : modes[0];
    const mode = modes.find((one) => one === before.mode) ?? first;
    if (mode) this.#set(mode, before.bundle);
  }

  /** What there is to choose between. */
  #showModes() {
    const modes = MODES.filter((mode) => this.#offering(mode).length);
    for (const radio of this.#radios()) {
      /** @type {HTMLElement} */ (radio.parentElement).hidden = !modes.includes(/** @type {Mode} */ (radio.value));
    }
    need("modes", HTMLFieldSetElement).hidden = modes.length < 2;
    part("systems").hidden = modes.length < 2 && this.#bundles.length < 2;
    return modes;
  }

  /**
   * What the server offers from now on; what is chosen stays where it is among it.
   *
   * @param {BundleInfo[]} bundles
   */
  renew(bundles) {
    this.#bundles = bundles;
    const modes = this.#showModes();
    this.#set(modes.includes(this.mode) ? this.mode : (modes[0] ?? this.mode), this.bundle?.name);
  }

  /**
   * As if it had been chosen, in the mode at hand where it has that.
   *
   * @param {string} name
   */
  turnTo(name) {
    const modes = MODES.filter((mode) => this.#offering(mode).some((bundle) => bundle.name === name));
    const free = modes.filter((mode) => !this.#radios().some((radio) => radio.value === mode && radio.disabled));
    const mode = free.includes(this.mode) ? this.mode : free[0];
    if (mode) this.#take(mode, name);
  }

  /** What an offer asks for: nothing where the server offers no choice. */
  get wish() {
    return this.bundle ? { bundle: this.bundle.name, mode: this.mode } : {};
  }

  /** Whether pictures of others give something to the driver's own. */
  get takesDonors() {
    return this.mode === "edit" && (this.bundle?.modes.edit?.takes_source ?? false);
  }

  /** Who moves in place of any portrait, by the driver's whole body; null where faces drive. */
  get own() {
    return this.bundle?.own ?? null;
  }

  /** Whether it draws by layouts, which can be edited and painted on. */
  get takesLayouts() {
    return this.bundle?.heeds?.includes("painted") ?? false;
  }

  /**
   * The demo and a tracker have nothing to edit, and a call that was begun with one has no camera.
   *
   * @param {boolean} on
   * @param {string} [why]
   */
  demo(on, why = "The demo has no picture of its own to edit") {
    for (const radio of this.#radios()) {
      radio.disabled = on && radio.value === "edit";
      /** @type {HTMLElement} */ (radio.parentElement).title = radio.disabled ? why : "";
    }
  }

  /**
   * What the server runs, where it did not take what was chosen here.
   *
   * @param {string} bundle
   * @param {Mode} mode
   */
  fallBack(bundle, mode) {
    this.#set(mode, bundle);
    this.#remember();
  }

  /**
   * @param {Mode} mode
   * @param {string | undefined} bundle
   */
  #take(mode, bundle) {
    this.#set(mode, bundle);
    this.#remember();
    this.chosen();
  }

  #remember() {
    remember({ mode: this.mode, bundle: this.bundle?.name });
  }

  /**
   * @param {Mode} mode
   * @param {string | undefined} name one that does not offer the mode gives way to the first that does
   */
  #set(mode, name) {
    const offering = this.#offering(mode);
    this.mode = mode;
    this.bundle = offering.find((bundle) => bundle.name === name) ?? offering[0] ?? null;
    for (const radio of this.#radios()) radio.checked = radio.value === mode;
    const choice = select("bundle");
    choice.replaceChildren(...offering.map((bundle) => new Option(bundle.title, bundle.name)));
    choice.value = this.bundle?.name ?? "";
    part("bundle-field").hidden = this.#bundles.length < 2;
    say(part("bundle-note"), this.bundle ? `${systemName(this.bundle.system)}. Licence of its weights: ${this.bundle.licence === "LicenseRef-unstated" ? "not stated" : this.bundle.licence}.` : "");
    const page = document.documentElement.dataset;
    page.mode = mode;
    page.aus = String(this.bundle?.aus ?? true);
    page.donors = String(this.takesDonors);
    page.layouts = String(this.takesLayouts);
    page.driver = this.own ? "body" : "face";
    const gains = this.bundle?.heeds ? GAINS.some((gain) => this.bundle?.heeds?.includes(gain) && !(gain === "motion" && mode === "edit")) : page.aus === "true";
    page.gains = String(gains);
    part("tab-layout").hidden = !this.takesLayouts;
    page.directions = String((this.bundle?.directions?.length ?? 0) > 0);
    part("removal").hidden = !this.bundle?.modes[mode]?.removes;
    need("gains", HTMLFieldSetElement).disabled = !gains;
    for (const id of ["gallery", "another", "exact"]) part(id).inert = this.own !== null;
    need("expression-fields", HTMLFieldSetElement).disabled = page.aus === "false";
  }

  /** @param {Mode} mode */
  #offering(mode) {
    return this.#bundles.filter((bundle) => mode in bundle.modes);
  }

  /** @returns {HTMLInputElement[]} */
  #radios() {
    return /** @type {HTMLInputElement[]} */ ([...part("modes").querySelectorAll("input")]);
  }
}

/** Whose names are written in their own way. @type {Record<string, string>} */
const SYSTEMS = { mesh_flow: "Mesh flow, Marotte's own", ganimation: "GANimation", geogan: "GeoGAN", maskgan: "MaskGAN", stit: "STIT", liquid_warping: "Liquid Warping GAN" };

/** @param {string} system */
const systemName = (system) => SYSTEMS[system] ?? system;
