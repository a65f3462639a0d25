import { pictureOf } from "./api.js";
import { make, part, say } from "./elements.js";

/** @import {BundleInfo, PictureInfo, SourceInfo} from "./messages.js" */

/**
 * Which of a person's photos a system uses, and why it does not use the others.
 *
 * @param {SourceInfo} source
 * @param {BundleInfo | null} bundle
 */
export function showPerson(source, bundle) {
  const pictures = source.pictures ?? [];
  const most = bundle?.pictures ?? 1;
  part("person").hidden = pictures.length < 2 || bundle?.modes.puppet?.takes_source === false;
  part("person-photos").replaceChildren(...pictures.map((one, number) => tileOf(source, one, number, most)));
  say(part("person-note"), told(pictures, most));
  part("person-left").replaceChildren(...pictures.filter(({ place }) => place === null).map(({ name, why }) => make("li", "", `${name}: ${why}`)));
}

/**
 * @param {SourceInfo} source
 * @param {PictureInfo} one
 * @param {number} number
 * @param {number} most
 */
function tileOf(source, one, number, most) {
  const used = one.place !== null && one.place < most;
  const tile = make("li");
  tile.dataset.used = String(used);
  tile.title = `${one.name}: ${used ? (one.place === 0 ? "it moves" : "it fills in what others do not show") : one.why || "not used by this system"}`;
  const picture = make("img");
  picture.src = pictureOf(source.id, number);
  picture.alt = tile.title;
  tile.append(picture);
  if (used) tile.append(make("b", "", String((one.place ?? 0) + 1)));
  return tile;
}

/**
 * @param {PictureInfo[]} pictures
 * @param {number} most
 */
function told(pictures, most) {
  const kept = pictures.filter(({ place }) => place !== null).length;
  const used = Math.min(kept, most);
  const waiting = kept - used;
  const others = waiting === 1 ? "another one waits" : `${waiting} others wait`;
  const more = waiting ? `; ${others} for a system that uses more` : "";
  if (used === 1) return `This system uses one, which looks ahead most${more}.`;
  return `This system uses ${used}: the first looks ahead most and moves, ${used === 2 ? "the second fills" : "the others fill"} in what it does not show${more}.`;
}
