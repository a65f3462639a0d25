import { button, make, part, select } from "./elements.js";
import { LayoutFields } from "./layout.js";
import { recall, remember } from "./memory.js";
import { slider, spellCalm, spellGain, spellOffset, spellShare } from "./slider.js";

/** @import {BundleInfo, Change, Controls, Info, Message} from "./messages.js" */

/** @typedef {"pose" | "mouth" | "eyes" | "brows" | "gaze" | "motion"} Gain */
/** @typedef {"absolute_mouth" | "absolute_eyes" | "absolute_gaze"} Absolute */

/** @type {[Gain, string][]} */
const GAINS = [
  ["pose", "Head"],
  ["mouth", "Mouth"],
  ["eyes", "Eyelids"],
  ["brows", "Brows"],
  ["gaze", "Gaze"],
  ["motion", "All motion"],
];

/** What an edit leaves as it is, or has not. @type {Gain[]} */
const PUPPETS = ["pose", "gaze", "motion"];

/** @type {[Absolute, string][]} */
const ABSOLUTES = [
  ["absolute_mouth", "Mouth opening"],
  ["absolute_eyes", "Eyelids"],
  ["absolute_gaze", "Gaze"],
];

/**
 * By region of the face: code, what it looks like, and what the Facial Action Coding System calls it.
 *
 * @type {[string, [string, string, string][]][]}
 */
export const ACTION_UNITS = [
  ["Brows", [
    ["AU01", "Inner brows up", "inner brow raiser"], ["AU02", "Outer brows up", "outer brow raiser"],
    ["AU04", "Frown", "brow lowerer"],
  ]],
  ["Eyes", [
    ["AU05", "Eyes wide", "upper lid raiser"], ["AU07", "Lids tight", "lid tightener"], ["AU45", "Eyes closed", "blink"],
  ]],
  ["Nose and cheeks", [["AU06", "Cheeks up", "cheek raiser"], ["AU09", "Wrinkled nose", "nose wrinkler"]]],
  ["Mouth", [
    ["AU12", "Smile", "lip corner puller"], ["AU15", "Sad corners", "lip corner depressor"],
    ["AU10", "Upper lip up", "upper lip raiser"], ["AU14", "Dimples", "dimpler"], ["AU17", "Chin up", "chin raiser"],
    ["AU20", "Lips stretched", "lip stretcher"], ["AU23", "Lips tight", "lip tightener"],
    ["AU25", "Lips apart", "lips part"], ["AU26", "Mouth open", "jaw drop"],
  ]],
];

/** What is off until it is asked for. @type {("remove" | "donor_layout" | "donor_style" | "project")[]} */
const SWITCHES = ["remove", "donor_layout", "donor_style", "project"];

const NEUTRAL = "neutral";
const INTENSITY = 0.7;

const MOST_GAIN = 2; // the server takes 4, but long before that a face is no face any more
const MOST_CALM = 4;
const LEAST_GAP_MS = 33; // the server hears 60 messages a second; half of them leaves room for all others

/** @returns {Controls} */
export function neutralControls() {
  return {
    pose: 1, mouth: 1, eyes: 1, brows: 1, gaze: 1, motion: 1,
    absolute_mouth: true, absolute_eyes: true, absolute_gaze: true,
    au_offsets: Object.fromEntries(ACTION_UNITS.flatMap(([, units]) => units.map(([name]) => [name, 0]))),
    remove: false,
    directions: {},
    output_size: 0,
    layout: {},
    donor_layout: false,
    donor_style: false,
    project: false,
  };
}

/**
 * What was set before a reload, within what this page can set.
 *
 * @param {string[]} names of expressions
 * @returns {{controls: Controls, smoothing: number, expression: {name: string, intensity: number}}}
 */
function remembered(names) {
  const controls = neutralControls();
  const { controls: old = {}, smoothing, expression } = recall();
  for (const [gain] of GAINS) controls[gain] = within(old?.[gain], 0, MOST_GAIN) ?? controls[gain];
  for (const [name] of ABSOLUTES) controls[name] = old?.[name] !== false;
  for (const name of Object.keys(controls.au_offsets)) controls.au_offsets[name] = within(old?.au_offsets?.[name], -1, 1) ?? 0;
  for (const name of SWITCHES) controls[name] = old?.[name] === true;
  for (const [name, amount] of Object.entries(old?.layout ?? {})) controls.layout[name] = within(amount, -1, 1) ?? 0;
  for (const [name, strength] of Object.entries(old?.directions ?? {})) controls.directions[name] = within(strength, -100, 100) ?? 0;
  controls.output_size = within(old?.output_size, 0, 4096) ?? 0;
  const name = names.find((one) => one === expression?.name) ?? NEUTRAL;
  return { controls, smoothing: within(smoothing, 0, MOST_CALM) ?? 1, expression: { name, intensity: within(expression?.intensity, 0, 1) ?? INTENSITY } };
}

/**
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 */
const within = (value, least, most) => (typeof value === "number" && value >= least && value <= most ? value : undefined);

/** The live controls: what is set, and how it gets to the server, at most one change per animation frame. */
export class ControlDesk {
  #seq = 0;
  #asked = false;
  #sentAt = 0;
  /** @type {Set<"controls" | "smoothing" | "expression">} */
  #dirty = new Set();
  /** @type {(() => void)[]} */
  #resets = [];
  /** @type {Map<string, HTMLElement>} */
  #motions = new Map(); // the rows of gains and absolutes
  #layouts = false; // what is chosen draws by layouts, where a server that is told nothing takes its donors'

