import { make, need, part, say } from "./elements.js";
import { ms, quantile } from "./statistics.js";
import { STAGES } from "./words.js";

/** @import {Report, SoundReport} from "./messages.js" */
/** @import {Picked} from "./rtcstats.js" */

const MINUTE_MS = 60_000;
const WINDOW_MS = 2000; // the server's figures of a frame's delay are over as long
const TINTS = 14;
const TRIPS = 9;
const SPARK = { width: 300, height: 60 };

/** The latency panel, and the few figures in the page's head. */
export class LatencyPanel {
  /** @type {{at: number, p50: number, p95: number}[]} */
  #ages = [];
  /** @type {number[]} */
  #trips = [];
  /** @type {{at: number, stages: Record<string, number>}[]} */
  #stagesSeen = [];
  /** @type {Map<string, {row: HTMLElement, piece: HTMLElement, value: HTMLElement}>} */
  #stages = new Map();
  #server = new Figures("server-figures");
  #browser = new Figures("browser-figures");

  /**
   * Whether what is shown is of now; otherwise why it is not.
   *
   * @param {string} why empty: it is
   */
  freeze(why) {
    const stale = why !== "" && this.#ages.length > 0;
    part("sheet-latency").dataset.stale = String(stale);
    part("stale").hidden = !stale;
    say(part("stale"), why);
  }

  /** A new call begins with nothing. */
  clear() {
    this.#stagesSeen = [];
    this.#ages = [];
    this.#trips = [];
    this.#stages.clear();
    part("stack").replaceChildren();
    part("legend").replaceChildren();
    this.#server.clear();
    this.#browser.clear();
    for (const id of ["age", "trip", "lag", "readout-age", "readout-trip", "readout-rate"]) say(part(id), "–");
    say(part("stage-sum"), "");
    this.#drawAges(0);
  }

  /**
   * @param {Report} report
   * @param {number} now milliseconds
   */
  show(report, now) {
    const age = report.age_ms;
    say(part("age"), age ? `${ms(age.p50).replace(" ms", "")} · ${ms(age.p95)}` : "–");
    say(part("readout-age"), ms(age?.p50));
    say(part("readout-rate"), report.fps_out.toFixed(0));
    say(part("lag"), ms(report.filter_lag_ms));
    if (age) this.#ages.push({ at: now, ...age });
    while (this.#ages.length && this.#ages[0].at < now - MINUTE_MS) this.#ages.shift();
    this.#drawAges(now);
    this.#drawStages(this.#averaged(report.stages, now));
    this.#server.show([
      ["Frames in, out", `${report.fps_in.toFixed(1)}, ${report.fps_out.toFixed(1)} per second`],
      ["Not used", spellCounts(report.dropped)],
      ["Codec, rate", report.codec ? `${spellCodec(report.codec)}, ${report.kbps} kbit/s` : "–"],
      ...(report.sound ? [spellSound(report.sound)] : []),
      ["Picture", report.size ? `${report.size[0]} × ${report.size[1]}` : "–"],
      ["Engine", report.restarts ? `${report.worker}, replaced ${report.restarts} ×` : report.worker],
    ]);
  }

  /** @param {number} trip milliseconds there and back over the control channel */
  showTrip(trip) {
    this.#trips.push(trip);
    if (this.#trips.length > TRIPS) this.#trips.shift();
    const middle = ms(quantile(this.#trips, 0.5));
    say(part("trip"), middle);
    say(part("readout-trip"), middle);
  }

  /** @param {Picked} picked */
  showBrowser(picked) {
    const { sent, received } = picked;
    this.#browser.show([
      ["Sent", sent ? `${sent.width} × ${sent.height}, ${sent.rate.toFixed(0)} per second, ${sent.kbps} kbit/s` : "nothing"],
      ["Encoding", sent ? `${ms(sent.encodeMs)} a frame` : "–"],
      ["Held back by", sent ? spellLimit(sent.limit) : "–"],
      ["Received", received ? `${received.rate.toFixed(0)} per second, ${received.kbps} kbit/s` : "nothing yet"],
      ["Jitter buffer", ms(received?.bufferMs)],
      ["Decoding", received ? `${ms(received.decodeMs)} a frame` : "–"],
      ["Frames dropped", received ? String(received.dropped) : "–"],
      ["Packets lost", received ? String(received.lost) : "–"],
    ]);
  }

  /**
   * Over the window that the delay is measured in.
   *
   * @param {Record<string, number>} stages means since the last report
   * @param {number} now
   * @returns {Record<string, number>}
   */
  #averaged(stages, now) {
    if (Object.keys(stages).length === 0) return stages;
    this.#stagesSeen.push({ at: now, stages });
    this.#stagesSeen = this.#stagesSeen.filter(({ at }) => at > now - WINDOW_MS);
    return Object.fromEntries(
      Object.keys(stages).map((name) => {
        const times = this.#stagesSeen.flatMap((seen) => (name in seen.stages ? [seen.stages[name]] : []));
        return [name, times.reduce((sum, time) => sum + time, 0) / times.length];
      }),
    );
  }

  /** @param {Record<string, number>} stages */
  #drawStages(stages) {
    const entries = Object.entries(stages);
    if (entries.length === 0) return;
    for (const name of [...this.#stages.keys()]) if (!(name in stages)) this.#forget(name);
    let sum = 0;
    for (const [name, time] of entries) {
      sum += time;
      const { piece, value } = this.#stages.get(name) ?? this.#stage(name);
      piece.style.flexGrow = String(Math.max(time, 0.01));
      piece.title = `${name}: ${ms(time)}`;
      say(value, ms(time));
    }
    say(part("stage-sum"), `${ms(sum)} on average`);
    part("stack").setAttribute("aria-label", entries.map(([name, time]) => `${STAGES[name]?.[0] ?? name} ${ms(time)}`).join(", "));
  }

  /** @param {string} name */
  #stage(name) {
    const tint = `tint-${this.#stages.size % TINTS}`;
    const row = make("li");
    const value = make("b");
    const [plain, meaning] = STAGES[name] ?? [name, ""];
    row.append(make("i", tint), make("span", "", plain), value);
    const piece = make("span", tint);
    row.title = piece.title = meaning;
    part("legend").append(row);
    part("stack").append(piece);
    const made = { row, piece, value };
    this.#stages.set(name, made);
    return made;
  }

  /** @param {string} name */
  #forget(name) {
    this.#stages.get(name)?.row.remove();
    this.#stages.get(name)?.piece.remove();
    this.#stages.delete(name);
  }

  /** @param {number} now */
  #drawAges(now) {
    const most = Math.max(40, ...this.#ages.map((age) => age.p95));
    const x = (/** @type {number} */ at) => (SPARK.width * (1 - (now - at) / MINUTE_MS)).toFixed(1);
    const y = (/** @type {number} */ age) => (SPARK.height * (1 - age / (1.1 * most))).toFixed(1);
    const low = this.#ages.map(({ at, p50 }) => `${x(at)} ${y(p50)}`);
    const high = this.#ages.map(({ at, p95 }) => `${x(at)} ${y(p95)}`);
    const line = low.length ? `M${low.join("L")}` : "";
    need("spark-line", SVGPathElement).setAttribute("d", line);
    need("spark-band", SVGPathElement).setAttribute("d", line && `${line}L${high.reverse().join("L")}Z`);
    say(part("spark-most"), this.#ages.length ? `at most ${ms(Math.max(...this.#ages.map((age) => age.p95)))}` : "");
  }
}

