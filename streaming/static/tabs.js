import { part } from "./elements.js";

/** The tabs of the panel: one is in the tab order, the arrow keys walk along them. */
export function setUpTabs() {
  const list = part("tabs");
  const tabs = /** @type {HTMLButtonElement[]} */ ([...list.querySelectorAll("[role=tab]")]);
  // what a system does not have leaves with its tab
  new MutationObserver(() => {
    if (tabs.some((tab) => tab.hidden && tab.getAttribute("aria-selected") === "true")) choose(tabs, tabs[0]);
  }).observe(list, { attributeFilter: ["hidden"], subtree: true });
  tabs.forEach((tab) => {
    tab.onclick = () => choose(tabs, tab);
    tab.onkeydown = (event) => {
      const there = tabs.filter((one) => !one.hidden);
      const place = there.indexOf(tab);
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: there.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = there[(to + there.length) % there.length];
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
