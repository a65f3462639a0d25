import { Refusal, ask } from "./api.js";
import { make, say } from "./elements.js";

/** @import {Info} from "./messages.js" */

/**
 * A record of consent (docs/api.md).
 *
 * @typedef {object} Consent
 * @property {string} id
 * @property {"valid" | "expired" | "revoked" | "withdrawn"} state withdrawn: to whoever is not told by whose word
 * @property {string} kind
 * @property {string} shown
 * @property {string} attested_by
 * @property {string} statement
 * @property {string[]} scope
 * @property {string | null} expires
 * @property {Record<string, unknown> | null} self_check
 */

/**
 * Whether nobody is shown by it any more; where no record is told the server decides.
 *
 * @param {{state: string} | null | undefined} consent
 */
export const hasEnded = (consent) => Boolean(consent) && consent?.state !== "valid";

/**
 * What stands in place of a picture that may not be shown.
 *
 * @param {{state: string} | null | undefined} consent
 */
export const inPlace = (consent) => (consent?.state === "expired" ? "Consent has ended" : hasEnded(consent) ? "Withdrawn" : "Not shown");

/**
 * The server's own portrait, or another where nobody's consent to that holds any more.
 *
 * @param {Info} info
 */
export const firstOf = ({ source, sources = [] }) => [source, ...sources].find(({ consent }) => !hasEnded(consent)) ?? source;

/** Kinds as people choose them: the words, what is asked beside them. @type {[string, string, string, string][]} */
const KINDS = [
  ["myself", "It shows me", "", "optional: one line"],
  ["generated person", "A generated person, nobody real", "", "optional: made with which generator"],
  ["public-domain artwork", "An artwork in the public domain", "Which work?", "optional: one line"],
  ["written consent", "Somebody whose written consent I hold", "Who is shown?", "where the written consent is kept"],
];

/** @type {[string, string][]} */
const SCOPES = [
  ["live", "live sessions and broadcasts"],
  ["call", "calls of two"],
  ["render", "files and recordings"],
  ["train", "a system tuned to them"],
];

/** The questions who is shown, who says that it may be used, what for and until when. */
export class ConsentFields {
  #kind = make("select");
  #by = make("input");
  #shown = make("input");
  #shownLabel = make("span", "", "Who is shown?");
  #statement = make("input");
  #expires = make("input");
  /** @type {HTMLInputElement[]} */
  #scopes = [];

