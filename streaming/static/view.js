import { input, need, part, say, video } from "./elements.js";
import { recall, remember } from "./memory.js";

/** @import {Mode} from "./messages.js" */

/** What the page is shaped for before an edited picture comes. @type {[number, number]} */
const EDIT_SIZE = [640, 480];
const NO_CAMERA = "The demo has no camera of yours to show";

/** The picture: what lies beside, over or under it. */
export class View {
  #stage = part("stage");
  #result = video("result");
  #camera = video("camera");
  #still = need("still", HTMLImageElement);
  #divider = input("divider");
  #mirror = input("mirror");
  #edit = false;
  /** @type {Map<HTMLElement, string>} */
  #titles = new Map();

  /** @param {(on: boolean) => void} mirrored the switch was turned */
  constructor(mirrored) {
    const { view, mirror } = recall();
    for (const radio of this.#radios()) {
      const label = /** @type {HTMLElement} */ (radio.parentElement);
      radio.setAttribute("aria-label", label.title);
      this.#titles.set(label, label.title);
      if (radio.value === view) radio.checked = true;
      if (radio.checked) this.#stage.dataset.view = radio.value;
      radio.onchange = () => {
        this.#stage.dataset.view = radio.value;
        remember({ view: radio.value });
      };
    }
    this.#divider.oninput = () => this.#stage.style.setProperty("--split", `${this.#divider.value}%`);
    this.#mirror.checked = mirror === true;
    this.#showMirror();
    this.#mirror.onchange = () => {
      this.#showMirror();
      remember({ mirror: this.mirrored });
      mirrored(this.mirrored);
    };
    this.#still.onerror = () => {
      this.#still.hidden = true; // the stage's own ground, with a sign on it, is better than a broken picture
    };
    this.#still.onload = () => {
      this.#still.hidden = false;
    };
    this.#result.onresize = () => this.#shape(this.#result.videoWidth, this.#result.videoHeight);
    this.#camera.onresize = () => {
      const { videoWidth, videoHeight } = this.#camera;
      if (videoHeight) this.#stage.style.setProperty("--camera-ratio", String(videoWidth / videoHeight));
    };
  }

  /** Whether you are shown as in a mirror, and the portrait moves as one. */
  get mirrored() {
    return this.#mirror.checked;
  }

  #showMirror() {
    this.#stage.dataset.mirror = String(this.mirrored);
    say(part("driver-tag"), this.mirrored ? "You, mirrored" : "You");
  }

  /**
   * The portrait at rest, which lies under the moved one.
   *
   * @param {string} address
   * @param {[number, number]} size
   */
  showStill(address, size) {
    this.#still.src = address;
    if (!this.#edit) this.#shape(...size);
  }

  /** @param {MediaStream} stream the returned picture; the old one stays until the first new frame */
  showResult(stream) {
    this.#result.srcObject = stream;
    this.#result.requestVideoFrameCallback(() => {
      if (this.#result.srcObject === stream) document.documentElement.dataset.picture = "true";
    });
  }

  /**
   * An edit has no portrait: nothing of it is shown, and the picture has the camera's shape.
   *
   * @param {Mode} mode
   * @param {[number, number]} size of the portrait
   * @param {boolean} body whether a whole body drives it
   */
  showMode(mode, size, body = false) {
    const edit = mode === "edit";
    const name = edit ? "Edited" : "Portrait";
    say(part("result-tag"), name);
    say(part("result-view"), name);
    say(part("welcome-title"), edit ? "Edit your own face" : body ? "Move this person with your body" : "Move this portrait with your face");
    say(part("welcome-text"), edit ? "Raise a brow, add a smile: your own picture, live." : body ? "Step back until you are seen from the waist up or more: they follow, live." : "Turn, blink, smile: it follows, live.");
    say(part("target-text"), edit ? "Drop the donor" : "Drop the portrait");
    this.#result.setAttribute("aria-label", edit ? "Your own picture, edited" : "The moved portrait");
    this.#edit = edit;
    if (!this.#result.srcObject) this.#shape(...(edit ? EDIT_SIZE : size));
  }

  /** Nothing but the still is left, at once. */
  clearResult() {
    this.#result.srcObject = null;
    document.documentElement.dataset.picture = "false";
  }

  /** @param {MediaStream | null} stream the driver's own camera, or none */
  showCamera(stream) {
    this.#camera.srcObject = stream;
    this.#stage.dataset.camera = String(stream !== null);
    need("views", HTMLFieldSetElement).disabled = stream === null;
    for (const [label, title] of this.#titles) label.title = stream ? title : NO_CAMERA;
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  #shape(width, height) {
    if (!width || !height) return;
    const ratio = String(width / height);
    this.#stage.style.setProperty("--ratio", ratio);
    document.documentElement.style.setProperty("--page-ratio", ratio);
  }

  /** @returns {HTMLInputElement[]} */
  #radios() {
    return /** @type {HTMLInputElement[]} */ ([...part("views").querySelectorAll("input")]);
  }
}
