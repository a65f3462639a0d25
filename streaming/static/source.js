import { Refusal, hasSource, readInfo, stillOf, uploadSource } from "./api.js";
import { button, input, make, need, part, say } from "./elements.js";
import { locked } from "./locked.js";
import { recall, remember } from "./memory.js";
import { notice } from "./notices.js";

/** @import {Info, SourceInfo} from "./messages.js" */

const SUGGESTIONS = ["It is me", "The person shown agreed", "A drawing, nobody real"];
const PREVIEW_PX = 240;

/** The portraits: those that the server holds, and the way for a new one. */
export class Sources {
  /** @type {SourceInfo} */
  current;
  /** @type {Map<string, SourceInfo>} */
  #known = new Map();
  /** @type {File | null} */
  #file = null;
  /** @type {AbortController | null} */
  #upload = null;
  #asDonor = false;
  #dialog = need("attest", HTMLDialogElement);
  #statement = input("statement");
  #error = part("attest-error");
  #progress = need("attest-progress", HTMLProgressElement);
  #most;

  /**
   * @param {Info} info
   * @param {{chosen: (source: SourceInfo) => void, donated: (source: SourceInfo) => void, listed: (sources: Sources) => void,
   *   wantsDonor: () => boolean, takesLabels: () => boolean, refused: (error: Refusal) => void}} told chosen: another one is to be shown. donated:
   *   it was sent as a donor. listed: what is kept has changed. wantsDonor: whether what is dropped is one. takesLabels: whether its
   *   layout may come with it. refused: a
   *   question got no answer, or the page is locked out
   */
  constructor(info, told) {
    this.current = info.source;
    this.first = info.source;
    this.told = told;
    this.#most = info.limits?.upload_bytes ?? Infinity;
    for (const source of [info.source, ...(info.sources ?? [])]) this.#known.set(source.id, source);
    this.#statement.maxLength = info.limits?.statement ?? 300;
    this.#listen();
    this.#list();
  }

