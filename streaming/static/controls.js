import { button, make, part } from "./elements.js";
import { recall, remember } from "./memory.js";

/** @import {Change, Controls, Message} from "./messages.js" */

/** @typedef {"pose" | "mouth" | "eyes" | "brows" | "gaze"} Gain */
/** @typedef {"absolute_mouth" | "absolute_eyes" | "absolute_gaze"} Absolute */

/** @type {[Gain, string][]} */
const GAINS = [
  ["pose", "Head"],
  ["mouth", "Mouth"],
  ["eyes", "Eyelids"],
  ["brows", "Brows"],
  ["gaze", "Gaze"],
];

/** @type {[Absolute, string][]} */
const ABSOLUTES = [
  ["absolute_mouth", "Mouth opening"],
  ["absolute_eyes", "Eyelids"],
  ["absolute_gaze", "Gaze"],
];

/** @type {[string, [string, string][]][]} */
export const ACTION_UNITS = [
  ["Brows", [["AU01", "Inner brows up"], ["AU02", "Outer brows up"], ["AU04", "Frown"]]],
  ["Eyes", [["AU05", "Eyes wide"], ["AU07", "Lids tight"], ["AU45", "Eyes closed"]]],
  ["Nose and cheeks", [["AU06", "Cheeks up"], ["AU09", "Wrinkled nose"]]],
  ["Mouth", [
    ["AU12", "Smile"], ["AU15", "Sad corners"], ["AU10", "Upper lip up"], ["AU14", "Dimples"], ["AU17", "Chin up"],
    ["AU20", "Lips stretched"], ["AU23", "Lips tight"], ["AU25", "Lips apart"], ["AU26", "Jaw drop"],
  ]],
];

const MOST_GAIN = 2; // the server takes 4, but long before that a face is no face any more
const MOST_CALM = 4;
const LEAST_GAP_MS = 33; // the server hears 60 messages a second; half of them leaves room for all others

/** @returns {Controls} */
export function neutralControls() {
  return {
    pose: 1, mouth: 1, eyes: 1, brows: 1, gaze: 1,
    absolute_mouth: true, absolute_eyes: true, absolute_gaze: true,
    au_offsets: Object.fromEntries(ACTION_UNITS.flatMap(([, units]) => units.map(([name]) => [name, 0]))),
  };
}

/**
 * What was set before a reload, within what this page can set.
 *
 * @returns {{controls: Controls, smoothing: number}}
 */
function remembered() {
  const controls = neutralControls();
  const { controls: old = {}, smoothing } = recall();
  for (const [gain] of GAINS) controls[gain] = within(old?.[gain], 0, MOST_GAIN) ?? controls[gain];
  for (const [name] of ABSOLUTES) controls[name] = old?.[name] !== false;
  for (const name of Object.keys(controls.au_offsets)) controls.au_offsets[name] = within(old?.au_offsets?.[name], -1, 1) ?? 0;
  return { controls, smoothing: within(smoothing, 0, MOST_CALM) ?? 1 };
}

/**
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 */
const within = (value, least, most) => (typeof value === "number" && value >= least && value <= most ? value : undefined);

/**
 * One labelled slider.
 *
 * @param {{name: string, label: string, code?: string, least: number, most: number, rest: number, value: number}} shape
 * @param {(value: string) => string} spell
 * @param {(value: number) => void} moved
 */
function slider({ name, label, code, least, most, rest, value: now }, spell, moved) {
  const row = make("div", "slider");
  const title = make("label", "", label);
  if (code) title.title = `Called ${code} (action unit ${Number(code.slice(2))}) where faces are measured`;
  const range = make("input");
  range.id = title.htmlFor = `slider-${name}`;
  Object.assign(range, { type: "range", min: String(least), max: String(most), step: "0.05", value: String(now) });
  const value = make("output");
  const show = () => {
    value.textContent = spell(range.value);
    range.setAttribute("aria-valuetext", spell(range.value));
    row.dataset.set = String(Number(range.value) !== rest);
  };
  range.oninput = () => {
    show();
    moved(Number(range.value));
  };
  row.append(...(code ? [title, range, value] : [title, value, range]));
  const reset = () => {
    range.value = String(rest);
    show();
  };
  range.ondblclick = () => {
    reset();
    moved(rest);
  };
  show();
  return { row, reset };
}

/** The live controls: what is set, and how it gets to the server, at most one change per animation frame. */
export class ControlDesk {
  #seq = 0;
  #asked = false;
  #sentAt = 0;
  /** @type {Set<"controls" | "smoothing">} */
  #dirty = new Set();
  /** @type {(() => void)[]} */
  #resets = [];

