import { Refusal, ask } from "./api.js";

/** @import {RoomInfo} from "./presence.js" */

/**
 * @typedef {object} Seat what a member of a room gets
 * @property {string} id
 * @property {string} publish address of WHIP
 * @property {string} watch address of WHEP: the other's picture, whoever that is
 * @property {string} events
 * @property {RoomInfo} room
 */

const PATH = "/api/v1/rooms";
const JSON_TYPE = { "Content-Type": "application/json" };

/** @param {string} name */
const path = (name) => `${PATH}/${encodeURIComponent(name)}`;

/** @returns {Promise<RoomInfo & {links: string[]}>} a new room, and the two links into it */
export async function makeRoom() {
  return JSON.parse(await ask(PATH, { method: "POST", headers: JSON_TYPE, body: "{}" }));
}

/**
 * @param {string} name
 * @returns {Promise<RoomInfo>}
 */
export async function readRoom(name) {
  return JSON.parse(await ask(path(name)));
}

/**
 * Takes one of the two seats. Throws Refusal where both are taken.
 *
 * @param {string} name
 * @param {string} person
 * @returns {Promise<Seat>}
 */
export async function joinRoom(name, person) {
  return JSON.parse(await ask(`${path(name)}/members`, { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ person }) }));
}

/**
 * Also from a page that is being left. That one has left already is no fault.
 *
 * @param {string} name
 * @param {string} id
 */
export async function leaveRoom(name, id) {
  try {
    await ask(`${path(name)}/members/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}
