import { ask, refusal } from "./api.js";

/** @import {SourceInfo} from "./messages.js" */

/**
 * What a page may enrol a person for (docs/live.md).
 *
 * @typedef {object} EnrolInfo
 * @property {{system: string, title: string, clips: number, photos: number}[]} systems
 * @property {number} most_bytes
 * @property {number} most_seconds
 *
 * @typedef {object} EnrolProgress
 * @property {string} stage
 * @property {number} number of `stages`
 * @property {number} stages
 * @property {number} done
 * @property {number | null} total
 * @property {number | null} left_s of the stage
 *
 * @typedef {object} Enrolled how one stands
 * @property {string} id
 * @property {string} system
 * @property {string} name
 * @property {"running" | "stopping" | "stopped" | "failed" | "opening" | "done"} state
 * @property {string} reason
 * @property {EnrolProgress | null} progress
 * @property {string | null} bundle once it is offered
 * @property {boolean} person whether the bundle holds who was enrolled
 * @property {boolean} keeps
 * @property {string | null} expires
 * @property {string[]} lines
 */

const PATH = "/api/v1/enrolments";

/** @param {string} id */
const path = (id) => `${PATH}/${encodeURIComponent(id)}`;

/** @returns {Promise<Enrolled[]>} the newest last */
export async function readEnrolments() {
  return JSON.parse(await ask(PATH)).enrolments;
}

/** @param {string} id */
export async function resumeEnrolment(id) {
  await ask(`${path(id)}/resume`, { method: "POST" });
}

/**
 * Who the bundle of one that is done holds, as a portrait of the server's.
 *
 * @param {string} id
 * @returns {Promise<SourceInfo>}
 */
export async function readPerson(id) {
  return JSON.parse(await ask(`${path(id)}/source`, { method: "POST" }));
}

/**
 * Stops one that runs; removes any other with all that is left of it.
 *
 * @param {string} id
 */
export async function endEnrolment(id) {
  await ask(path(id), { method: "DELETE" });
}

/**
 * @param {{system: string, name: string, said: Record<string, string>, keep: boolean, files: File[], accept: string[]}} asked
 * @param {(share: number) => void} sent 0 .. 1
 * @param {AbortSignal} signal
 * @returns {Promise<Enrolled>}
 */
export function beginEnrolment({ system, name, said, keep, files, accept }, sent, signal) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  const query = new URLSearchParams({ system, name, ...said, keep: keep ? "1" : "0" });
  for (const one of accept) query.append("accept", one);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open("POST", `${PATH}?${query}`);
    request.upload.onprogress = (event) => sent(event.total ? event.loaded / event.total : 0);
    request.onload = () => {
      if (request.status !== 201) reject(refusal(request.status, request.responseText));
      else resolve(JSON.parse(request.responseText));
    };
    request.onerror = () => reject(refusal(0, ""));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}
