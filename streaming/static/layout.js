import { button, input, part } from "./elements.js";
import { slider, spellOffset } from "./slider.js";

/** @import {Controls} from "./messages.js" */

/** Regions of a layout, and what more of them is. @type {[string, string][]} */
const PARTS = [
  ["brows", "Brows, thicker"],
  ["eyes", "Eyes, larger"],
  ["nose", "Nose, broader"],
  ["lips", "Lips, fuller"],
  ["hair", "Hair, more"],
  ["glasses", "Glasses, on and larger"],
];

/** @typedef {"donor_layout" | "donor_style" | "project"} Taken */

/** @type {[Taken, string][]} */
const SWITCHES = [["donor_layout", "donor-layout"], ["donor_style", "donor-style"], ["project", "project"]];

/** What a system that draws by layouts can be told: by how much regions change, and what is taken of donors. */
export class LayoutFields {
  /**
   * @param {Controls} controls
   * @param {() => void} changed
   */
  constructor(controls, changed) {
    const rows = PARTS.map(([name, label]) => {
      const shape = { name: `layout-${name}`, label, least: -1, most: 1, rest: 0, value: controls.layout[name] ?? 0 };
      const built = slider(shape, spellOffset, (amount) => {
        controls.layout = { ...controls.layout, [name]: amount };
        changed();
      });
      part("layout-parts").append(built.row);
      return built;
    });
    button("reset-layout").onclick = () => {
      controls.layout = {};
      for (const { reset } of rows) reset();
      changed();
    };
    for (const [name, id] of SWITCHES) {
      const box = input(id);
      box.checked = controls[name];
      box.onchange = () => {
        controls[name] = box.checked;
        changed();
      };
    }
  }

  /**
   * Shows what the chosen system heeds.
   *
   * @param {string[]} heeds fields of the controls
   */
  offer(heeds) {
    part("project-field").hidden = !heeds.includes("project");
    for (const id of ["donor-layout-field", "donor-style-field"]) part(id).hidden = !heeds.includes("donor_layout");
  }
}
