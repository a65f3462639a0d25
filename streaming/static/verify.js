import { refusal } from "./api.js";
import { input, make, part, say } from "./elements.js";

/**
 * A file's verdict, as docs/verify.md has it.
 *
 * @typedef {object} Ingredient
 * @property {string} title
 * @property {string} relation
 * @property {string | null} state
 * @property {Ingredient[]} parts
 *
 * @typedef {object} Manifest
 * @property {string[]} reasons
 * @property {string} signer
 * @property {string | null} signed
 * @property {string} generator
 * @property {string | null} source_type
 * @property {Ingredient[]} parts
 * @property {{bundle?: {title?: string, licence?: string}}} made
 *
 * @typedef {object} Verdict
 * @property {string} file
 * @property {"marked" | "none" | "unreadable" | "broken"} status
 * @property {string} why
 * @property {string} kind
 * @property {[number, number]} size
 * @property {number} seconds
 * @property {{found: boolean, likeness: number, text: string, place: string} | null} badge
 * @property {{present: boolean, probability_of_chance: number, windows: number, marked: number, ours: boolean, engine: number | null, session: string | null, day: string | null} | null} watermark
 * @property {"absent" | "valid" | "trusted" | "broken" | "not read"} c2pa
 * @property {Manifest | null} manifest
 * @property {{id: string, record: string}[]} consent
 */

const SUMMARIES = {
  marked: "It is marked as generated or modified by AI",
  none: "No mark was found",
  broken: "It was changed after it was signed",
  unreadable: "It could not be read",
};

const STATES = {
  absent: "No manifest",
  "not read": "Not read by this server",
  valid: "Valid; its signer is on no trust list",
  trusted: "Valid, by a trusted signer",
  broken: "Broken: the file or its manifest was changed after it was signed",
};

/** @param {Verdict["badge"]} seen */
function badgeWords(seen) {
  if (!seen?.found) return ["None found"];
  return [`${seen.text}, ${seen.place}`, `likeness ${seen.likeness.toFixed(2)}`];
}

/** @param {Verdict["watermark"]} seen */
function watermarkWords(seen) {
  if (!seen?.present) return ["None found"];
  const chance = Math.max(seen.probability_of_chance, 1e-300).toExponential(0);
  const words = [`Present in ${seen.marked} of ${seen.windows} ${seen.windows === 1 ? "stretch" : "stretches"}`, `by chance with a probability of at most ${chance}`];
  if (seen.session === null) return [...words, "what it says could not be read"];
  return [...words, `${seen.ours ? "Marotte" : `engine ${seen.engine}`}, session ${seen.session}, ${seen.day}`];
}

/**
 * @param {Ingredient[]} parts
 * @returns {string}
 */
function partWords(parts) {
  return parts
    .map(({ title, state, parts: inner }) => {
      const of = inner.length ? ` of ${partWords(inner)}` : "";
      return `${title || "a file"} (${state === null ? "without a manifest" : `manifest ${state}`}${of})`;
    })
    .join(", ");
}

/** @param {Verdict} verdict */
function manifestWords({ c2pa, why, manifest }) {
  const words = [c2pa === "not read" && why ? why : STATES[c2pa]];
  if (!manifest) return words;
  if (c2pa === "broken") words.push(...manifest.reasons.slice(0, 3));
  if (manifest.signer) words.push(`signed by ${manifest.signer}${manifest.signed ? ` at ${manifest.signed}` : ""}`);
  if (manifest.generator) words.push(`made by ${manifest.generator}`);
  if (manifest.source_type) words.push(manifest.source_type);
  const bundle = manifest.made.bundle;
  if (bundle?.title) words.push(`bundle ${bundle.title}, licence ${bundle.licence}`);
  if (manifest.parts.length) words.push(`made of ${partWords(manifest.parts)}`);
  return words;
}

/**
 * @param {string} name
 * @param {string[]} words
 * @param {boolean} [bad]
 */
function row(name, words, bad) {
  const found = make("dd", bad ? "bad" : "");
  words.forEach((text, place) => found.append(make(place ? "small" : "span", "", text)));
  return [make("dt", "", name), found];
}

/** @param {Verdict} verdict */
function show(verdict) {
  const readable = verdict.status !== "unreadable";
  part("result").dataset.status = verdict.status;
  say(part("summary"), SUMMARIES[verdict.status]);
  const read = verdict.kind === "video" ? `, ${verdict.seconds} s of it looked at` : "";
  say(part("about"), readable ? `${verdict.file}: ${verdict.kind} of ${verdict.size.join(" × ")}${read}` : verdict.why);
  const consent = verdict.consent.map(({ id, record }) => `${id}: ${record}`);
  part("marks").replaceChildren(
    ...(readable
      ? [
          ...row("Badge", badgeWords(verdict.badge)),
          ...row("Watermark", watermarkWords(verdict.watermark)),
          ...row("C2PA", manifestWords(verdict), verdict.c2pa === "broken"),
          ...row("Consent", consent.length ? consent : ["No record is named"]),
        ]
      : []),
  );
  part("result").hidden = false;
}

/**
 * @param {string} tone
 * @param {string} text
 */
function tell(tone, text) {
  part("state").dataset.tone = tone;
  say(part("state-text"), text);
}

/**
 * The upload's own progress is told, which a fetch has none of.
 *
 * @param {File} file
 * @param {(share: number | null) => void} advance null: it has all come, and is being read
 * @returns {Promise<Verdict>}
 */
function send(file, advance) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/verify?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = ({ loaded, total }) => advance(loaded / total);
    request.upload.onload = () => advance(null);
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText));
    };
    request.onerror = () => reject(refusal(0, ""));
    request.send(file);
  });
}

let busy = false;

/** @param {File | undefined} file */
async function verify(file) {
  if (!file || busy) return;
  busy = true;
  const [bar, error] = [part("progress"), part("error")];
  part("drop").dataset.busy = "true";
  part("result").hidden = error.hidden = true;
  bar.hidden = part("name").hidden = false;
  say(part("name"), file.name);
  tell("busy", "Sending");
  try {
    const verdict = await send(file, (share) => {
      if (share === null) bar.removeAttribute("value");
      else bar.setAttribute("value", String(share));
      tell("busy", share === null ? "Looking" : "Sending");
    });
    show(verdict);
    tell("good", "Done");
  } catch (thrown) {
    error.hidden = false;
    say(error, thrown instanceof Error ? thrown.message : String(thrown));
    tell("bad", "Not done");
  } finally {
    busy = false;
    bar.hidden = true;
    part("drop").dataset.busy = "false";
    input("file").value = "";
  }
}

input("file").addEventListener("change", () => verify(input("file").files?.[0]));
const drop = part("drop");
for (const [name, over] of /** @type {[string, string][]} */ ([["dragover", "true"], ["dragleave", "false"], ["drop", "false"]])) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.dataset.over = over;
  });
}
drop.addEventListener("drop", (event) => verify(event.dataTransfer?.files[0]));
