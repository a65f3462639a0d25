import { Refusal, readInfo } from "./api.js";
import { ConsentFields } from "./consent.js";
import { button, input, make, need, part, say, select } from "./elements.js";
import { beginEnrolment, endEnrolment, readEnrolments, readPerson, resumeEnrolment } from "./enrol_api.js";
import { Recording, megabytes, smallButton } from "./enrol_recording.js";
import { notice } from "./notices.js";

/** @import {BundleInfo, Info, SourceInfo} from "./messages.js" */
/** @import {Enrolled, EnrolInfo, EnrolProgress} from "./enrol_api.js" */

const POLL_MS = 1000;

/** Stages as people say them. @type {Record<string, string>} */
const STAGES = {
  look: "Looking at it",
  prepare: "Laying the mesh over it",
  track: "Finding the face",
  align: "Cutting it out",
  invert: "Reading it",
  tune: "Tuning to it",
  pack: "Packing",
};

/**
 * @typedef {object} Turning what the page does with bundles
 * @property {() => MediaStream | null} live the call's own camera
 * @property {(bundles: BundleInfo[]) => void} renew these are offered now
 * @property {(bundle: string) => void} turnTo
 * @property {(source: SourceInfo) => void} show a portrait that the server has made
 * @property {() => void} lockedOut
 */

/**
 * Persons that are enrolled: the section that lists them, and the card where one begins. Hidden where the server has none.
 *
 * @param {Info} info
 * @param {Turning} page
 */
export function setUpEnrolment(info, page) {
  part("enrol").hidden = !info.enrol;
  if (info.enrol) new Enrolment(info.enrol, page, info.limits?.statement ?? 300);
}

class Enrolment {
  /** @type {Enrolled[]} */
  #all = [];
  #turnTo = new Set();
  /** @type {AbortController | null} */
  #upload = null;
  #timer = 0;
  #dialog = need("enrol-dialog", HTMLDialogElement);
  #recording;
  #said;

