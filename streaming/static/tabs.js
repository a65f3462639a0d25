import { part } from "./elements.js";

/** The tabs of the panel: one is in the tab order, the arrow keys walk along them. */
export function setUpTabs() {
  const list = part("tabs");
  const tabs = /** @type {HTMLButtonElement[]} */ ([...list.querySelectorAll("[role=tab]")]);
  tabs.forEach((tab, place) => {
    tab.onclick = () => choose(tabs, tab);
    tab.onkeydown = (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      choose(tabs, next);
      next.focus();
    };
  });
}

/**
 * @param {HTMLButtonElement[]} tabs
 * @param {HTMLButtonElement} chosen
 */
function choose(tabs, chosen) {
  for (const tab of tabs) {
    const mine = tab === chosen;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    part(tab.getAttribute("aria-controls") ?? "").hidden = !mine;
  }
}
