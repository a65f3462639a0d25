/**
 * The browser's own figures of a call, since the last look.
 *
 * @typedef {object} Picked
 * @property {{width: number, height: number, rate: number, kbps: number, encodeMs: number | null, limit: string} | null} sent
 * @property {{rate: number, kbps: number, bufferMs: number | null, decodeMs: number | null, dropped: number, lost: number} | null} received
 */

/** @typedef {Record<string, any>} Entry of an RTCStatsReport: its fields differ by type and browser */

/** Picks a call's figures out of getStats, as differences between two looks. */
export class StatsPicker {
  /** @type {Map<string, Entry>} */
  #before = new Map();

  /**
   * @param {RTCStatsReport} report
   * @returns {Picked}
   */
  pick(report) {
    /** @type {Picked} */
    const picked = { sent: null, received: null };
    /** @type {Map<string, Entry>} */
    const now = new Map();
    report.forEach((/** @type {Entry} */ entry) => {
      if (entry.kind !== "video") return;
      if (entry.type !== "outbound-rtp" && entry.type !== "inbound-rtp") return;
      now.set(entry.id, entry);
      const since = difference(entry, this.#before.get(entry.id));
      if (entry.type === "inbound-rtp") picked.received = receivedOf(entry, since);
      else if (entry.frameWidth) picked.sent = sentOf(entry, since);
    });
    this.#before = now;
    return picked;
  }
}

/**
 * @param {Entry} entry
 * @param {Entry | undefined} before
 * @returns {(name: string) => number}
 */
function difference(entry, before) {
  return (name) => (entry[name] ?? 0) - (before?.[name] ?? 0);
}

/**
 * @param {Entry} entry
 * @param {(name: string) => number} since
 */
function sentOf(entry, since) {
  return {
    width: entry.frameWidth,
    height: entry.frameHeight,
    rate: entry.framesPerSecond ?? 0,
    kbps: rateOf(since("bytesSent"), since("timestamp")),
    encodeMs: mean(since("totalEncodeTime"), since("framesEncoded")),
    limit: entry.qualityLimitationReason ?? "–",
  };
}

/**
 * @param {Entry} entry
 * @param {(name: string) => number} since
 */
function receivedOf(entry, since) {
  return {
    rate: entry.framesPerSecond ?? 0,
    kbps: rateOf(since("bytesReceived"), since("timestamp")),
    bufferMs: mean(since("jitterBufferDelay"), since("jitterBufferEmittedCount")),
    decodeMs: mean(since("totalDecodeTime"), since("framesDecoded")),
    dropped: entry.framesDropped ?? 0,
    lost: entry.packetsLost ?? 0,
  };
}

/**
 * @param {number} bytes
 * @param {number} milliseconds
 */
const rateOf = (bytes, milliseconds) => (milliseconds > 0 ? Math.round((8 * bytes) / milliseconds) : 0);

/**
 * @param {number} seconds
 * @param {number} count
 */
const mean = (seconds, count) => (count > 0 ? (1000 * seconds) / count : null);
