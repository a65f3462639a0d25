import { Refusal, uploadSource } from "./api.js";
import { ConsentFields } from "./consent.js";
import { button, input, need, part, say } from "./elements.js";
import { notice } from "./notices.js";
import { Photos } from "./photos.js";
import { preview } from "./preview.js";

/** @import {Info, SourceInfo} from "./messages.js" */

const DIFFERENT_PEOPLE = "different-people";

/** The question who allows the use of what was chosen, and its way to the server. */
export class Attest {
  /** @type {File[]} */
  #files = [];
  /** @type {AbortController | null} */
  #upload = null;
  #asDonor = false;
  #dialog = need("attest", HTMLDialogElement);
  #said;
  #accept = input("attest-accept");
  #error = part("attest-error");
  #progress = need("attest-progress", HTMLProgressElement);
  #photos = new Photos((files) => this.#choose(files));
  #most;
  #together;

  /**
   * @param {Info} info
   * @param {{accepted: (source: SourceInfo, files: File[], donor: boolean) => void, refused: (error: Refusal) => void}} told
   */
  constructor(info, told) {
    this.told = told;
    this.#most = info.limits?.upload_bytes ?? Infinity;
    this.#together = info.limits?.pictures_bytes ?? Infinity;
    this.#said = new ConsentFields(part("attest-allows"), "attest", { statement: "statement", most: info.limits?.statement ?? 300 });
    need("attest-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void this.#send();
    };
    button("attest-cancel").onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => {
      this.#upload?.abort();
      this.#files = [];
      this.#photos.show([]);
    };
  }

  /**
   * Takes files that somebody has allowed before: without a question, but for those that the server has in return.
   *
   * @param {File[]} files
   * @param {boolean} donor
   */
  async take(files, donor) {
    const upload = new AbortController();
    this.#upload = upload;
    notice(files.length > 1 ? `${files.length} photos: allowed before.` : `“${files[0].name}”: allowed before.`);
    try {
      const source = await uploadSource(files, {}, () => {}, upload.signal, { labels: null, accept: [] });
      this.told.accepted(source, files, donor);
    } catch (error) {
      if (error instanceof Refusal) return await this.ask(files, { donor, labels: false }).then(() => this.#complain(error.message));
      if (!upload.signal.aborted) throw error;
    } finally {
      if (this.#upload === upload) this.#upload = null;
    }
  }

  /** Ends an upload that another choice takes the place of. */
  stop() {
    this.#upload?.abort();
  }

  /**
   * @param {File[]} files one, or several photos of one person
   * @param {{donor: boolean, labels: boolean}} what whether it is to be a donor, and whether a layout may come with it
   */
  async ask(files, { donor, labels }) {
    this.#asDonor = donor;
    part("attest-labels-field").hidden = !labels || files.length > 1;
    input("attest-labels").value = "";
    this.#said.clear();
    this.#busy(false);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#said.focus();
    await this.#choose(files);
  }

  /** @param {File[]} files */
  async #choose(files) {
    const several = files.length > 1;
    this.#files = files;
    this.#photos.show(several ? files : []);
    say(part("attest-title"), this.#title);
    say(button("attest-send"), this.#action);
    say(part("attest-name"), several ? `${files.length} photos` : files[0].name);
    say(part("attest-who"), `Who allows the use of ${several ? "these pictures" : "this picture"}?`);
    this.#offerAcceptance(false);
    this.#complain(this.#tooLarge());
    const canvas = need("attest-preview", HTMLCanvasElement);
    if (several) canvas.hidden = true;
    else await preview(files[0], canvas);
  }

  get #title() {
    if (this.#asDonor) return "Use this donor";
    return this.#files.length > 1 ? "Use these photos as one person" : "Use this portrait";
  }

  get #action() {
    return this.#files.length > 1 ? "Use these photos" : this.#title;
  }

  #tooLarge() {
    const large = this.#files.find((file) => file.size > this.#most);
    if (large) {
      const which = this.#files.length > 1 ? large.name : "This file";
      return `${which} has ${megabytes(large.size)}; the server takes ${megabytes(this.#most)} at most.`;
    }
    const all = this.#files.reduce((sum, file) => sum + file.size, 0);
    if (this.#files.length < 2 || all <= this.#together) return "";
    return `Together they have ${megabytes(all)}; the server takes ${megabytes(this.#together)} at most.`;
  }

  async #send() {
    const files = this.#files;
    if (!files.length || this.#upload) return;
    if (this.#said.missing) {
      this.#complain(this.#said.missing);
      this.#said.focus();
      return;
    }
    this.#complain("");
    this.#busy(true);
    const upload = new AbortController();
    this.#upload = upload;
    const sent = (/** @type {number} */ share) => {
      this.#progress.value = share;
      if (share >= 1) say(button("attest-send"), files.length > 1 ? "Looking for the faces…" : "Looking for the face…");
    };
    const accept = this.#accept.checked ? [DIFFERENT_PEOPLE] : [];
    try {
      const labels = files.length > 1 ? null : (input("attest-labels").files?.[0] ?? null);
      const source = await uploadSource(files, this.#said.said, sent, upload.signal, { labels, accept });
      this.told.accepted(source, files, this.#asDonor);
      for (const note of source.notes ?? []) notice(note);
      this.#upload = null;
      this.#dialog.close();
    } catch (error) {
      if (error instanceof Refusal) {
        this.#complain(error.message);
        this.#photos.mark(error.message);
        if (error.kind === "DifferentPeopleError") this.#offerAcceptance(true);
        this.told.refused(error);
      }
      else if (!upload.signal.aborted) throw error;
    } finally {
      if (this.#upload === upload) this.#upload = null;
      this.#busy(false);
    }
  }

  /** @param {boolean} on */
  #offerAcceptance(on) {
    part("attest-accept-field").hidden = !on;
    if (on) part("attest-accept-field").scrollIntoView({ block: "nearest" });
    else this.#accept.checked = false;
  }

  /** @param {boolean} on */
  #busy(on) {
    button("attest-send").disabled = on;
    say(button("attest-send"), on ? "Uploading…" : this.#action);
    this.#said.hold(on);
    this.#accept.disabled = on;
    this.#photos.hold(on);
    this.#progress.hidden = !on;
    this.#progress.value = 0;
  }

  /** @param {string} text what is wrong; empty takes it back */
  #complain(text) {
    this.#error.hidden = !text;
    this.#error.textContent = text && `${text}${this.#files.length && text.endsWith(".") ? " " : " · "}Your present portrait goes on.`;
  }
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MB`;
