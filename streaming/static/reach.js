import { readInfo, Refusal } from "./api.js";
import { button, make, part } from "./elements.js";

/** @import {Info} from "./messages.js" */

const WITHIN_MS = 8000;
const KINDS = /** @type {const} */ (["host", "srflx", "relay"]);
/** @type {Record<string, string>} */
const WORDS = { host: "this machine's own", srflx: "seen from outside (STUN)", relay: "relayed (TURN)" };

/**
 * What was found in one run: how many candidates of each kind and after how many milliseconds the first one came, of
 * which families, and what the browser says went wrong.
 *
 * @typedef {{kinds: Record<string, {count: number, after: number}>, ipv6: boolean, errors: string[], done: boolean}} Gathered
 */

/** The button that finds out by which ways this browser could be reached, and whether each TURN server answers. */
export function setUpReach() {
  const test = button("reach");
  test.onclick = async () => {
    test.disabled = true;
    part("reach-lines").replaceChildren(line("quiet", "Trying…"));
    try {
      await run(await readInfo());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      part("reach-lines").replaceChildren(line("bad", error.message));
    } finally {
      test.disabled = false;
    }
  };
}

/** @param {Info} info */
async function run(info) {
  const servers = info.ice_servers ?? [];
  const relays = servers.filter((server) => addresses(server).some((url) => url.startsWith("turn")));
  const [all, ...relayed] = await Promise.all([
    gather({ iceServers: servers }),
    ...relays.map((server) => gather({ iceServers: [server], iceTransportPolicy: "relay" })),
  ]);
  if (!all) return;
  const lines = KINDS.map((kind) => told(kind, all, servers.length > 0));
  lines.push(line(all.ipv6 ? "good" : "quiet", `IPv6: ${all.ipv6 ? "yes" : "no address that can be told"}`));
  relays.forEach((server, at) => lines.push(answered(addresses(server).join(" "), relayed[at])));
  if (!relays.length) lines.push(line("quiet", "TURN: this server names none; behind strict firewalls no call will come up"));
  part("reach-lines").replaceChildren(...lines);
}

/** @param {RTCIceServer} server */
const addresses = (server) => [server.urls].flat();

/**
 * @param {string} kind
 * @param {Gathered} all
 * @param {boolean} asked whether there is a server to ask
 */
function told(kind, all, asked) {
  const found = all.kinds[kind];
  if (found) return line("good", `${WORDS[kind]}: ${found.count}, the first after ${found.after} ms`);
  const why = kind === "host" ? "the browser keeps them back" : asked ? "no server answered with one" : "no server is named for it";
  return line(kind === "host" ? "bad" : "quiet", `${WORDS[kind]}: none, ${why}`);
}

/**
 * @param {string} url
 * @param {Gathered | undefined} run
 */
function answered(url, run) {
  const relay = run?.kinds.relay;
  if (relay) return line("good", `${url}: answers, after ${relay.after} ms`);
  const why = run?.errors[0] ?? (run?.done ? "it gives no relay" : `no answer within ${WITHIN_MS / 1000} s`);
  return line("bad", `${url}: ${why}`);
}

/**
 * @param {RTCConfiguration} configuration
 * @returns {Promise<Gathered>}
 */
async function gather(configuration) {
  /** @type {Gathered} */
  const found = { kinds: {}, ipv6: false, errors: [], done: false };
  const peer = new RTCPeerConnection(configuration);
  const began = performance.now();
  try {
    await new Promise((resolve) => {
      window.setTimeout(resolve, WITHIN_MS);
      peer.onicecandidate = ({ candidate }) => {
        if (!candidate) {
          found.done = true;
          resolve(undefined);
        } else if (candidate.candidate) note(found, candidate, Math.round(performance.now() - began));
      };
      peer.onicecandidateerror = (event) => found.errors.push(complaint(event));
      peer.createDataChannel("reach");
      void peer.setLocalDescription();
    });
  } finally {
    peer.close();
  }
  return found;
}

/**
 * @param {Gathered} found
 * @param {RTCIceCandidate} candidate
 * @param {number} after
 */
function note(found, candidate, after) {
  const kind = candidate.type ?? "host";
  found.kinds[kind] ??= { count: 0, after };
  found.kinds[kind].count += 1;
  if (candidate.address?.includes(":")) found.ipv6 = true;
}

/** @param {RTCPeerConnectionIceErrorEvent} event */
function complaint(event) {
  if (event.errorCode === 401 || event.errorCode === 403) return `it does not take the account (${event.errorCode})`;
  if (event.errorCode === 701) return "it cannot be reached (701)";
  return `${event.errorText || "it refuses"} (${event.errorCode})`;
}

/**
 * @param {string} tone
 * @param {string} text
 */
function line(tone, text) {
  const item = make("li", "", text);
  item.dataset.tone = tone;
  return item;
}
