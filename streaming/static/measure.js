import { button, make, need, part, say } from "./elements.js";
import { histogram, ms, quantile } from "./statistics.js";
import { MOST, NO_MARK, draw, read, stripHeight } from "./strip.js";

const LASTS_MS = 10_000;
const BINS = 24;
const LOST_AFTER_MS = 2000;

/**
 * The delay from drawing a camera frame in this page to presenting the portrait made from it: a number is written into
 * each frame that is sent, comes back on the picture rendered from that very frame, and is read again.
 */
export class Measurement {
  /** @type {number[]} milliseconds, in the order of their return */
  delays = [];
  drawn = 0;
  #drawnAt = /** @type {Map<number, number>} */ (new Map());
  #number = Math.floor(Math.random() * MOST);
  #ended = false;
  #canvas = document.createElement("canvas");
  #strip = document.createElement("canvas");
  /** @type {CanvasCaptureMediaStreamTrack | null} */
  #track = null;

  /**
   * @param {HTMLVideoElement} camera playing
   * @param {HTMLVideoElement} result playing
   */
  constructor(camera, result) {
    this.camera = camera;
    this.result = result;
  }

  /**
   * The camera's pictures with the strip on them.
   *
   * @returns {MediaStreamTrack}
   */
  begin() {
    this.#canvas.width = this.camera.videoWidth;
    this.#canvas.height = this.camera.videoHeight;
    const stream = this.#canvas.captureStream(0);
    this.#track = /** @type {CanvasCaptureMediaStreamTrack} */ (stream.getVideoTracks()[0]);
    this.#track.contentHint = "motion";
    this.#sendFrames();
    this.#readFrames();
    return this.#track;
  }

  end() {
    this.#ended = true;
    this.#track?.stop();
  }

  /** Frames that should have come back by now. */
  get due() {
    const late = performance.now() - LOST_AFTER_MS;
    return this.drawn - [...this.#drawnAt.values()].filter((at) => at > late).length;
  }

  #sendFrames() {
    const context = this.#canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("the browser gives no canvas to draw on");
    const send = () => {
      if (this.#ended) return;
      const { width, height } = this.#canvas;
      const at = performance.now();
      context.drawImage(this.camera, 0, 0, width, height);
      draw(context, width, height, this.#number);
      this.#track?.requestFrame();
      this.#drawnAt.set(this.#number, at);
      this.#number = (this.#number + 1) % (MOST + 1);
      this.drawn += 1;
      this.camera.requestVideoFrameCallback(send);
    };
    this.camera.requestVideoFrameCallback(send);
  }

  #readFrames() {
    const context = this.#strip.getContext("2d", { willReadFrequently: true, alpha: false });
    if (!context) throw new Error("the browser gives no canvas to read from");
    const look = () => {
      if (this.#ended) return;
      const at = performance.now();
      const { videoWidth, videoHeight } = this.result;
      if (videoWidth && videoHeight) {
        const tall = stripHeight(videoHeight);
        if (this.#strip.width !== videoWidth) this.#strip.width = videoWidth;
        if (this.#strip.height !== tall) this.#strip.height = tall;
        context.drawImage(this.result, 0, 0, videoWidth, tall, 0, 0, videoWidth, tall);
        this.#count(read(context.getImageData(0, 0, videoWidth, tall)), at);
      }
      this.result.requestVideoFrameCallback(look);
    };
    this.result.requestVideoFrameCallback(look);
  }

  /**
   * A number counts once: a held picture shows it again.
   *
   * @param {number} number
   * @param {number} at
   */
  #count(number, at) {
    if (number === NO_MARK) return;
    const drawnAt = this.#drawnAt.get(number);
    if (drawnAt === undefined) return;
    this.#drawnAt.delete(number);
    this.delays.push(at - drawnAt);
  }
}

/**
 * @typedef {object} Bench what the button needs of the page
 * @property {() => boolean} ready whether a camera's call is live
 * @property {() => MediaStreamTrack | null} plain the camera's own track
 * @property {(track: MediaStreamTrack) => Promise<void>} sendTrack
 * @property {(message: object) => boolean} send
 * @property {HTMLVideoElement} camera
 * @property {HTMLVideoElement} result
 */

/** The button: measures for ten seconds or until it is pressed again, then sends the plain camera. */
export class MeasureButton {
  /** @type {Measurement | null} */
  #running = null;
  #since = 0;
  #timer = 0;
  #progress = need("measure-progress", HTMLProgressElement);

  /** @param {Bench} bench */
  constructor(bench) {
    this.bench = bench;
    button("measure").onclick = () => void (this.#running ? this.stop() : this.#start());
  }

  /** Whether there is anything to measure changes with the call. */
  refresh() {
    const ready = this.bench.ready();
    button("measure").disabled = !ready && !this.#running;
    button("measure").title = ready ? "" : "Needs a running call with your camera";
    if (!ready && this.#running) void this.stop();
  }

  async #start() {
    if (this.#running) return;
    const running = new Measurement(this.bench.camera, this.bench.result);
    this.#running = running;
    this.#since = performance.now();
    say(button("measure"), "Stop measuring");
    this.#progress.hidden = false;
    part("measure-result").hidden = false;
    document.documentElement.dataset.measuring = "true";
    this.#show(running);
    this.bench.send({ measure: true });
    await this.bench.sendTrack(running.begin());
    this.#timer = window.setInterval(() => {
      this.#show(running);
      if (performance.now() - this.#since > LASTS_MS) void this.stop();
    }, 250);
  }

  /** Ends it; its figures stay. */
  async stop() {
    const running = this.#running;
    if (!running) return;
    this.#running = null;
    window.clearInterval(this.#timer);
    this.#progress.hidden = true;
    running.end();
    say(button("measure"), "Measure again");
    document.documentElement.dataset.measuring = "false";
    this.#show(running);
    this.bench.send({ measure: false });
    const plain = this.bench.plain();
    if (plain) await this.bench.sendTrack(plain);
    this.refresh();
  }

  /** @param {Measurement} measured */
  #show({ delays, due }) {
    say(part("measure-p50"), ms(quantile(delays, 0.5)));
    say(part("measure-p95"), ms(quantile(delays, 0.95)));
    this.#progress.value = Math.min(1, (performance.now() - this.#since) / LASTS_MS);
    const all = Math.max(due, delays.length);
    const others = all > delays.length ? "; the others gave way to newer ones" : "";
    say(part("measure-count"), `${delays.length} of ${all} frames came back${others}.`);
    const from = Math.floor((quantile(delays, 0) ?? 0) / 10) * 10;
    const to = Math.max(from + 50, Math.ceil((quantile(delays, 0.99) ?? 0) / 10) * 10);
    const counts = histogram(delays, from, to, BINS);
    const most = Math.max(1, ...counts);
    const bars = counts.map((count) => {
      const bar = make("span");
      bar.style.height = `${(100 * count) / most}%`;
      return bar;
    });
    part("histogram").replaceChildren(...bars);
    say(part("axis-from"), delays.length ? ms(from) : "");
    say(part("axis-to"), delays.length ? `${to} ms${(quantile(delays, 1) ?? 0) > to ? " and more" : ""}` : "");
  }
}