  /**
   * @param {EnrolInfo} offered
   * @param {Turning} page
   * @param {number} mostStatement
   */
  constructor(offered, page, mostStatement) {
    this.offered = offered;
    this.page = page;
    this.#said = new ConsentFields(part("enrol-allows"), "enrol", { statement: "enrol-statement", most: mostStatement, changed: () => this.#refresh(true) });
    this.#recording = new Recording({
      live: page.live,
      changed: () => this.#refresh(),
      mostSeconds: offered.most_seconds,
    });
    const systems = select("enrol-system");
    systems.replaceChildren(...offered.systems.map(({ system, title }) => new Option(title, system)));
    systems.onchange = () => this.#recording.offer(this.#system);
    part("enrol-system-field").hidden = offered.systems.length < 2;
    this.#listen();
    void this.#poll();
  }

  get #system() {
    return this.offered.systems.find(({ system }) => system === select("enrol-system").value) ?? this.offered.systems[0];
  }

  #listen() {
    button("enrol-open").onclick = () => this.#open();
    button("enrol-close").onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => {
      this.#upload?.abort();
      this.#recording.clear();
    };
    input("enrol-consent").oninput = () => this.#refresh(true);
    need("enrol-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void this.#send();
    };
  }

  #open() {
    for (const id of ["enrol-consent", "enrol-keep", "enrol-accept"]) input(id).checked = false;
    input("enrol-turn").checked = true;
    input("enrol-name").value = "";
    this.#said.clear();
    this.#complain("");
    this.#busy(false);
    this.#recording.offer(this.#system);
    this.#refresh(true);
    this.#dialog.showModal();
  }

  /** @param {boolean} [asked] what was said about consent is another */
  #refresh(asked = false) {
    const agreed = input("enrol-consent").checked && !this.#said.missing;
    if (asked) this.#recording.allow(agreed);
    part("enrol-accept-field").hidden = this.#recording.files.length < 2;
    button("enrol-send").disabled = !agreed || !this.#recording.files.length || this.#recording.running || this.#upload !== null;
  }

  async #send() {
    const { files } = this.#recording;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (size > this.offered.most_bytes) {
      this.#complain(`This has ${megabytes(size)}; the server takes ${megabytes(this.offered.most_bytes)} at most.`);
      return;
    }
    const upload = new AbortController();
    this.#upload = upload;
    this.#complain("");
    this.#busy(true);
    const sent = (/** @type {number} */ share) => {
      need("enrol-sent", HTMLProgressElement).value = share;
      if (share >= 1) say(button("enrol-send"), "Looking at it…");
    };
    try {
      const name = input("enrol-name").value.trim() || "A person";
      const accept = files.length > 1 && input("enrol-accept").checked ? ["different-people"] : [];
      const asked = { system: this.#system.system, name, said: this.#said.said, keep: input("enrol-keep").checked, files, accept };
      const begun = await beginEnrolment(asked, sent, upload.signal);
      if (input("enrol-turn").checked) this.#turnTo.add(begun.id);
      this.#upload = null;
      this.#dialog.close();
      this.#list([...this.#all.filter(({ id }) => id !== begun.id), begun]);
      this.#again();
    } catch (error) {
      if (error instanceof Refusal) {
        this.#complain(error.message);
        if (error.lockedOut) this.page.lockedOut();
      } else if (!upload.signal.aborted) throw error;
    } finally {
      if (this.#upload === upload) this.#upload = null;
      this.#busy(false);
    }
  }

  /** @param {boolean} on */
  #busy(on) {
    say(button("enrol-send"), on ? "Uploading…" : "Begin");
    const progress = need("enrol-sent", HTMLProgressElement);
    progress.hidden = !on;
    progress.value = 0;
    need("enrol-fields", HTMLFieldSetElement).disabled = on;
    this.#refresh();
  }

  /** @param {string} text */
  #complain(text) {
    part("enrol-error").hidden = !text;
    part("enrol-error").textContent = text;
  }

  // --- those that there are ------------------------------------------------------------------------

  async #poll() {
    window.clearTimeout(this.#timer);
    try {
      this.#list(await readEnrolments());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.lockedOut) return;
    }
    if (this.#all.some(({ state, bundle }) => !["stopped", "failed"].includes(state) && !bundle)) this.#again();
  }

  #again() {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#poll(), POLL_MS);
  }

  /** @param {Enrolled[]} all */
  #list(all) {
    const before = new Map(this.#all.map((one) => [one.id, one]));
    this.#all = all;
    const items = part("enrolments");
    const kept = new Map([...items.children].map((item) => [item instanceof HTMLElement ? item.dataset.id : "", item]));
    const wanted = all.map((one) => {
      const item = kept.get(one.id) ?? card(one.id);
      this.#show(item, one, before.get(one.id));
      return item;
    });
    for (const item of [...items.children]) if (!wanted.includes(item)) item.remove();
    wanted.forEach((item, place) => items.children[place] !== item && items.insertBefore(item, items.children[place] ?? null));
    for (const one of all) {
      const was = before.get(one.id);
      if (one.bundle && was && !was.bundle) void this.#arrived(one);
      else if (was && was.state !== one.state && (one.state === "failed" || one.state === "stopped")) {
        notice(`${one.name}: ${one.reason}`, one.state === "failed" ? "bad" : "plain");
      }
    }
  }

  /**
   * @param {Element} item
   * @param {Enrolled} one
   * @param {Enrolled | undefined} was
   */
  #show(item, one, was) {
    const [name, line, bar, acts] = item.children;
    say(name, one.name);
    say(line, told(one));
    const { progress } = one;
    if (bar instanceof HTMLProgressElement) {
      bar.hidden = !["running", "opening"].includes(one.state);
      if (progress?.total) bar.value = progress.done / progress.total;
      else bar.removeAttribute("value");
      bar.setAttribute("aria-label", `${one.name}: ${progress ? (STAGES[progress.stage] ?? progress.stage) : "starting"}`);
    }
    if (was?.state === one.state && was.bundle === one.bundle && acts.children.length) return;
    acts.replaceChildren(...this.#acts(one));
  }

  /** @param {Enrolled} one */
  #acts(one) {
    const end = () => void this.#ask(() => endEnrolment(one.id));
    const { bundle } = one;
    if (one.state === "running") return [smallButton("Cancel", end)];
    if (one.state === "stopped") {
      return [smallButton("Go on", () => void this.#ask(() => resumeEnrolment(one.id)), "small accent"), smallButton("Remove", end)];
    }
    if (bundle) return [smallButton("Turn to it", () => void this.#turn(one), "small accent"), smallButton("Remove", end)];
    return one.state === "failed" || (one.state === "done" && one.reason) ? [smallButton("Remove", end)] : [];
  }

  /** @param {() => Promise<void>} question */
  async #ask(question) {
    try {
      await question();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      notice(error.message, "bad");
      if (error.lockedOut) this.page.lockedOut();
    }
    const bundles = this.#offered();
    await this.#poll();
    if (this.#offered() !== bundles) await this.#renew();
  }

  /** The bundles that are offered, as one text. */
  #offered() {
    return this.#all.map(({ bundle }) => bundle ?? "").join();
  }

  /** @param {Enrolled} one whose bundle is offered from now on */
  async #arrived(one) {
    if (!(await this.#renew()) || !one.bundle) return;
    notice(`${one.name} is enrolled.`);
    if (this.#turnTo.delete(one.id)) await this.#turn(one);
  }

  /**
   * To its bundle, and where that holds who was enrolled, to them.
   *
   * @param {Enrolled} one
   */
  async #turn({ id, bundle, person }) {
    if (!bundle) return;
    if (person) {
      try {
        this.page.show(await readPerson(id));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        notice(error.message, "bad");
        if (error.lockedOut) this.page.lockedOut();
        return;
      }
    }
    this.page.turnTo(bundle);
  }

  async #renew() {
    try {
      this.page.renew((await readInfo()).bundles ?? []);
      return true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return false;
    }
  }
}

/** @param {string} id */
function card(id) {
  const item = make("li");
  item.dataset.id = id;
  const bar = make("progress");
  bar.max = 1;
  item.append(make("b"), make("p", "note"), bar, make("div", "choices"));
  return item;
}

/** @param {Enrolled} one */
function told(one) {
  if (one.state === "running") return one.progress ? step(one.progress) : "Starting…";
  if (one.state === "stopping") return "Stopping: what was done so far is kept…";
  if (one.state === "stopped") return `Stopped: ${one.reason}. ${one.expires ? `Kept until ${clock(one.expires)}.` : ""}`;
  if (one.state === "failed") return `It did not work: ${one.reason}`;
  if (one.bundle) return one.keeps ? "Enrolled; its recording is kept." : "Enrolled; its recording is gone.";
  return one.reason || "Opening it…";
}

/** @param {EnrolProgress} progress */
function step({ stage, number, stages, done, total, left_s: left }) {
  const what = `${number} of ${stages}: ${STAGES[stage] ?? stage}`;
  if (total === 1) return `${what}…`; // nothing to count
  const steps = total === null ? `${done}` : `${done} of ${total}`;
  return `${what}, ${steps}${left ? `, ${duration(left)} left in this stage` : ""}`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** @param {string} text ISO 8601 */
const clock = (text) => new Date(text).toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" });
