// When a word begins and ends, by its loudness alone: so that recording stops by itself.

import { HOP, RATE } from "./sound.js";

const HOPS_OF_QUIET = 20; // 200 ms: longer than the gap before the t of "right"
const HOPS_OF_WORD = 7; // shorter sounds are clicks
const LEAST = 30 ** 2; // power of the quietest word, in counts
const AHEAD_S = 0.6; // kept of what was before the word
const PATIENCE_S = 6; // until a word must have begun
const LONGEST_S = 4;

export class Endpoint {
  constructor() {
    this.powers = [];
    this.n_left = 0;
    this.sum = 0;
    this.begin = null;
    this.peak = 0;
  }

  // Counts as they come; {start, end} in samples once the word is over, {none: true} if there was none.
  push(counts) {
    for (const x of counts) {
      this.sum += x * x;
      if (++this.n_left === HOP) {
        this.powers.push(this.sum / HOP);
        this.n_left = this.sum = 0;
        const found = this.look();
        if (found) return found;
      }
    }
    return null;
  }

  look() {
    const { powers } = this;
    const n = powers.length;
    const sorted = Float64Array.from(powers).sort();
    const floor = sorted[Math.floor(n / 10)];
    const level = Math.max(LEAST, 8 * floor);
    if (this.begin === null) {
      const recent = powers.slice(-2 * HOPS_OF_WORD);
      if (recent.filter((power) => power > level).length >= HOPS_OF_WORD) this.begin = n - recent.length;
      else if (n * HOP > PATIENCE_S * RATE) return { none: true };
      return null;
    }
    this.peak = Math.max(this.peak, powers[n - 1]);
    const quiet = Math.max(LEAST, 4 * floor, this.peak / 300);
    const is_over = n - this.begin > HOPS_OF_QUIET && powers.slice(-HOPS_OF_QUIET).every((power) => power < quiet);
    if (!is_over && (n - this.begin) * HOP < LONGEST_S * RATE) return null;
    const word_end = is_over ? (n - HOPS_OF_QUIET) * HOP : n * HOP;
    return { start: Math.max(0, this.begin * HOP - AHEAD_S * RATE), end: n * HOP, word_end };
  }
}
