import { Refusal, hasSource, readInfo, stillOf } from "./api.js";
import { Attest } from "./attest.js";
import { ConsentLine, firstOf, hasEnded, inPlace, isAllowed } from "./consent.js";
import { input, make, part } from "./elements.js";
import { locked } from "./locked.js";
import { recall, remember } from "./memory.js";
import { notice } from "./notices.js";

/** @import {Info, SourceInfo} from "./messages.js" */

const MOST_PICTURES = 8;

/** The portraits: those that the server holds, and the way for a new one. */
export class Sources {
  /** @type {SourceInfo} */
  current;
  /** @type {Map<string, SourceInfo>} */
  #known = new Map();
  /** Ids by the files that were sent together. @type {Map<string, string>} */
  #sets = new Map();
  #attest;
  #consent;
  #most;
  #mostPictures;

  /**
   * @param {Info} info
   * @param {{chosen: (source: SourceInfo) => void, donated: (source: SourceInfo) => void, listed: (sources: Sources) => void,
   *   wantsDonor: () => boolean, takesLabels: () => boolean, refused: (error: Refusal) => void}} told chosen: another one is to be shown. donated:
   *   it was sent as a donor. listed: what is kept has changed. wantsDonor: whether what is dropped is one. takesLabels: whether its
   *   layout may come with it. refused: a
   *   question got no answer, or the page is locked out
   */
  constructor(info, told) {
    this.first = this.current = firstOf(info);
    this.told = told;
    this.#most = info.limits?.upload_bytes ?? Infinity;
    for (const source of [info.source, ...(info.sources ?? [])]) this.#known.set(source.id, source);
    this.#mostPictures = info.limits?.pictures ?? MOST_PICTURES;
    this.#attest = new Attest(info, {
      accepted: (source, files, donor) => void this.#accepted(source, files, donor),
      refused: (error) => this.told.refused(error),
    });
    this.#consent = new ConsentLine(part("gallery"), {
      withdrawn: () => {
        notice("Withdrawn: whoever shows this portrait turns to grey.");
        void this.refresh();
      },
      refused: (error) => this.told.refused(error),
    });
    this.#listen();
    this.#list();
  }

  /** What the server keeps, its first portrait first. */
  get all() {
    return [...this.#known.values()];
  }

  /** Whether the portrait was added as oneself. */
  get own() {
    return (this.#known.get(this.current.id) ?? this.current).consent?.kind === "myself";
  }

  /** Takes up the portrait that this tab showed before a reload, if the server still has it. */
  async resume() {
    const { source } = recall();
    if (!isSource(source) || source.id === this.current.id) return;
    const known = this.#known.get(source.id);
    if (hasEnded(known?.consent)) {
      notice(`“${source.name}” may not be shown any more: choose another portrait.`, "bad");
      remember({ source: this.current });
    } else if (known) {
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
    this.first = firstOf(info);
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
        file.multiple = !donor;
        file.click();
      });
    }
    file.onchange = () => {
      if (file.files?.length) void this.#take([...file.files], donor);
      file.value = "";
    };
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
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length) void this.#take(files, this.told.wantsDonor());
    });
  }

  /**
   * Asks who allows its use; a portrait that was accepted before is shown without asking again.
   *
   * @param {File[]} files
   * @param {boolean} donor whether it is to be a donor and not the portrait
   */
  async #take(files, donor) {
    if (locked()) return;
    this.#attest.stop();
    const taken = files.slice(0, donor ? 1 : this.#mostPictures);
    if (taken.length < files.length) {
      notice(donor ? `One donor at a time: “${taken[0].name}” is taken.` : `The first ${taken.length} photos are taken: no more make one person.`, "bad");
    }
    const known = this.#known.get(await this.#idOf(taken));
    const labels = taken.length === 1 && this.told.takesLabels();
    if (known && !labels && !hasEnded(known.consent)) this.#use(known, donor);
    else if (!labels && (await isAllowed(await Promise.all(taken.filter(({ size }) => size <= this.#most).map(sumOf))))) await this.#attest.take(taken, donor);
    else await this.#attest.ask(taken, { donor, labels });
  }

  /**
   * The id that the server has given to these files, as far as this page knows it.
   *
   * @param {File[]} files
   */
  async #idOf(files) {
    if (files.some((file) => file.size > this.#most)) return "";
    const sums = await Promise.all(files.map(sumOf));
    return sums.length === 1 ? sums[0] : (this.#sets.get(setOf(sums)) ?? "");
  }

  /**
   * @param {SourceInfo} source
   * @param {File[]} files that it was made of
   * @param {boolean} donor
   */
  async #accepted(source, files, donor) {
    this.#known.set(source.id, source);
    this.#use(source, donor);
    void this.refresh(); // it may have pushed out another one
    if (files.length > 1) this.#sets.set(setOf(await Promise.all(files.map(sumOf))), source.id);
  }

  /**
   * @param {SourceInfo} source
   * @param {boolean} donor
   */
  #use(source, donor) {
    if (!donor) {
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
   * One that the server has made.
   *
   * @param {SourceInfo} source
   */
  show(source) {
    this.#known.set(source.id, source);
    this.#choose(source);
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
        const instead = () => picture.replaceWith(make("span", "gone", inPlace(source.consent)));
        picture.alt = source.name;
        picture.onerror = () => {
          instead();
          void this.#lookFor(source);
        };
        tile.append(picture);
        tile.disabled = hasEnded(source.consent);
        if (tile.disabled) instead();
        else picture.src = stillOf(source.id);
        const used = (source.pictures ?? []).filter(({ place }) => place !== null).length;
        if (used > 1) tile.append(make("b", "", String(used)));
        return tile;
      }),
    );
    const shown = this.#known.get(this.current.id) ?? this.current;
    this.#consent.show(shown.id, shown.consent);
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
 * SHA-256 of a file, the id that the server gives to it alone. Empty where the browser has none (an insecure address).
 *
 * @param {Blob} file
 */
async function sumOf(file) {
  if (!window.crypto?.subtle) return "";
  try {
    const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch (error) {
    if (error instanceof DOMException) return ""; // the file cannot be read: the upload will say so
    throw error;
  }
}

/** @param {string[]} sums of several files, in whichever order they were given */
const setOf = (sums) => [...sums].sort().join(" ");
