/**
 * What a server states of a session (docs/statement.md).
 *
 * @typedef {object} Statement
 * @property {number} statement version
 * @property {number} number rising
 * @property {string} time
 * @property {string} software
 * @property {string} session
 * @property {string} stream
 * @property {"puppet" | "edit" | "pass-through"} mode
 * @property {{sha256?: string, held?: string} | null} source of a puppet
 * @property {string[]} donors
 * @property {{id: string, kind: string}[]} consent
 * @property {{name: string, title: string, licence: string, sha256: string | null} | null} bundle
 * @property {string[]} marks that are on
 * @property {string[]} lowered that the operator turned off
 * @property {string | null} watermark the session's hash in it
 * @property {boolean} withheld grey stands in place of whoever it would show
 * @property {boolean} recording
 * @property {string} key public, hex
 * @property {string} signature hex
 *
 * @typedef {object} Checked
 * @property {boolean | null} sound whether the holder of the key signed it as it stands; null: this browser cannot tell
 * @property {string} key
 * @property {string} why where it is not, for people
 */

const VERSION = 1;
const HEX = /^(?:[0-9a-f]{2})+$/;

/**
 * The one spelling of a JSON value that is signed (engine/signing.py): keys sorted, no spaces.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const parts = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${parts.map(([name, held]) => `${JSON.stringify(name)}:${canonical(held)}`).join()}}`;
}

/**
 * Whether a statement is as it was signed. It never throws.
 *
 * @param {unknown} statement
 * @param {string[]} [keys] public keys (hex) that are believed; without any, the one that the statement names proves only
 *   that nobody changed it since
 * @returns {Promise<Checked>}
 */
export async function checkStatement(statement, keys = []) {
  if (statement === null || typeof statement !== "object" || Array.isArray(statement)) return wrong("", "it is no JSON object");
  const { signature, ...signed } = /** @type {Record<string, unknown>} */ (statement);
  const { key } = signed;
  if (typeof key !== "string" || typeof signature !== "string") return wrong("", "it is not signed");
  if (signed.statement !== VERSION) return wrong(key, `it is of another version than ${VERSION}`);
  const [keyBytes, signatureBytes] = [bytes(key), bytes(signature)];
  if (keyBytes?.length !== 32 || signatureBytes?.length !== 64) return wrong(key, CHANGED);
  /** @type {CryptoKey} */
  let imported;
  try {
    imported = await globalThis.crypto.subtle.importKey("raw", keyBytes, "Ed25519", false, ["verify"]);
  } catch (error) {
    // A page without https has no crypto.subtle; an older browser does not know the algorithm.
    if (globalThis.crypto?.subtle && error instanceof DOMException && error.name === "DataError") return wrong(key, CHANGED);
    return { sound: null, key, why: "this browser cannot check Ed25519 signatures here" };
  }
  const text = new TextEncoder().encode(canonical(signed));
  if (!(await globalThis.crypto.subtle.verify("Ed25519", imported, signatureBytes, text))) return wrong(key, CHANGED);
  if (keys.length && !keys.includes(key)) return wrong(key, "another installation signed it");
  return { sound: true, key, why: "" };
}

const CHANGED = "it was changed after it was signed, or never was";

/**
 * @param {string} key
 * @param {string} why
 * @returns {Checked}
 */
const wrong = (key, why) => ({ sound: false, key, why });

/** @param {string} hex */
function bytes(hex) {
  if (!HEX.test(hex)) return null;
  return Uint8Array.from(/** @type {RegExpMatchArray} */ (hex.match(/../g)), (pair) => parseInt(pair, 16));
}
