/**
 * The value below which `share` of the values lie, by linear interpolation; null of nothing.
 *
 * @param {number[]} values
 * @param {number} share 0 .. 1
 * @returns {number | null}
 */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/**
 * Counts in `bins` equal bins between `from` and `to`; what lies outside counts in the outermost ones.
 *
 * @param {number[]} values
 * @param {number} from
 * @param {number} to
 * @param {number} bins
 * @returns {number[]}
 */
export function histogram(values, from, to, bins) {
  const counts = new Array(bins).fill(0);
  for (const value of values) {
    const bin = Math.floor(((value - from) / (to - from)) * bins);
    counts[Math.min(bins - 1, Math.max(0, bin))] += 1;
  }
  return counts;
}

/**
 * A number of milliseconds for people.
 *
 * @param {number | null | undefined} value
 */
export function ms(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
