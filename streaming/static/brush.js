import { Refusal, readLabels, readLayout, sendPainting } from "./api.js";
import { BrushStroke } from "./stroke.js";
import { button, input, make, need, part, say } from "./elements.js";
import { notice } from "./notices.js";
import { KEEP, Painting, SIDE, decode } from "./painting.js";
import { recallPainting, rememberPainting } from "./memory.js";

/** @import {Info} from "./messages.js" */

/** The classes of CelebAMask-HQ as a person calls them; left and right are the picture's. @type {Record<string, string>} */
const NAMES = {
  background: "Background", skin: "Skin", nose: "Nose", eye_g: "Glasses", l_eye: "Eye, left", r_eye: "Eye, right",
  l_brow: "Brow, left", r_brow: "Brow, right", l_ear: "Ear, left", r_ear: "Ear, right", mouth: "Mouth", u_lip: "Upper lip",
  l_lip: "Lower lip", hair: "Hair", hat: "Hat", ear_r: "Earring", neck_l: "Necklace", neck: "Neck", cloth: "Clothes",
};

const HAIR = 13;
const LEAST_GAP_MS = 150; // the server takes ten paintings a second
const SHOWN_PX = 2 * SIDE;

/** The brush: what is painted on a picture that stands still, and how it gets to the server. */
export class Brush {
  #painting = new Painting();
  #stage = need("brush", HTMLCanvasElement);
  #label = HAIR;
  /** @type {Uint8Array | null} */
  #beneath = null;
  /** @type {ImageBitmap | null} */
  #picture = null;
  /** @type {[number, number, number][]} */
  #colours;
  #layer = document.createElement("canvas");
  #sending = false;
  #late = false;
  #sentAt = 0;
  #timer = 0;
  #asking = 0;

  /**
   * @param {Info} info
   * @param {() => string | null} session the running one
   */
  constructor(info, session) {
    this.session = session;
    this.#colours = (info.parts ?? []).map(({ colour }) => colour);
    this.#layer.width = this.#layer.height = SIDE;
    this.#stage.width = this.#stage.height = SHOWN_PX;
    this.stroke = new BrushStroke(this.#stage, this.#painting, {
      width: () => Number(input("brush-size").value),
      label: () => this.#label,
      ready: () => this.#beneath !== null,
      changed: (done) => this.#changed(done),
      moved: () => this.#draw(),
      resized: (by) => this.#resize(by),
    });
    this.#buildPalette(info);
    button("freeze").onclick = () => void this.#freeze(false);
    button("freeze-rest").onclick = () => void this.#freeze(true);
    button("undo").onclick = () => this.#step(() => this.#painting.undo());
    button("redo").onclick = () => this.#step(() => this.#painting.redo());
    button("clear-painting").onclick = () => this.#step(() => this.#painting.clear());
    input("brush-size").oninput = () => this.#draw();
    input("overlay").oninput = () => this.#draw();
    button("load-labels").onclick = () => input("labels-file").click();
    input("labels-file").onchange = () => void this.#load();
    document.addEventListener("keydown", (event) => this.#keys(event)); // a button that is dead now has lost the focus
    const kept = decode(recallPainting());
    if (kept) this.#painting.cells = kept;
    this.#show();
  }

