/**
 * An element that index.html promises. Throws when it is missing or of another kind, so that a renamed id is seen at once.
 *
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function need(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} with id ${id}`);
  return found;
}

/** @param {string} id */
export const button = (id) => need(id, HTMLButtonElement);
/** @param {string} id */
export const part = (id) => need(id, HTMLElement);
/** @param {string} id */
export const video = (id) => need(id, HTMLVideoElement);
/** @param {string} id */
export const select = (id) => need(id, HTMLSelectElement);
/** @param {string} id */
export const input = (id) => need(id, HTMLInputElement);

/**
 * A new element with a class and, where given, a text.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * Sets a text only where it differs, so that a live region speaks once and nothing is laid out for nothing.
 *
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
