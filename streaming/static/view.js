import { input, need, part, video } from "./elements.js";

/** The picture: what lies beside, over or under it. */
export class View {
  #stage = part("stage");
  #result = video("result");
  #camera = video("camera");
  #still = need("still", HTMLImageElement);
  #divider = input("divider");

  constructor() {
    for (const radio of this.#radios()) {
      radio.onchange = () => {
        this.#stage.dataset.view = radio.value;
      };
    }
    this.#divider.oninput = () => this.#stage.style.setProperty("--split", `${this.#divider.value}%`);
    const mirror = input("mirror");
    mirror.onchange = () => {
      this.#stage.dataset.mirror = String(mirror.checked);
    };
    this.#stage.dataset.mirror = String(mirror.checked);
    this.#result.onresize = () => this.#shape(this.#result.videoWidth, this.#result.videoHeight);
    this.#camera.onresize = () => {
      const { videoWidth, videoHeight } = this.#camera;
      if (videoHeight) this.#stage.style.setProperty("--camera-ratio", String(videoWidth / videoHeight));
    };
  }

  /**
   * The portrait at rest, which lies under the moved one.
   *
   * @param {string} address
   * @param {[number, number]} size
   */
  showStill(address, size) {
    this.#still.src = address;
    this.#still.hidden = false;
    this.#shape(...size);
  }

  /** @param {MediaStream} stream the returned picture; the old one stays until the first new frame */
  showResult(stream) {
    this.#result.srcObject = stream;
    this.#result.requestVideoFrameCallback(() => {
      if (this.#result.srcObject === stream) document.documentElement.dataset.picture = "true";
    });
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