  /** A channel has opened: what is painted is told again. */
  announce() {
    if (!this.#painting.empty) this.#ask();
    this.#show();
  }

  /** Something else is drawn now: what was frozen is of the past. What is painted stays. */
  thaw() {
    this.#asking += 1;
    this.#beneath = null;
    this.#picture?.close();
    this.#picture = null;
    this.#show();
  }

  /** Whether there is a call to freeze a picture of. */
  refresh() {
    const live = this.session() !== null;
    for (const id of ["freeze", "freeze-rest"]) {
      button(id).disabled = !live;
      button(id).title = live ? "" : "Needs a running call";
    }
  }

  /** @param {Info} info */
  #buildPalette(info) {
    const choices = (info.parts ?? []).map(({ name }, label) => ({ label, name: NAMES[name] ?? name }));
    for (const { label, name } of [{ label: KEEP, name: "Eraser" }, ...choices]) {
      const row = make("label");
      const radio = make("input");
      Object.assign(radio, { type: "radio", name: "class", value: String(label), checked: label === this.#label });
      radio.onchange = () => {
        this.#label = label;
        this.#draw();
      };
      const swatch = make("i");
      const colour = this.#colours[label];
      if (colour) swatch.style.background = `rgb(${colour.join(" ")})`;
      else swatch.className = "eraser";
      row.append(radio, swatch, make("span", "", name));
      part("palette").append(row);
    }
  }

  /** @param {boolean} rest the portrait as it lies there */
  async #freeze(rest) {
    const session = this.session();
    if (!session) return;
    const asking = ++this.#asking;
    button("freeze").disabled = button("freeze-rest").disabled = true;
    try {
      const { picture, labels } = await readLayout(session, rest);
      const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
      const shown = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
      if (asking !== this.#asking) return;
      this.#beneath = decode(labels);
      this.#picture?.close();
      this.#picture = shown;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      notice(error.message, "bad");
    } finally {
      this.refresh();
      this.#show();
    }
  }

  /** A label picture takes the painting's place, as one step. */
  async #load() {
    const [file] = input("labels-file").files ?? [];
    input("labels-file").value = "";
    if (!file) return;
    try {
      const cells = decode(await readLabels(file));
      if (cells) this.#step(() => this.#painting.replace(cells));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      notice(error.message, "bad");
    }
  }

  /** @param {() => void} work */
  #step(work) {
    work();
    this.#changed(true);
  }

  /** @param {boolean} done whether the stroke has ended */
  #changed(done) {
    this.#show();
    if (done) rememberPainting(this.#painting.runs);
    this.#ask();
  }

  /** @param {number} by */
  #resize(by) {
    const size = input("brush-size");
    size.value = String(Number(size.value) * by);
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #keys(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || part("sheet-layout").hidden) return;
    if (event.target instanceof HTMLInputElement && event.target.type === "text") return;
    const key = event.key.toLowerCase();
    if (key === "z" && !event.shiftKey) this.#step(() => this.#painting.undo());
    else if (key === "y" || key === "z") this.#step(() => this.#painting.redo());
    else return;
    event.preventDefault();
  }

  /** Sends what is painted: one at a time, the newest, and not too often. */
  #ask() {
    window.clearTimeout(this.#timer);
    const wait = this.#sentAt + LEAST_GAP_MS - performance.now();
    if (this.#sending) this.#late = true;
    else if (wait > 0) this.#timer = window.setTimeout(() => this.#ask(), wait);
    else void this.#send();
  }

  async #send() {
    const session = this.session();
    if (!session) return;
    this.#sending = true;
    this.#late = false;
    this.#sentAt = performance.now();
    try {
      await sendPainting(session, this.#painting.runs);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.status === 429) this.#late = true;
      else if (error.status !== 404) notice(error.message, "bad"); // a session that has ended is told elsewhere
    } finally {
      this.#sending = false;
      if (this.#late) this.#ask();
    }
  }

  #show() {
    const { undoable, redoable, empty } = this.#painting;
    button("undo").disabled = !undoable;
    button("redo").disabled = !redoable;
    button("clear-painting").disabled = empty;
    say(part("painted"), empty ? "Nothing is painted." : "What is painted moves with the head, and stays until it is cleared.");
    this.refresh();
    this.#draw();
  }

  #draw() {
    const context = this.#stage.getContext("2d");
    const layer = this.#layer.getContext("2d");
    if (!context || !layer) return;
    context.fillStyle = "#0b0910";
    context.fillRect(0, 0, SHOWN_PX, SHOWN_PX);
    context.imageSmoothingEnabled = true;
    if (this.#picture) context.drawImage(this.#picture, 0, 0, SHOWN_PX, SHOWN_PX);
    layer.putImageData(this.#labels(), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#layer, 0, 0, SHOWN_PX, SHOWN_PX);
    part("brush-hint").hidden = this.#beneath !== null || !this.#painting.empty;
    this.stroke.drawCursor(context, SHOWN_PX / SIDE);
  }

  /** The layout in its colours, and more of them where it is painted. */
  #labels() {
    const shown = new ImageData(SIDE, SIDE);
    const veil = Math.round(255 * Number(input("overlay").value));
    const { cells } = this.#painting;
    for (let at = 0; at < cells.length; at++) {
      const painted = cells[at] !== KEEP;
      const colour = this.#colours[painted ? cells[at] : (this.#beneath?.[at] ?? KEEP)];
      if (!colour) continue;
      shown.data.set(colour, 4 * at);
      shown.data[4 * at + 3] = painted ? Math.max(veil, 200) : veil;
    }
    return shown;
  }
}
