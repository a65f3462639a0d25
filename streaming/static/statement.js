import { checkStatement } from "./check.js";
import { make, say } from "./elements.js";

/** @import {Checked, Statement} from "./check.js" */

/** Kinds of consent, as a person reads them. @type {Record<string, string>} */
const KINDS = {
  myself: "the person says that it is themselves",
  "generated person": "a person who does not exist",
  "public-domain artwork": "an artwork in the public domain",
  "written consent": "their written consent is held",
  sample: "the built-in sample, a drawing of nobody",
};
const MARKS = [
  ["badge", "the AI badge"],
  ["watermark", "an invisible watermark"],
];

/** What is seen, who allows it and what makes it, as the server states and signs it. */
export class StatementPanel {
  #box = make("details", "stated");
  #summary = make("summary", "", "What am I seeing?");
  #verdict = make("span", "verdict");
  #list = make("dl");
  /** @type {Statement | null} */
  #shown = null;

  /** @param {Element} after which it stands */
  constructor(after) {
    this.#summary.append(" ", this.#verdict);
    this.#box.append(this.#summary, this.#list);
    this.#box.hidden = true;
    after.after(this.#box);
  }

  /** @param {Statement | null} statement null: nothing is seen */
  async show(statement) {
    this.#shown = statement;
    this.#box.hidden = statement === null;
    if (!statement) return;
    this.#tell(statement);
    this.#judge({ sound: null, key: "", why: "" }, "");
    const checked = await checkStatement(statement);
    if (this.#shown === statement) this.#judge(checked, sentence(checked));
  }

  /**
   * @param {Checked} checked
   * @param {string} text
   */
  #judge({ sound }, text) {
    this.#box.dataset.sound = String(sound);
    say(this.#verdict, text);
  }

  /** @param {Statement} statement */
  #tell(statement) {
    this.#list.replaceChildren();
    for (const [name, text] of rows(statement)) this.#list.append(make("dt", "", name), make("dd", "", text));
  }
}

/** @param {Checked} checked */
const sentence = ({ sound, key, why }) => {
  if (sound === null) return `Signed, but not checked: ${why}.`;
  return sound ? `Signature checked; key ${key.slice(0, 16)}…` : `Do not believe it: ${why}.`;
};

/**
 * @param {Statement} statement
 * @returns {[string, string][]}
 */
export function rows(statement) {
  const { mode, source, donors, consent, bundle, marks, lowered, withheld, recording, session, time } = statement;
  const shown = {
    "pass-through": "The driver's own camera picture, unchanged.",
    edit: "The driver's own picture, with their face edited.",
    puppet: source?.held ? "The person whom the system below holds." : "A portrait, moved by somebody's face.",
  }[mode];
  const grey = withheld ? " Grey stands in its place: the consent to it has ended." : "";
  const given = donors.length ? ` Taken from ${donors.length} other ${donors.length > 1 ? "pictures" : "picture"}.` : "";
  const allowed = [...new Set(consent.map(({ kind }) => KINDS[kind] ?? kind))].join("; ");
  const on = MARKS.filter(([name]) => marks.includes(name)).map(([, text]) => text);
  const off = MARKS.filter(([name]) => lowered.includes(name)).map(([, text]) => text);
  const told = /** @type {[string, string][]} */ ([
    ["Shown", `${shown}${given}${grey}`],
    ["Allowed by", allowed || (mode === "puppet" ? "No record of consent is stated." : "The driver shows themselves.")],
    ["Made by", bundle ? `${bundle.title} (${bundle.licence})` : "Nothing: no picture is generated."],
    ["Marks", `${on.join(" and ") || "none"}${off.length ? `; the operator turned off ${off.join(" and ")}` : ""}`],
    ["Recorded", recording ? "Yes, on the server" : "Not by the server"],
    ["Session", `${session.slice(0, 12)}…, stated ${time.replace("T", " ").replace("Z", " UTC")}`],
  ]);
  if (source?.sha256) told.splice(2, 0, ["Portrait", `SHA-256 ${source.sha256.slice(0, 16)}…`]);
  return told;
}