  /**
   * @param {Info} info
   * @param {(message: object) => boolean} send
   * @param {(error: string) => void} refused a change was not taken
   */
  constructor(info, send, refused) {
    this.send = send;
    this.refused = refused;
    const names = Object.keys(info.expressions ?? {});
    const { controls, smoothing, expression } = remembered(names);
    this.controls = controls;
    this.smoothing = smoothing;
    this.expression = expression;
    this.#buildMotion();
    if (names.length) this.#buildExpressions(names);
    this.#buildOffsets();
    this.layouts = new LayoutFields(controls, () => this.#mark("controls"));
  }

  /** Everything that is set, for a channel that has just opened. */
  announce() {
    const rest = JSON.stringify(neutralControls());
    if (this.#layouts || JSON.stringify(this.controls) !== rest) this.#mark("controls");
    if (this.smoothing !== 1) this.#mark("smoothing");
    if (this.expression.name !== NEUTRAL) this.#mark("expression");
  }

  /**
   * Whether an edit takes its attribute away.
   *
   * @param {boolean} on
   */
  remove(on) {
    this.controls.remove = on;
    this.#mark("controls");
  }

  /**
   * The edits that the chosen system offers, each with its own reach, and the sizes that it draws.
   *
   * @param {BundleInfo | null} bundle
   */
  offer(bundle) {
    const { directions = [], outputs = [], heeds, own } = bundle ?? {};
    const told = own ? undefined : heeds; // where a body drives, those of a face are shown, and the page says why they are dead
    for (const [name, row] of this.#motions) row.hidden = told ? !told.includes(name) : name === "motion";
    part("exact").hidden = ABSOLUTES.every(([name]) => this.#motions.get(name)?.hidden);
    this.layouts.offer(heeds ?? []);
    this.#layouts = heeds?.includes("donor_layout") ?? false;
    if (this.#layouts) this.#mark("controls");
    const rows = directions.map(({ name, low, high }) => {
      const value = Math.min(Math.max(this.controls.directions[name] ?? 0, low), high);
      const shape = { name: `direction-${name}`, label: name.replaceAll("_", " "), least: low, most: high, rest: 0, value };
      return slider(shape, spellOffset, (strength) => {
        this.controls.directions = { ...this.controls.directions, [name]: strength };
        this.#mark("controls");
      });
    });
    part("directions").replaceChildren(...rows.map(({ row }) => row));
    button("reset-directions").onclick = () => {
      this.controls.directions = {};
      for (const { reset } of rows) reset();
      this.#mark("controls");
    };
    part("output-field").hidden = !outputs.length;
    const choice = select("output");
    choice.replaceChildren(...outputs.map((side, place) => new Option(`${side} × ${side}${place ? "" : ", the finest"}`, String(place ? side : 0))));
    choice.value = outputs.slice(1).includes(this.controls.output_size) ? String(this.controls.output_size) : "0";
    choice.onchange = () => {
      this.controls.output_size = Number(choice.value);
      this.#mark("controls");
    };
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

  /** @param {"controls" | "smoothing" | "expression"} what */
  #mark(what) {
    this.#dirty.add(what);
    remember({ controls: this.controls, smoothing: this.smoothing, expression: this.expression });
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
    if (this.#dirty.has("expression")) change.expression = this.expression;
    this.#dirty.clear();
    this.change(change);
  }

  #buildMotion() {
    const resets = GAINS.map(([gain, label]) => {
      const { row, reset } = slider({ name: gain, label, least: 0, most: MOST_GAIN, rest: 1, value: this.controls[gain] }, spellGain, (value) => {
        this.controls[gain] = value;
        this.#mark("controls");
      });
      if (PUPPETS.includes(gain)) row.classList.add("only-puppet");
      this.#motions.set(gain, row);
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
      for (const [gain] of GAINS) this.controls[gain] = 1;
      for (const [name] of ABSOLUTES) this.controls[name] = true;
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
    this.#motions.set(name, row);
    return () => {
      box.checked = true;
    };
  }

  /**
   * One at a time, as strong as the slider says.
   *
   * @param {string[]} names
   */
  #buildExpressions(names) {
    part("named").hidden = false;
    const choices = names.map((name) => {
      const label = make("label");
      const radio = make("input");
      Object.assign(radio, { type: "radio", name: "expression", value: name, checked: name === this.expression.name });
      radio.onchange = () => choose(name);
      label.append(radio, make("span", "", name === NEUTRAL ? "none" : name));
      part("expressions").append(label);
      return radio;
    });
    const shape = { name: "intensity", label: "Intensity", least: 0, most: 1, rest: INTENSITY, value: this.expression.intensity };
    const { row, reset } = slider(shape, spellShare, (intensity) => {
      this.expression = { ...this.expression, intensity };
      this.#mark("expression");
    });
    part("intensity").append(row);
    const choose = (/** @type {string} */ name) => {
      this.expression = { ...this.expression, name };
      row.hidden = name === NEUTRAL;
      this.#mark("expression");
    };
    row.hidden = this.expression.name === NEUTRAL;
    this.#resets.push(() => {
      for (const radio of choices) radio.checked = radio.value === NEUTRAL;
      reset();
      this.expression = { name: NEUTRAL, intensity: INTENSITY };
      row.hidden = true;
      this.#mark("expression");
    });
  }

  #buildOffsets() {
    for (const [title, units] of ACTION_UNITS) {
      const group = make("div", "sliders");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", title);
      group.append(make("h4", "", title));
      for (const [name, label, facs] of units) {
        const shape = { name, label, code: name, facs, least: -1, most: 1, rest: 0, value: this.controls.au_offsets[name] };
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