/** A list of names and values that is changed in place. */
class Figures {
  /** @type {Map<string, HTMLElement>} */
  #values = new Map();

  /** @param {string} id */
  constructor(id) {
    this.list = part(id);
  }

  clear() {
    this.#values.clear();
    this.list.replaceChildren();
  }

  /** @param {[string, string][]} figures */
  show(figures) {
    for (const [name, text] of figures) {
      let value = this.#values.get(name);
      if (!value) {
        value = make("dd");
        this.list.append(make("dt", "", name), value);
        this.#values.set(name, value);
      }
      say(value, text);
    }
  }
}

/** Why the server left a frame out. @type {Record<string, string>} */
const UNUSED = { replaced: "gave way to newer ones", unsent: "too many to send", late: "too late", refused: "unfit", stopped: "after the stop" };

/** @param {Record<string, number>} counts */
function spellCounts(counts) {
  const named = Object.entries(counts).filter(([, count]) => count > 0);
  return named.length ? named.map(([reason, count]) => `${count} ${UNUSED[reason] ?? reason}`).join(", ") : "none";
}

/**
 * @param {SoundReport} sound
 * @returns {[string, string]}
 */
function spellSound({ delay_ms, skew_ms, muted }) {
  if (muted) return ["Sound", "muted"];
  if (delay_ms === null) return ["Sound", "nothing comes"];
  return ["Sound", `held back ${ms(delay_ms)}, ${skew_ms === null ? "no picture yet" : `${ms(skew_ms)} from its picture`}`];
}

/** @param {string} codec */
const spellCodec = (codec) => ({ h264: "H.264", vp8: "VP8" })[codec.toLowerCase()] ?? codec;

/** @param {string} limit */
const spellLimit = (limit) => ({ none: "nothing", cpu: "this machine", bandwidth: "the line" })[limit] ?? limit;