  /** What the server keeps, its first portrait first. */
  get all() {
    return [...this.#known.values()];
  }

  /** Takes up the portrait that this tab showed before a reload, if the server still has it. */
  async resume() {
    const { source } = recall();
    if (!isSource(source) || source.id === this.current.id) return;
    const known = this.#known.get(source.id);
    if (known) {
      this.#choose(known);
    } else if (await this.#ask(() => hasSource(source.id), true)) {
      this.#known.set(source.id, source);
      this.#choose(source);
    } else {
      this.#sayGone([source]);
      remember({ source: this.current });
    }
  }

  /**
   * Asks the server what it keeps, and forgets what it does not; then its first portrait stands in for a current one.
   *
   * @param {string} [gone] the server said that it does not have this one
   * @returns {Promise<boolean>} whether it answered
   */
  async refresh(gone) {
    const info = await this.#ask(readInfo, null);
    if (!info) return false;
    const kept = new Map([info.source, ...(info.sources ?? [])].map((source) => [source.id, source]));
    if (gone !== undefined && gone !== info.source.id) kept.delete(gone);
    const missing = [...this.#known.values()].filter(({ id }) => !kept.has(id));
    this.first = info.source;
    this.#known = kept;
    if (missing.length) this.#sayGone(missing);
    if (kept.has(this.current.id)) this.#list();
    else this.#choose(this.first);
    return true;
  }

  /** @param {SourceInfo[]} missing */
  #sayGone(missing) {
    const names = missing.map(({ name }) => `“${name}”`).join(", ");
    notice(`The server keeps ${names} no longer. Add ${missing.length > 1 ? "them" : "it"} again to use ${missing.length > 1 ? "them" : "it"}.`, "bad");
  }

  /**
   * @template T
   * @param {() => Promise<T>} question
   * @param {T | null} otherwise without an answer
   * @returns {Promise<T | null>}
   */
  async #ask(question, otherwise) {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.told.refused(error);
      return otherwise;
    }
  }

  #listen() {
    const file = input("file");
    let donor = false;
    for (const choose of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-choose]"))) {
      choose.addEventListener("click", () => {
        donor = choose.dataset.choose === "donor";
        file.click();
      });
    }
    file.onchange = () => {
      if (file.files?.length) void this.#take(file.files[0], donor);
      file.value = "";
    };
    need("attest-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void this.#send();
    };
    button("attest-cancel").onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => {
      this.#upload?.abort();
      this.#file = null;
    };
    for (const text of SUGGESTIONS) {
      const offer = make("button", "small", text);
      offer.type = "button";
      offer.onclick = () => {
        this.#statement.value = text;
        this.#statement.focus();
      };
      part("suggestions").append(offer);
    }
    this.#listenToDrops();
  }

  #listenToDrops() {
    const page = document.documentElement;
    let depth = 0;
    /** @param {DragEvent} event */
    const carriesFile = (event) => event.dataTransfer?.types.includes("Files") ?? false;
    const dragging = (/** @type {number} */ now) => {
      depth = Math.max(0, now);
      page.dataset.dragging = String(depth > 0);
    };
    window.addEventListener("dragenter", (event) => carriesFile(event) && dragging(depth + 1));
    window.addEventListener("dragleave", (event) => carriesFile(event) && dragging(depth - 1));
    window.addEventListener("dragover", (event) => carriesFile(event) && event.preventDefault());
    window.addEventListener("drop", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      dragging(0);
      const file = event.dataTransfer?.files[0];
      if (file) void this.#take(file, this.told.wantsDonor());
    });
  }

  /**
   * Asks who allows its use; a portrait that was accepted before is shown without asking again.
   *
   * @param {File} file
   * @param {boolean} donor whether it is to be a donor and not the portrait
   */
  async #take(file, donor) {
    if (locked()) return;
    this.#upload?.abort();
    this.#asDonor = donor;
    const known = file.size <= this.#most ? this.#known.get(await idOf(file)) : undefined;
    const labels = this.told.takesLabels();
    if (known && !labels) {
      this.#use(known);
      return;
    }
    this.#file = file;
    part("attest-labels-field").hidden = !labels;
    input("attest-labels").value = "";
    say(part("attest-title"), donor ? "Use this donor" : "Use this portrait");
    say(part("attest-name"), file.name);
    this.#statement.value = "";
    this.#complain("");
    this.#busy(false);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#statement.focus();
    if (file.size > this.#most) {
      this.#complain(`This file has ${megabytes(file.size)}; the server takes ${megabytes(this.#most)} at most.`);
    }
    await preview(file, need("attest-preview", HTMLCanvasElement));
  }

  async #send() {
    const file = this.#file;
    if (!file || this.#upload) return;
    const statement = this.#statement.value.trim();
    if (!statement) {
      this.#complain("One line is needed: who allows the use of this picture?");
      this.#statement.focus();
      return;
    }
    this.#complain("");
    this.#busy(true);
    const upload = new AbortController();
    this.#upload = upload;
    const sent = (/** @type {number} */ share) => {
      this.#progress.value = share;
      if (share >= 1) say(button("attest-send"), "Looking for the face…");
    };
    try {
      const labels = input("attest-labels").files?.[0] ?? null;
      const source = await uploadSource(file, file.name, statement, sent, upload.signal, labels);
      this.#known.set(source.id, source);
      this.#use(source);
      for (const note of source.notes ?? []) notice(note);
      this.#upload = null;
      this.#dialog.close();
      void this.refresh(); // it may have pushed out another one
    } catch (error) {
      if (error instanceof Refusal) {
        this.#complain(error.message);
        this.told.refused(error);
      }
      else if (!upload.signal.aborted) throw error;
    } finally {
      if (this.#upload === upload) this.#upload = null;
      this.#busy(false);
    }
  }

  /** @param {boolean} on */
  #busy(on) {
    button("attest-send").disabled = on;
    say(button("attest-send"), on ? "Uploading…" : this.#asDonor ? "Use this donor" : "Use this portrait");
    this.#statement.disabled = on;
    this.#progress.hidden = !on;
    this.#progress.value = 0;
  }

  /** @param {string} text what is wrong; empty takes it back */
  #complain(text) {
    this.#error.hidden = !text;
    this.#error.textContent = text && `${text}${this.#file && text.endsWith(".") ? " " : " · "}Your present portrait goes on.`;
  }

  /** @param {SourceInfo} source */
  #use(source) {
    if (!this.#asDonor) {
      this.#choose(source);
      return;
    }
    this.#list();
    this.told.donated(source);
  }

  /** @param {SourceInfo} source */
  #choose(source) {
    this.current = source;
    remember({ source });
    this.#list();
    this.told.chosen(source);
  }

  /**
   * Its picture did not come: it is gone, or the server is.
   *
   * @param {SourceInfo} source
   */
  async #lookFor(source) {
    if ((await this.#ask(() => hasSource(source.id), true)) === false) await this.refresh(source.id);
  }

  #list() {
    const gallery = part("gallery");
    gallery.replaceChildren(
      ...[...this.#known.values()].map((source) => {
        const tile = make("button");
        tile.type = "button";
        tile.title = source.name;
        tile.setAttribute("aria-pressed", String(source.id === this.current.id));
        tile.onclick = () => this.#choose(source);
        const picture = make("img");
        picture.src = stillOf(source.id);
        picture.alt = source.name;
        picture.onerror = () => void this.#lookFor(source);
        tile.append(picture);
        return tile;
      }),
    );
    this.told.listed(this);
  }
}

/**
 * Whether a remembered portrait is one at all.
 *
 * @param {Partial<SourceInfo> | undefined} source
 * @returns {source is SourceInfo}
 */
function isSource(source) {
  return typeof source?.id === "string" && typeof source.name === "string" && Array.isArray(source.size);
}

/**
 * The id that the server gives to these bytes. Empty where the browser has no SHA-256 (an insecure address).
 *
 * @param {Blob} file
 */
async function idOf(file) {
  if (!window.crypto?.subtle) return "";
  try {
    const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch (error) {
    if (error instanceof DOMException) return ""; // the file cannot be read: the upload will say so
    throw error;
  }
}

/**
 * @param {Blob} file
 * @param {HTMLCanvasElement} canvas
 */
async function preview(file, canvas) {
  canvas.hidden = true;
  /** @type {ImageBitmap} */
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return; // no picture that this browser reads: the server says what it thinks of it
  }
  const side = Math.min(picture.width, picture.height);
  canvas.width = canvas.height = PREVIEW_PX;
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 3];
  canvas.getContext("2d")?.drawImage(picture, left, top, side, side, 0, 0, PREVIEW_PX, PREVIEW_PX);
  picture.close();
  canvas.hidden = false;
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MB`;
