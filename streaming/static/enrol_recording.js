import { Camera, CameraTrouble } from "./camera.js";
import { button, input, make, need, part, say, select, video } from "./elements.js";

/** What the browser can write, the best first. */
const KINDS = ["video/webm;codecs=vp8", "video/webm;codecs=vp9", "video/mp4;codecs=avc1.42E01F", "video/webm"];
const BITRATE = 8_000_000;
const SECONDS = 15;
const LEAST_MS = 3000;
const CLOCK_MS = 100;

/** What to do, and from which second on. @type {[number, string][]} */
const HINTS = [
  [0, "Look into the camera"],
  [3, "Turn your head slowly to one side"],
  [6, "and to the other"],
  [9, "Speak, smile, open your mouth"],
  [12, "Blink, raise your brows"],
];

/** A short recording from the camera, or files: what an enrolment is given. */
export class Recording {
  /** @type {File[]} */
  files = [];
  /** @type {MediaRecorder | null} */
  #recorder = null;
  #camera = new Camera(() => this.#trouble("The camera went away."));
  #preview = video("enrol-preview");
  #clock = 0;
  #address = "";
  #allowed = false;

  /**
   * @param {{live: () => MediaStream | null, changed: () => void, mostSeconds: number}} told live: the call's own
   *   camera, which some systems give to one only. changed: what there is to be sent is another
   */
  constructor(told) {
    this.told = told;
    button("enrol-record").onclick = () => (this.#recorder ? this.#finish() : void this.#begin());
    const file = input("enrol-file");
    button("enrol-choose").onclick = () => file.click();
    file.onchange = () => {
      this.#take([...(file.files ?? [])]);
      file.value = "";
    };
  }

  static get possible() {
    return typeof MediaRecorder !== "undefined" && KINDS.some((kind) => MediaRecorder.isTypeSupported(kind));
  }

  get running() {
    return this.#recorder !== null;
  }

  /**
   * What a system takes.
   *
   * @param {{clips: number, photos: number}} system
   */
  offer({ clips, photos }) {
    const file = input("enrol-file");
    file.accept = [clips && "video/*", photos && "image/*"].filter(Boolean).join(",");
    file.multiple = photos > 1;
    button("enrol-record").hidden = !clips || !Recording.possible;
    say(part("enrol-choose-text"), clips && photos ? "Choose a clip or photos" : clips ? "Choose a clip" : "Choose photos");
  }

  /** Whether the person shown agreed comes before any picture is taken. @param {boolean} on */
  allow(on) {
    this.#allowed = on;
    if (!on) this.clear();
    for (const id of ["enrol-record", "enrol-choose"]) button(id).disabled = !on;
  }

  /** Nothing is left of it on this page, and the camera's light goes out. */
  clear() {
    const recorder = this.#recorder;
    this.#recorder = null;
    if (recorder && recorder.state !== "inactive") recorder.stop();
    this.#end();
    this.#show(null);
    this.files = [];
    say(part("enrol-hint"), "");
    this.told.changed();
  }

  async #begin() {
    this.clear();
    let stream = this.told.live();
    if (!stream) {
      try {
        stream = await this.#camera.start(select("device").value, select("size").value);
      } catch (error) {
        if (!(error instanceof CameraTrouble)) throw error;
        this.#trouble(`${error.title}. ${error.steps[0]}`);
        return;
      }
    }
    if (!need("enrol-dialog", HTMLDialogElement).open) {
      this.#camera.stop(); // it was closed while the browser asked
      return;
    }
    this.#preview.srcObject = stream;
    this.#preview.dataset.mirror = "true";
    this.#preview.hidden = false;
    this.#run(new MediaStream(stream.getVideoTracks()));
  }

  /** @param {MediaStream} stream */
  #run(stream) {
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITRATE });
    const parts = /** @type {Blob[]} */ ([]);
    recorder.ondataavailable = (event) => {
      if (event.data.size) parts.push(event.data);
    };
    recorder.onstop = () => {
      if (this.#recorder !== recorder) return; // it was thrown away
      this.#recorder = null;
      this.#end();
      const kind = recorder.mimeType || "video/webm";
      this.#take([new File(parts, kind.startsWith("video/mp4") ? "recording.mp4" : "recording.webm", { type: kind })]);
    };
    this.#recorder = recorder;
    const began = performance.now();
    const most = Math.min(SECONDS, this.told.mostSeconds) * 1000;
    recorder.start();
    this.#clock = window.setInterval(() => {
      const ms = performance.now() - began;
      if (ms >= most) this.#finish();
      else this.#tick(ms, most);
    }, CLOCK_MS);
    this.#tick(0, most);
    this.told.changed();
  }

  /**
   * @param {number} ms since it began
   * @param {number} most
   */
  #tick(ms, most) {
    const hint = HINTS.filter(([from]) => ms >= from * 1000).at(-1)?.[1] ?? "";
    say(part("enrol-hint"), hint);
    say(part("enrol-record-text"), `Stop (${Math.ceil((most - ms) / 1000)} s left)`);
    button("enrol-record").disabled = ms < Math.min(LEAST_MS, most);
  }

  #finish() {
    window.clearInterval(this.#clock);
    if (this.#recorder?.state !== "inactive") this.#recorder?.stop();
  }

  #end() {
    window.clearInterval(this.#clock);
    this.#camera.stop();
    this.#preview.srcObject = null;
    say(part("enrol-record-text"), "Record");
    button("enrol-record").disabled = !this.#allowed;
  }

  /** @param {File[]} files */
  #take(files) {
    if (!files.length) return;
    this.files = files;
    const clip = files.find((file) => file.type.startsWith("video/"));
    this.#show(clip ?? null);
    say(part("enrol-record-text"), "Record again");
    const size = files.reduce((sum, file) => sum + file.size, 0);
    say(part("enrol-hint"), `${files.length === 1 ? files[0].name : `${files.length} files`}, ${megabytes(size)}`);
    this.told.changed();
  }

  /** @param {Blob | null} clip */
  #show(clip) {
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = clip ? URL.createObjectURL(clip) : "";
    this.#preview.hidden = !clip;
    this.#preview.dataset.mirror = "false";
    if (clip) this.#preview.src = this.#address;
    else this.#preview.removeAttribute("src");
  }

  /** @param {string} text */
  #trouble(text) {
    this.clear();
    say(part("enrol-hint"), text);
  }
}

/** @param {number} bytes */
export const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MB`;

/**
 * @param {string} text
 * @param {() => void} pressed
 * @param {string} [kind]
 */
export function smallButton(text, pressed, kind = "small") {
  const made = make("button", kind, text);
  made.type = "button";
  made.onclick = pressed;
  return made;
}