  /**
   * @param {(message: object) => boolean} send
   * @param {(error: string) => void} refused a change was not taken
   */
  constructor(send, refused) {
    this.send = send;
    this.refused = refused;
    const { controls, smoothing } = remembered();
    this.controls = controls;
    this.smoothing = smoothing;
    this.#buildMotion();
    this.#buildOffsets();
  }

  /** Everything that is set, for a channel that has just opened. */
  announce() {
    const rest = JSON.stringify(neutralControls());
    if (JSON.stringify(this.controls) !== rest) this.#mark("controls");
    if (this.smoothing !== 1) this.#mark("smoothing");
  }

  /**
   * Sends a change that is no slider's.
   *
   * @param {Change} change
   * @returns {boolean} whether it went out
   */
  change(change) {
    this.#seq += 1;
    return this.send({ seq: this.#seq, change });
  }

  /** @param {Message} message */
  heard(message) {
    if (message.error) this.refused(message.error);
  }

  /** @param {"controls" | "smoothing"} what */
  #mark(what) {
    this.#dirty.add(what);
    remember({ controls: this.controls, smoothing: this.smoothing });
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame((now) => this.#flush(now));
  }

  /** @param {number} now */
  #flush(now) {
    if (now - this.#sentAt < LEAST_GAP_MS) {
      requestAnimationFrame((later) => this.#flush(later));
      return;
    }
    this.#asked = false;
    this.#sentAt = now;
    /** @type {Change} */
    const change = {};
    if (this.#dirty.has("controls")) change.controls = this.controls;
    if (this.#dirty.has("smoothing")) change.smoothing = this.smoothing;
    this.#dirty.clear();
    this.change(change);
  }

  #buildMotion() {
    const resets = GAINS.map(([gain, label]) => {
      const { row, reset } = slider({ name: gain, label, least: 0, most: MOST_GAIN, rest: 1, value: this.controls[gain] }, spellGain, (value) => {
        this.controls[gain] = value;
        this.#mark("controls");
      });
      part("gains").append(row);
      return reset;
    });
    const shape = { name: "smoothing", label: "Calmness", least: 0, most: MOST_CALM, rest: 1, value: this.smoothing };
    const calm = slider(shape, spellCalm, (value) => {
      this.smoothing = value;
      this.#mark("smoothing");
    });
    part("smoothing").append(calm.row);
    resets.push(calm.reset, ...ABSOLUTES.map(([name, label]) => this.#toggle(name, label)));
    button("reset-motion").onclick = () => {
      const rest = neutralControls();
      this.controls = { ...rest, au_offsets: this.controls.au_offsets };
      this.smoothing = 1;
      for (const reset of resets) reset();
      this.#mark("controls");
      this.#mark("smoothing");
    };
  }

  /**
   * @param {Absolute} name
   * @param {string} label
   */
  #toggle(name, label) {
    const row = make("label", "switch");
    const box = make("input");
    box.type = "checkbox";
    box.checked = this.controls[name];
    box.onchange = () => {
      this.controls[name] = box.checked;
      this.#mark("controls");
    };
    row.append(box, make("span", "", label));
    part("absolutes").append(row);
    return () => {
      box.checked = true;
    };
  }

  #buildOffsets() {
    for (const [title, units] of ACTION_UNITS) {
      const group = make("div", "sliders");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", title);
      group.append(make("h4", "", title));
      for (const [name, label] of units) {
        const shape = { name, label, code: name, least: -1, most: 1, rest: 0, value: this.controls.au_offsets[name] };
        const { row, reset } = slider(shape, spellOffset, (value) => {
          this.controls.au_offsets[name] = value;
          this.#mark("controls");
        });
        this.#resets.push(reset);
        group.append(row);
      }
      part("offsets").append(group);
    }
    button("reset-expression").onclick = () => {
      this.controls.au_offsets = neutralControls().au_offsets;
      for (const reset of this.#resets) reset();
      this.#mark("controls");
    };
  }
}

/** @param {string} value */
const spellGain = (value) => (Number(value) === 0 ? "off" : `× ${Number(value).toFixed(2)}`);
/** @param {string} value */
const spellCalm = (value) => (Number(value) === 0 ? "none" : Number(value) === 1 ? "normal" : `× ${Number(value).toFixed(2)}`);
/** @param {string} value */
const spellOffset = (value) => (Number(value) === 0 ? "0" : `${Number(value) > 0 ? "+" : "−"}${Math.abs(Number(value)).toFixed(2)}`);
