import { button, make, part, say } from "./elements.js";

const KINDS = ["video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const SOUNDING = ["video/mp4;codecs=avc1.42E01F,opus", "video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/webm"];
const SLICE_MS = 1000;
const CLOCK_MS = 500;

/** Records the returned picture, with its mark, and hands it over as a file. Nothing is sent anywhere. */
export class Recorder {
  /** @type {MediaRecorder | null} */
  #recorder = null;
  #startedAt = 0;

  /** @param {() => void} changed it began, ended or went on */
  constructor(changed) {
    this.changed = changed;
  }

  static get possible() {
    return typeof MediaRecorder !== "undefined" && KINDS.some((kind) => MediaRecorder.isTypeSupported(kind));
  }

  get running() {
    return this.#recorder !== null;
  }

  get seconds() {
    return this.running ? Math.floor((performance.now() - this.#startedAt) / 1000) : 0;
  }

  /**
   * @param {MediaStream} stream
   * @param {string} name of the portrait
   */
  start(stream, name) {
    const kinds = stream.getAudioTracks().length ? SOUNDING : KINDS;
    const mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
    const recorder = new MediaRecorder(stream, { mimeType });
    const parts = /** @type {Blob[]} */ ([]);
    recorder.ondataavailable = (event) => {
      if (event.data.size) parts.push(event.data);
    };
    const clock = window.setInterval(this.changed, CLOCK_MS);
    // also when the stream ended, with the connection or by stop
    recorder.onstop = () => {
      window.clearInterval(clock);
      if (this.#recorder === recorder) this.#recorder = null;
      if (parts.length) save(new Blob(parts, { type: recorder.mimeType }), fileName(name, recorder.mimeType));
      this.changed();
    };
    this.#recorder = recorder;
    this.#startedAt = performance.now();
    recorder.start(SLICE_MS);
    this.changed();
  }

  /** Ends it; the file follows. */
  stop() {
    if (this.#recorder?.state !== "inactive") this.#recorder?.stop();
  }
}

/** The button: records what is shown now, until it is pressed again. */
export class RecordButton {
  #recorder = new Recorder(() => this.#show());

  /** @param {{picture: () => MediaStream | null, name: () => string}} shown name: of what is in the picture */
  constructor(shown) {
    this.shown = shown;
    button("record").hidden = !Recorder.possible;
    button("record").onclick = () => this.#press();
  }

  /** Ends it; the file follows. */
  stop() {
    this.#recorder.stop();
  }

  #press() {
    const picture = this.shown.picture();
    if (this.#recorder.running) this.#recorder.stop();
    else if (picture) this.#recorder.start(picture, this.shown.name());
  }

  #show() {
    const { running, seconds } = this.#recorder;
    const record = button("record");
    record.dataset.on = String(running);
    record.title = running ? "Stop recording and save the file" : "Record the portrait to a file on this machine";
    record.setAttribute("aria-label", running ? "Stop recording" : "Record");
    say(part("record-text"), running ? `Rec ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : "Record");
  }
}

/**
 * @param {string} name
 * @param {string} kind
 */
export function fileName(name, kind) {
  const plain = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 40);
  const when = new Date().toISOString().slice(0, 19).replace("T", "_").replaceAll(":", "");
  return `marotte-${plain || "portrait"}-${when}.${kind.startsWith("video/mp4") ? "mp4" : "webm"}`;
}

/**
 * @param {Blob} file
 * @param {string} name
 */
function save(file, name) {
  const address = URL.createObjectURL(file);
  const link = make("a");
  link.href = address;
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
