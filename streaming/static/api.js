/** @import {Driver, Info, Mode, SourceInfo} from "./messages.js" */

/** A refusal by the server, or (status 0) no answer at all. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} kind
   * @param {string} message
   */
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }

  /** Whether the same request may succeed later: nobody answered, busy, no worker, or a server's fault. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Whether the server does not let this page in any more: it was started anew, with another token. */
  get lockedOut() {
    return this.status === 401;
  }
}

/**
 * Whether a server's words say that it does not have a portrait (any more).
 *
 * @param {string} message
 */
export const saysSourceGone = (message) => /not there any more|not one that was accepted/.test(message);

/**
 * The same of a donor.
 *
 * @param {string} message
 */
export const saysDonorGone = (message) => /^donors: not all of them/.test(message);

const UNREACHABLE = "The server does not answer. Is it still running?";
const NO_TOKEN = "This server does not know this page any more. Open the address that it printed when it started.";

/**
 * @param {number} status
 * @param {string} body
 */
export function refusal(status, body) {
  if (status === 0) return new Refusal(0, "Unreachable", UNREACHABLE);
  if (status === 401) return new Refusal(401, "NoToken", NO_TOKEN);
  try {
    const { error, title, detail } = JSON.parse(body);
    return new Refusal(status, String(error?.kind ?? title), String(error?.message ?? detail));
  } catch {
    return new Refusal(status, "HTTP", body.trim().slice(0, 200) || `The server answered with status ${status}.`);
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<string>}
 */
export async function ask(path, options) {
  return (await fetched(path, options)).body;
}

/**
 * Throws Refusal, or an AbortError.
 *
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<{headers: Headers, body: string}>}
 */
export async function fetched(path, options) {
  /** @type {Response} */
  let response;
  /** @type {string} */
  let body;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
    body = await response.text();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw refusal(0, "");
  }
  if (!response.ok) throw refusal(response.status, body);
  return { headers: response.headers, body };
}

/** @returns {Promise<Info>} */
export async function readInfo() {
  return JSON.parse(await ask("/api/v1/info"));
}

/**
 * Where a call of this page is offered: an endpoint of WHIP, with what is wished for.
 *
 * @param {{source?: string, driver: Driver, codec: string, bundle?: string, mode?: Mode, donors?: string[]}} asked
 * @param {string} [endpoint]
 */
export function whipOf({ donors, ...asked }, endpoint = "/whip") {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  if (donors?.length) query.set("donors", donors.join());
  return `${endpoint}?${query}`;
}

/** @param {string} source */
export const stillOf = (source) => `/api/v1/sources/${encodeURIComponent(source)}/still.jpg`;

/**
 * Whether the server still has a portrait. Throws Refusal for everything but yes and no.
 *
 * @param {string} source
 */
export async function hasSource(source) {
  try {
    await ask(stillOf(source));
    return true;
  } catch (error) {
    if (error instanceof Refusal && error.status === 404) return false;
    throw error;
  }
}

/**
 * What a session draws: the picture as JPEG in base 64, and its layout as runs (painting.js).
 *
 * @param {string} session
 * @param {boolean} rest the portrait as it lies there
 * @returns {Promise<{picture: string, labels: unknown}>}
 */
export async function readLayout(session, rest) {
  return JSON.parse(await ask(`/api/v1/sessions/${encodeURIComponent(session)}/layout${rest ? "?rest=1" : ""}`));
}

/**
 * @param {string} session
 * @param {[number, number][]} runs what is painted from now on; none: nothing
 */
export async function sendPainting(session, runs) {
  const headers = { "Content-Type": "application/json" };
  await ask(`/api/v1/sessions/${encodeURIComponent(session)}/painting`, { method: "PUT", headers, body: JSON.stringify(runs) });
}

/**
 * Has a label picture read.
 *
 * @param {File} file
 * @returns {Promise<unknown>} its runs
 */
export async function readLabels(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  const path = `/api/v1/labels?${new URLSearchParams({ name: file.name })}`;
  return JSON.parse(await ask(path, { method: "POST", headers, body: file })).labels;
}

/** @param {string} source @param {number} number of one of the pictures that it was made of */
export const pictureOf = (source, number) => `/api/v1/sources/${encodeURIComponent(source)}/pictures/${number}.jpg`;

/**
 * Sends a picture, or several of one person. XMLHttpRequest, because fetch does not tell how far an upload is.
 *
 * @param {File[]} files
 * @param {Record<string, string>} said who allows the use of them (docs/api.md); nothing where that is on record
 * @param {(share: number) => void} sent 0 .. 1
 * @param {AbortSignal} signal
 * @param {{labels: Blob | null, accept: string[]}} more labels: a picture's layout, as a label picture. accept: names of acceptances
 * @returns {Promise<SourceInfo>}
 */
export function uploadSource(files, said, sent, signal, { labels, accept }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const asked = new URLSearchParams({ ...said, ...(labels && { labels: String(labels.size) }) });
    for (const name of accept) asked.append("accept", name);
    if (files.length === 1) asked.set("name", files[0].name);
    request.open("POST", `/api/v1/sources?${asked}`);
    request.upload.onprogress = (event) => sent(event.total ? event.loaded / event.total : 0);
    request.onload = () => {
      if (request.status !== 201) reject(refusal(request.status, request.responseText));
      else resolve(JSON.parse(request.responseText));
    };
    request.onerror = () => reject(refusal(0, ""));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    if (files.length === 1) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(bodyOf(files, labels));
  });
}

/**
 * @param {File[]} files
 * @param {Blob | null} labels
 */
function bodyOf(files, labels) {
  if (files.length === 1) return labels ? new Blob([files[0], labels]) : files[0];
  const form = new FormData();
  for (const file of files) form.append("photo", file, file.name);
  return form;
}
