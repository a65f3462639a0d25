import { listCameras } from "./camera.js";
import { select } from "./elements.js";
import { playable } from "./link.js";
import { recall, remember, restore } from "./memory.js";

/** @import {Info} from "./messages.js" */

/**
 * Camera, size, codec: what there is to choose, what was chosen before a reload, and what a choice does.
 *
 * @param {Info} info
 * @param {(why: string) => void} redial the call has to be made anew
 * @param {(why: string) => void} changeCamera
 */
export function setUpChoices(info, redial, changeCamera) {
  const [codec, size, keep] = ["codec", "size", "keep"].map(select);
  for (const option of codec.options) {
    if (option.value === "auto") continue;
    const missing = !info.codecs.includes(option.value) ? "not on this server" : !playable(option.value) ? "not in this browser" : "";
    option.disabled = missing !== "";
    if (missing) option.textContent += ` (${missing})`;
  }
  const before = recall();
  restore(codec, info.codec);
  restore(codec, before.codec);
  restore(size, before.size);
  restore(keep, before.keep);
  for (const choice of [codec, keep]) {
    choice.onchange = () => {
      remember({ codec: codec.value, keep: keep.value });
      redial(`${chosen(choice)}: the call starts again with it.`);
    };
  }
  for (const choice of [size, select("device")]) {
    choice.onchange = () => {
      remember({ size: size.value });
      changeCamera(`${chosen(choice)}: the camera starts again with it.`);
    };
  }
  navigator.mediaDevices?.addEventListener?.("devicechange", () => void offerCameras());
  void offerCameras();
}

/** Lists the cameras; their names are known once one was allowed. */
export async function offerCameras() {
  const device = select("device");
  const cameras = await listCameras();
  const before = device.value;
  device.replaceChildren(
    new Option("The browser's choice", ""),
    ...cameras.map(({ id, label }) => new Option(label, id)),
  );
  device.value = cameras.some(({ id }) => id === before) ? before : "";
}

/** @param {HTMLSelectElement} choice */
function chosen(choice) {
  const text = choice.selectedOptions[0]?.text ?? "";
  return text.charAt(0).toUpperCase() + text.slice(1);
}
