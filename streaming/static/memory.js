/** @import {Controls, Mode, SourceInfo} from "./messages.js" */

/**
 * What a tab remembers over a reload. The token is never among it.
 *
 * @typedef {object} Remembered
 * @property {SourceInfo} [source]
 * @property {string} [codec]
 * @property {string} [size]
 * @property {string} [keep]
 * @property {boolean} [mirror]
 * @property {string} [view]
 * @property {Partial<Controls>} [controls]
 * @property {number} [smoothing]
 * @property {{name: string, intensity: number}} [expression]
 * @property {string} [bundle]
 * @property {Mode} [mode]
 * @property {string[]} [donors]
 */

const NAME = "marotte";
const PAINTING = "marotte-painting";

/** @returns {Remembered} what is there, unchecked but for its being an object; nothing where storage is forbidden */
export function recall() {
  try {
    /** @type {unknown} */
    const found = JSON.parse(window.sessionStorage.getItem(NAME) ?? "{}");
    return found && typeof found === "object" ? /** @type {Remembered} */ (found) : {};
  } catch (error) {
    if (error instanceof DOMException || error instanceof SyntaxError) return {};
    throw error;
  }
}

/**
 * Adds to what is remembered.
 *
 * @param {Remembered} news
 */
export function remember(news) {
  try {
    window.sessionStorage.setItem(NAME, JSON.stringify({ ...recall(), ...news }));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // forbidden or full: this tab forgets, and goes on
  }
}

/** @returns {unknown} what was painted (painting.js); under a name of its own, for it is large */
export function recallPainting() {
  try {
    return JSON.parse(window.sessionStorage.getItem(PAINTING) ?? "null");
  } catch (error) {
    if (error instanceof DOMException || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** @param {[number, number][]} runs */
export function rememberPainting(runs) {
  try {
    window.sessionStorage.setItem(PAINTING, JSON.stringify(runs));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/**
 * Gives a choice its remembered value, where it still offers that.
 *
 * @param {HTMLSelectElement} choice
 * @param {unknown} value
 */
export function restore(choice, value) {
  if ([...choice.options].some((option) => option.value === value && !option.disabled)) choice.value = String(value);
}
