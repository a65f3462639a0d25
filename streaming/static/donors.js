import { stillOf } from "./api.js";
import { button, input, make, part, say } from "./elements.js";
import { recall, remember } from "./memory.js";
import { notice } from "./notices.js";

/** @import {Info, SourceInfo} from "./messages.js" */

const MOST = 4;

/** The pictures that an edit takes from, one after the other; none: the portrait itself. */
export class Donors {
  /** @type {string[]} */
  ids = [];
  #most;

  /**
   * @param {Info} info
   * @param {() => void} changed
   */
  constructor(info, changed) {
    this.changed = changed;
    this.#most = info.limits?.donors ?? MOST;
    const { donors } = recall();
    if (Array.isArray(donors)) this.ids = donors.filter((id) => typeof id === "string").slice(0, this.#most);
    button("clear-donors").onclick = () => this.#set([]);
  }

  /**
   * The pictures that the server keeps; a donor that it does not keep is none any more.
   *
   * @param {SourceInfo[]} known
   * @param {SourceInfo} portrait what stands in where there is no donor
   */
  list(known, portrait) {
    const kept = this.ids.filter((id) => known.some((source) => source.id === id));
    const lost = kept.length < this.ids.length;
    this.ids = kept;
    part("donor-gallery").replaceChildren(...known.map((source) => this.#tile(source)));
    button("clear-donors").disabled = !kept.length;
    say(part("donors-now"), kept.length ? told(kept.length) : `None chosen: “${portrait.name}” gives its own.`);
    if (lost) this.#tell();
  }

  /**
   * One more, the newest last.
   *
   * @param {SourceInfo} source
   */
  add(source) {
    if (this.ids.includes(source.id)) return;
    if (this.ids.length >= this.#most) {
      notice(`${this.#most} donors at most: take one away first.`, "bad");
      return;
    }
    this.#set([...this.ids, source.id]);
  }

  /** @param {SourceInfo} source */
  #tile(source) {
    const place = this.ids.indexOf(source.id);
    const tile = make("button");
    tile.type = "button";
    tile.dataset.id = source.id;
    tile.title = place < 0 ? `${source.name}: make it a donor` : `${source.name}: donor ${place + 1}, press to take it away`;
    tile.setAttribute("aria-label", source.name);
    tile.setAttribute("aria-pressed", String(place >= 0));
    tile.onclick = () => (place < 0 ? this.add(source) : this.#set(this.ids.filter((id) => id !== source.id)));
    const picture = make("img");
    picture.src = stillOf(source.id);
    picture.alt = "";
    tile.append(picture);
    if (place >= 0) tile.append(make("b", "", String(place + 1)));
    return tile;
  }

  /** @param {string[]} ids */
  #set(ids) {
    const { activeElement } = document;
    const focused = activeElement instanceof HTMLElement ? activeElement.dataset.id : undefined;
    this.ids = ids;
    this.#tell();
    if (focused) this.#find(focused)?.focus();
  }

  #tell() {
    remember({ donors: this.ids });
    this.changed();
  }

  /** @param {string} id */
  #find(id) {
    const tiles = /** @type {HTMLElement[]} */ ([...part("donor-gallery").children]);
    return tiles.find((tile) => tile.dataset.id === id);
  }
}

/** @param {number} count */
const told = (count) => (count === 1 ? "One donor gives its own." : `${count} donors give theirs, in the order of their numbers.`);

/**
 * The switch that takes the attribute away in place of bringing it.
 *
 * @param {boolean} on
 * @param {(on: boolean) => void} turned
 */
export function setUpRemoval(on, turned) {
  const remove = input("remove");
  remove.checked = on;
  remove.onchange = () => turned(remove.checked);
}
