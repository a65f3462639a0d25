/**
 * What a brush has painted: a class or KEEP on every cell of a square that moves with the head, and the way back.
 * Runs are engine/parsing/runs.py's: [class or KEEP, cells], row by row.
 */

export const SIDE = 256;
export const KEEP = 255;

const MOST_RUNS = 20_000;
const MOST_STEPS = 50;

export class Painting {
  /** @type {Uint8Array} */
  cells = blank();
  /** @type {Uint8Array[]} */
  #past = [];
  /** @type {Uint8Array[]} */
  #future = [];
  /** @type {Uint8Array | null} */
  #before = null;

  get empty() {
    return this.cells.every((cell) => cell === KEEP);
  }

  get undoable() {
    return this.#past.length > 0;
  }

  get redoable() {
    return this.#future.length > 0;
  }

  /** A stroke begins: what it does is taken back as one. */
  begin() {
    this.#before ??= this.cells.slice();
  }

  /**
   * Paints a stroke of round dabs.
   *
   * @param {[number, number]} from in cells
   * @param {[number, number]} to
   * @param {number} width in cells
   * @param {number} label a class, or KEEP to take what is painted away
   */
  stroke(from, to, width, label) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const steps = Math.max(1, Math.ceil(length / Math.max(1, width / 4)));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      this.#dab(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), width / 2, label);
    }
  }

  /** The stroke ends; one that changed nothing is none. */
  end() {
    const before = this.#before;
    this.#before = null;
    if (before && this.cells.some((cell, at) => cell !== before[at])) this.#keep(before);
  }

  /**
   * Something else in its place, as one step.
   *
   * @param {Uint8Array} cells
   */
  replace(cells) {
    this.begin();
    this.cells = cells;
    this.end();
  }

  clear() {
    this.replace(blank());
  }

  undo() {
    this.#step(this.#past, this.#future);
  }

  redo() {
    this.#step(this.#future, this.#past);
  }

  /** What is sent: none where nothing is painted; of noise every second cell, so that there are few enough. */
  get runs() {
    if (this.empty) return [];
    const found = encode(this.cells);
    return found.length <= MOST_RUNS ? found : encode(resampled(this.cells, SIDE / 2));
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} radius
   * @param {number} label
   */
  #dab(x, y, radius, label) {
    const reach = Math.max(radius, 0.5);
    for (let row = Math.max(0, Math.ceil(y - reach)); row <= Math.min(SIDE - 1, Math.floor(y + reach)); row++) {
      const half = Math.sqrt(reach ** 2 - (row - y) ** 2);
      const first = Math.max(0, Math.ceil(x - half));
      const last = Math.min(SIDE - 1, Math.floor(x + half));
      if (first <= last) this.cells.fill(label, row * SIDE + first, row * SIDE + last + 1);
    }
  }

  /** @param {Uint8Array} before */
  #keep(before) {
    this.#past.push(before);
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#future = [];
  }

  /**
   * @param {Uint8Array[]} from
   * @param {Uint8Array[]} to
   */
  #step(from, to) {
    this.end();
    const cells = from.pop();
    if (!cells) return;
    to.push(this.cells);
    this.cells = cells;
  }
}

const blank = () => new Uint8Array(SIDE * SIDE).fill(KEEP);

/**
 * @param {Uint8Array} cells
 * @returns {[number, number][]}
 */
export function encode(cells) {
  /** @type {[number, number][]} */
  const runs = [];
  let from = 0;
  for (let at = 1; at <= cells.length; at++) {
    if (at < cells.length && cells[at] === cells[from]) continue;
    runs.push([cells[from], at - from]);
    from = at;
  }
  return runs;
}

/**
 * Runs of a square of any side as cells of this one.
 *
 * @param {unknown} runs
 * @returns {Uint8Array | null} null for what is none
 */
export function decode(runs) {
  if (!Array.isArray(runs)) return null;
  let total = 0;
  for (const run of runs) {
    if (!Array.isArray(run) || !Number.isInteger(run[0]) || !Number.isInteger(run[1]) || run[1] < 1) return null;
    total += run[1];
  }
  const side = Math.round(Math.sqrt(total));
  if (side < 1 || side > 2048 || side * side !== total) return null;
  const cells = new Uint8Array(total);
  let at = 0;
  for (const [label, count] of runs) cells.fill(label, at, (at += count));
  return resampled(cells, SIDE);
}

/**
 * @param {Uint8Array} cells of a square
 * @param {number} side of the one that is wanted
 */
function resampled(cells, side) {
  const own = Math.round(Math.sqrt(cells.length));
  if (own === side) return cells;
  const found = new Uint8Array(side * side);
  const place = Array.from({ length: side }, (_, at) => Math.floor(((at + 0.5) * own) / side));
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) found[row * side + column] = cells[place[row] * own + place[column]];
  }
  return found;
}