  /**
   * @param {HTMLElement} box where they stand
   * @param {string} name of the form, before the ids
   * @param {{statement: string, most: number, changed?: () => void}} more id of the statement, its longest, and who is told of input
   */
  constructor(box, name, { statement, most, changed }) {
    this.#kind.id = `${name}-kind`;
    for (const [value, text] of KINDS) this.#kind.append(new Option(text, value));
    for (const [input, id, longest] of /** @type {[HTMLInputElement, string, number][]} */ ([
      [this.#by, `${name}-by`, 120],
      [this.#shown, `${name}-shown`, 120],
      [this.#statement, statement, most],
    ])) {
      input.id = id;
      input.type = "text";
      input.autocomplete = "off";
      input.maxLength = longest;
    }
    this.#by.autocomplete = "name";
    this.#by.placeholder = "On record with it";
    this.#expires.id = `${name}-expires`;
    this.#expires.type = "date";
    box.append(
      field(make("span", "", "Why may it be used?"), this.#kind),
      field(make("span", "", "Your name"), this.#by),
      field(this.#shownLabel, this.#shown),
      field(make("span", "", "Statement"), this.#statement),
      this.#limits(name),
    );
    box.oninput = box.onchange = () => {
      this.#refresh();
      changed?.();
    };
    this.clear();
  }

  /** @param {string} name */
  #limits(name) {
    const box = make("details", "limits");
    box.append(make("summary", "", "What for, and until when"));
    for (const [value, text] of SCOPES) {
      const tick = make("input");
      tick.type = "checkbox";
      tick.id = `${name}-scope-${value}`;
      tick.value = value;
      const label = make("label", "switch");
      label.append(tick, make("span", "", text));
      box.append(label);
      this.#scopes.push(tick);
    }
    box.append(field(make("span", "", "Last day"), this.#expires));
    return box;
  }

  /** For another source: everything but the name of who says it. */
  clear() {
    this.#kind.value = KINDS[0][0];
    this.#shown.value = this.#statement.value = this.#expires.value = "";
    for (const tick of this.#scopes) tick.checked = true;
    this.#refresh();
  }

  #refresh() {
    const [, , who, hint] = this.#asked;
    say(this.#shownLabel, who || "Who is shown?");
    /** @type {HTMLElement} */ (this.#shown.parentElement).hidden = !who;
    this.#statement.placeholder = hint;
  }

  get #asked() {
    return KINDS.find(([value]) => value === this.#kind.value) ?? KINDS[0];
  }

  /** What is missing, in a sentence; empty where nothing is. */
  get missing() {
    const [kind, , who] = this.#asked;
    if (!this.#by.value.trim()) return "Your name is needed: who says that it may be used?";
    if (who && !this.#shown.value.trim()) return `One line is needed. ${who}`;
    if (kind === "written consent" && !this.#statement.value.trim()) return "One line is needed: where is the written consent kept?";
    return this.#scopes.some(({ checked }) => checked) ? "" : "Allow one use of it at least.";
  }

  /** The first field that is to be filled. */
  focus() {
    (this.#by.value ? this.#statement : this.#by).focus();
  }

  /** @returns {Record<string, string>} as the API takes it */
  get said() {
    const scope = this.#scopes.filter(({ checked }) => checked).map(({ value }) => value);
    const told = {
      kind: this.#kind.value,
      attested_by: this.#by.value.trim(),
      shown: this.#asked[2] ? this.#shown.value.trim() : "",
      statement: this.#statement.value.trim(),
      scope: scope.length < SCOPES.length ? scope.join() : "",
      expires: this.#expires.value,
    };
    return Object.fromEntries(Object.entries(told).filter(([, value]) => value));
  }

  /** @param {boolean} on nothing can be changed */
  hold(on) {
    for (const one of [this.#kind, this.#by, this.#shown, this.#statement, this.#expires, ...this.#scopes]) one.disabled = on;
  }
}

/**
 * @param {HTMLElement} name
 * @param {HTMLElement} of
 */
function field(name, of) {
  const label = make("label", "field");
  label.append(name, of);
  return label;
}

/**
 * Whether sources may be used by records that are there already; no where that is not known.
 *
 * @param {string[]} sums SHA-256 of each file
 */
export async function isAllowed(sums) {
  if (!sums.length || sums.some((sum) => !sum)) return false;
  try {
    return JSON.parse(await ask(pathOf(sums))).holds === true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/**
 * Ends every record of a source that holds: whoever is shown by it fades to grey.
 *
 * @param {string} source
 */
export async function withdraw(source) {
  /** @type {{consents: Consent[]}} */
  const { consents } = JSON.parse(await ask(pathOf([source])));
  for (const { id, state } of consents) {
    if (state === "valid") await ask(`/api/v1/consents/${id}?why=${encodeURIComponent("withdrawn on the page")}`, { method: "DELETE" });
  }
}

/** @param {string[]} sources */
const pathOf = (sources) => `/api/v1/consents?${new URLSearchParams(sources.map((source) => ["source", source]))}`;

/** By whose word the present portrait is shown, and the way to take it back. */
export class ConsentLine {
  #box = make("p", "note consent-line");
  #text = make("span");
  #end = make("button", "small", "Withdraw");
  #source = "";

  /**
   * @param {Element} after which it stands
   * @param {{withdrawn: () => void, refused: (error: Refusal) => void}} told
   */
  constructor(after, told) {
    this.#end.type = "button";
    this.#end.id = "withdraw";
    this.#end.onclick = async () => {
      if (this.#end.dataset.sure !== "true") return this.#ask(true);
      try {
        await withdraw(this.#source);
        told.withdrawn();
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        told.refused(error);
      }
      this.#ask(false);
    };
    this.#box.append(this.#text, " ", this.#end);
    after.after(this.#box);
  }

  /** @param {boolean} sure whether it is asked a second time */
  #ask(sure) {
    this.#end.dataset.sure = String(sure);
    say(this.#end, sure ? "Withdraw for good?" : "Withdraw");
  }

  /**
   * @param {string} source
   * @param {Consent | null | undefined} consent
   */
  show(source, consent) {
    this.#box.hidden = !consent;
    if (source !== this.#source) this.#ask(false);
    this.#source = source;
    if (!consent) return;
    this.#end.hidden = !consent.kind || consent.kind === "sample" || consent.state !== "valid";
    say(this.#text, sentence(consent));
  }
}

/** @param {Consent} consent */
function sentence({ kind, shown, attested_by, expires, self_check, state }) {
  if (!kind) return state === "valid" ? "It may be shown." : "It is not shown any more: choose another portrait.";
  if (kind === "sample") return "A drawn sample, nobody’s photograph.";
  const who = kind === "myself" ? `${attested_by}, by their own word` : `${shown} (${kind}), by the word of ${attested_by}`;
  const checked = kind !== "myself" ? "" : self_check?.passed ? ", checked live" : ", not checked";
  const until = expires ? `, until ${new Date(Date.parse(expires) - 1).toISOString().slice(0, 10)}` : "";
  return `${who}${checked}${until}${state === "valid" ? "." : `: ${state}.`}`;
}
