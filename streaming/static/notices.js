import { make, part } from "./elements.js";

const STAYS_MS = 4000;
const FAULT_STAYS_MS = 7000;
const MOST = 3;

/**
 * A line on the lower part of the picture that goes away by itself.
 *
 * @param {string} text
 * @param {"plain" | "bad"} [tone]
 */
export function notice(text, tone = "plain") {
  const box = part("notices");
  for (const other of [...box.children]) if (other.firstChild?.textContent === text) other.remove();
  while (box.children.length >= MOST) box.firstChild?.remove();
  const line = make("div", `notice ${tone}`);
  line.append(make("span", "", text));
  const close = make("button", "", "✕");
  close.type = "button";
  close.setAttribute("aria-label", "Close this notice");
  close.onclick = () => line.remove();
  line.append(close);
  box.append(line);
  window.setTimeout(() => line.remove(), tone === "bad" ? FAULT_STAYS_MS : STAYS_MS);
}
