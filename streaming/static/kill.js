import { Refusal, ask } from "./api.js";
import { make, say } from "./elements.js";
import { showStopped } from "./stopped.js";

const PATH = "/api/v1/kill";
const LOOK_MS = 5000;

/**
 * @typedef {object} Killed
 * @property {boolean} killed
 * @property {string} [why]
 * @property {string | null} [since]
 */

/** The operator's button that ends all output of a server, and what says that it has: docs/stop.md. */
class KillSwitch {
  #open = make("button", "danger kill");
  #dialog = make("dialog", "kill-dialog");
  #title = make("h2");
  #text = make("p");
  #why = make("input");
  #sure = make("button", "primary danger");
  #cancel = make("button", "", "Cancel");
  #error = make("p", "error");
  #banner = make("div", "kill-banner");
  #said = make("p");
  #killed = false;

  constructor() {
    this.#open.type = this.#cancel.type = "button";
    this.#open.id = "kill";
    this.#open.title = "End the output of every session of this server, for everybody";
    this.#open.append(make("span", "kill-sign", "■"), make("span", "", "Stop all"));
    this.#open.onclick = () => this.#ask();
    const form = make("form");
    const field = make("label", "field");
    this.#why.type = "text";
    this.#why.id = "kill-why";
    this.#why.maxLength = 300;
    field.append(make("span", "", "Why, in one line"), this.#why);
    const choices = make("div", "choices");
    choices.append(this.#sure, this.#cancel);
    this.#error.hidden = true;
    this.#error.setAttribute("role", "alert");
    form.append(this.#title, this.#text, field, this.#error, choices);
    form.onsubmit = (event) => {
      event.preventDefault();
      void this.#turn();
    };
    this.#cancel.onclick = () => this.#dialog.close();
    this.#dialog.id = "kill-dialog";
    this.#title.id = "kill-title";
    this.#dialog.setAttribute("aria-labelledby", "kill-title");
    this.#dialog.append(form);
    this.#banner.hidden = true;
    this.#banner.setAttribute("role", "alert");
    const release = make("button", "small", "Release…");
    release.type = "button";
    release.id = "kill-release";
    release.onclick = () => this.#ask();
    this.#banner.append(this.#said, release);
  }

  /** @param {Killed} now */
  begin(now) {
    const style = make("link");
    style.rel = "stylesheet";
    style.href = "/static/kill.css";
    document.head.append(style);
    document.querySelector("header")?.append(this.#open);
    document.body.prepend(this.#banner);
    document.body.append(this.#dialog);
    this.#show(now);
    window.setInterval(() => document.visibilityState === "visible" && void this.#look(), LOOK_MS);
  }

  async #look() {
    try {
      this.#show(JSON.parse(await ask(PATH)));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error; // the page says elsewhere that nobody answers
    }
  }

  /** @param {Killed} now */
  #show(now) {
    if (now.killed !== this.#killed && this.#dialog.open) this.#dialog.close();
    this.#killed = now.killed;
    this.#open.hidden = now.killed;
    this.#banner.hidden = !now.killed;
    showStopped(now.killed);
    if (!now.killed) return;
    const since = now.since ? ` since ${new Date(now.since).toLocaleTimeString()}` : "";
    say(this.#said, `All output of this server is stopped${since}: ${now.why ?? ""}`);
  }

  #ask() {
    const killed = this.#killed;
    say(this.#title, killed ? "Release the output?" : "Stop all output of this server?");
    say(this.#text, killed
      ? "Sessions may be opened again, by everybody who may open one. Those that were ended do not come back by themselves."
      : "Every session, recording and push ends at once, for everybody. None can begin again until somebody releases it.");
    say(this.#sure, killed ? "Release" : "Stop all output");
    this.#why.required = killed;
    this.#why.value = "";
    this.#complain("");
    this.#dialog.showModal();
    (killed ? this.#why : this.#sure).focus();
  }

  async #turn() {
    const why = this.#why.value.trim();
    const query = why ? `?${new URLSearchParams({ why })}` : "";
    this.#sure.disabled = true;
    try {
      this.#show(JSON.parse(await ask(`${PATH}${query}`, { method: this.#killed ? "DELETE" : "POST" })));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#complain(error.message);
    } finally {
      this.#sure.disabled = false;
    }
  }

  /** @param {string} text */
  #complain(text) {
    this.#error.hidden = !text;
    say(this.#error, text);
  }
}

/** Shows the switch, to a page that may turn it. */
export async function setUpKill() {
  try {
    new KillSwitch().begin(JSON.parse(await ask(PATH)));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}
