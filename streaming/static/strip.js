/**
 * The machine-readable strip of docs/live.md: a number written into a frame's first rows. streaming/strip.py is its twin.
 */

export const CELLS = 36;
export const MOST = 2 ** 24 - 1;
export const NO_MARK = -1;

const BITS = 24;
const CHECK_BITS = 8;
const LEAST_CONTRAST = 64;
const LEAST_HEIGHT = 8;

/**
 * Rows that the strip takes in a picture of `height` rows.
 *
 * @param {number} height
 */
export function stripHeight(height) {
  return Math.max(LEAST_HEIGHT, Math.floor(height / 32));
}

/**
 * CRC-8 (x^8 + x^2 + x + 1, start 0) over the number's three bytes, high byte first.
 *
 * @param {number} number
 */
export function check(number) {
  let rest = 0;
  for (const byte of [(number >> 16) & 255, (number >> 8) & 255, number & 255]) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit++) rest = rest & 128 ? ((rest << 1) ^ 7) & 255 : rest << 1;
  }
  return rest;
}

/**
 * The 36 cells for a number, true is white.
 *
 * @param {number} number 0 .. MOST
 * @returns {boolean[]}
 */
export function cells(number) {
  const row = [true, false];
  for (let bit = BITS - 1; bit >= 0; bit--) row.push(((number >> bit) & 1) === 1);
  const crc = check(number);
  for (let bit = CHECK_BITS - 1; bit >= 0; bit--) row.push(((crc >> bit) & 1) === 1);
  row.push(false, true);
  return row;
}

/**
 * Draws the strip across the top of a picture: whole pixels, each in the cell that its centre stands in.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height of the whole picture
 * @param {number} number 0 .. MOST
 */
export function draw(context, width, height, number) {
  const tall = stripHeight(height);
  const edge = (/** @type {number} */ cell) => Math.ceil((cell * width) / CELLS - 0.5);
  cells(number).forEach((white, cell) => {
    context.fillStyle = white ? "#fff" : "#000";
    context.fillRect(edge(cell), 0, edge(cell + 1) - edge(cell), tall);
  });
}

/**
 * The number in a strip, NO_MARK where none can be read.
 *
 * @param {{data: Uint8ClampedArray | Uint8Array, width: number, height: number}} strip RGBA, the strip's rows alone
 * @returns {number}
 */
export function read(strip) {
  if (strip.width < 2 * CELLS || strip.height < LEAST_HEIGHT) return NO_MARK;
  const levels = Array.from({ length: CELLS }, (_, cell) => cellLevel(strip, cell));
  const white = (levels[0] + levels[CELLS - 1]) / 2;
  const black = (levels[1] + levels[CELLS - 2]) / 2;
  if (white - black < LEAST_CONTRAST) return NO_MARK;
  const bits = levels.map((level) => level > (white + black) / 2);
  if (!bits[0] || bits[1] || bits[CELLS - 2] || !bits[CELLS - 1]) return NO_MARK;
  const number = valueOf(bits.slice(2, 2 + BITS));
  return valueOf(bits.slice(2 + BITS, CELLS - 2)) === check(number) ? number : NO_MARK;
}

/** @param {boolean[]} bits highest first */
function valueOf(bits) {
  return bits.reduce((value, bit) => value * 2 + Number(bit), 0);
}

/**
 * Mean luma of the middle half of a cell, in both directions.
 *
 * @param {{data: Uint8ClampedArray | Uint8Array, width: number, height: number}} strip
 * @param {number} cell
 */
function cellLevel({ data, width, height }, cell) {
  const from = Math.round(((cell + 0.25) * width) / CELLS);
  const to = Math.max(from + 1, Math.round(((cell + 0.75) * width) / CELLS));
  const margin = Math.floor(height / 4);
  let sum = 0;
  for (let y = margin; y < height - margin; y++) {
    for (let x = from; x < to; x++) {
      const at = 4 * (y * width + x);
      sum += 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    }
  }
  return sum / ((height - 2 * margin) * (to - from));
}
