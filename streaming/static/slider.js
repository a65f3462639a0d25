import { make } from "./elements.js";

/**
 * One labelled slider.
 *
 * @param {{name: string, label: string, code?: string, facs?: string, least: number, most: number, rest: number, value: number}} shape
 * @param {(value: string) => string} spell
 * @param {(value: number) => void} moved
 */
export function slider({ name, label, code, facs, least, most, rest, value: now }, spell, moved) {
  const row = make("div", "slider");
  const title = make("label", "", label);
  if (code) title.title = `Called ${code} (action unit ${Number(code.slice(2))}, ${facs}) where faces are measured`;
  if (facs) title.append(make("small", "", facs));
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

/** @param {string} value */
export const spellGain = (value) => (Number(value) === 0 ? "off" : `× ${Number(value).toFixed(2)}`);
/** @param {string} value */
export const spellCalm = (value) => (Number(value) === 0 ? "none" : Number(value) === 1 ? "normal" : `× ${Number(value).toFixed(2)}`);
/** @param {string} value */
export const spellOffset = (value) => (Number(value) === 0 ? "0" : `${Number(value) > 0 ? "+" : "−"}${Math.abs(Number(value)).toFixed(2)}`);
/** @param {string} value */
export const spellShare = (value) => `${Math.round(100 * Number(value))} %`;
