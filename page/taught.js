// Words that are taught from a few recordings: utils/enrol.py and utils/nets/taught.py, step by step. Their numbers come
// from Python, in embedding.json.

import { HOP, isWordless, loudestSecond, cutSecond, RATE, SECOND } from "./sound.js";

const GAP_HOPS = 25; // of quiet between two words; the gap before a t is shorter
const LEAST_HOPS = 8; // of a word: a click is shorter
const LEAST_DB = -45; // of its loudest 100 ms

export class ClipError extends Error {}

// What is said in a recording of one word, or why it teaches nothing.
export function cutWord(counts) {
  const n_hops = Math.floor(counts.length / HOP);
  const power = Float64Array.from({ length: n_hops }, (_, hop) => {
    let sum = 0;
    for (let i = hop * HOP; i < (hop + 1) * HOP; i++) sum += counts[i] * counts[i];
    return sum / HOP;
  });
  const peak = power.reduce((a, b) => Math.max(a, b), 0);
  if (!peak) throw new ClipError("only silence was recorded: is the microphone muted?");
  if (n_hops < LEAST_HOPS || isWordless(cutSecond(counts, loudestSecond(counts))))
    throw new ClipError("no word is in it: a click, or silence");
  let loudest = 0;
  for (let first = 0; first + 10 <= n_hops; first += 10)
    loudest = Math.max(loudest, power.subarray(first, first + 10).reduce((a, b) => a + b) / 10);
  const loudest_db = 10 * Math.log10(loudest / 32768 ** 2 + 1e-10);
  if (loudest_db < LEAST_DB) throw new ClipError(`too quiet (${Math.round(loudest_db)} dB): come nearer, or speak louder`);
  const floor = power.slice().sort()[Math.floor(0.2 * (n_hops - 1))];
  const level = Math.max(peak * 10 ** -2.5, Math.min(4 * floor, peak * 10 ** -1.5)); // a clip cut tightly has no floor
  let groups = [];
  power.forEach((value, hop) => {
    if (value < level) return;
    const last = groups.at(-1);
    if (last && hop - last.at(-1) <= GAP_HOPS) last.push(hop);
    else groups.push([hop]);
  });
  groups = groups.filter((hops) => hops.length >= LEAST_HOPS && Math.max(...hops.map((hop) => power[hop])) > peak / 100);
  if (!groups.length) throw new ClipError("no word stands out from the noise: find a quieter place");
  if (groups.length > 1) throw new ClipError("two words are in it: one word a recording");
  const [first, last] = [groups[0][0] * HOP, (groups[0].at(-1) + 1) * HOP];
  if (last - first > 1.5 * RATE) throw new ClipError("what is said is too long: a second is heard at a time");
  return counts.slice(first, Math.min(last, first + SECOND));
}

// Noise whose numbers are the same each time.
function makeNoise(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const place = (word, start) => {
  const clip = new Float32Array(SECOND);
  clip.set(word.subarray(0, SECOND - start), start);
  return clip;
};

// What a network may meet of one recording: waveforms of a second.
export function makeCopies(cut, { places, noises_db, rates, seed }) {
  const word = Float32Array.from(cut, (count) => count / 32768);
  const room = SECOND - word.length;
  const copies = Array.from({ length: places }, (_, i) => place(word, Math.round((room * i) / (places - 1))));
  const power = word.reduce((sum, x) => sum + x * x, 0) / word.length;
  const noise = makeNoise(seed);
  for (const noise_db of noises_db) {
    const size = Math.sqrt(power * 10 ** (-noise_db / 10));
    copies.push(place(word, Math.floor(room / 2)).map((x) => x + size * noise()));
  }
  for (const rate of rates) {
    const n_samples = Math.min(SECOND, Math.ceil((word.length - 1) / rate));
    const faster = Float32Array.from({ length: n_samples }, (_, i) => {
      const [before, share] = [Math.floor(i * rate), (i * rate) % 1];
      return (1 - share) * word[before] + share * (word[before + 1] ?? 0);
    });
    copies.push(place(faster, Math.floor((SECOND - n_samples) / 2)));
  }
  return copies;
}

// rows: [{place, owner, weight}]; weights (n_dims + 1) x (n_words + 1), row by row.
function fit(rows, n_words, { strength, steps }) {
  const n_dims = rows[0].place.length + 1;
  const n_answers = n_words + 1;
  const at = (row, i) => (i < n_dims - 1 ? row.place[i] : 1);
  let vector = new Float64Array(n_dims).fill(1);
  let largest = 1;
  for (let round = 0; round < 20; round++) {
    const next = new Float64Array(n_dims);
    for (const row of rows) {
      let sum = 0;
      for (let i = 0; i < n_dims; i++) sum += at(row, i) * vector[i];
      sum *= strength * row.weight;
      for (let i = 0; i < n_dims; i++) next[i] += at(row, i) * sum;
    }
    largest = Math.sqrt(next.reduce((sum, x) => sum + x * x, 0));
    vector = next.map((x) => x / largest);
  }
  const bend = 1 + largest / 2;
  const momentum = (Math.sqrt(bend) - 1) / (Math.sqrt(bend) + 1);
  let found = new Float64Array(n_dims * n_answers);
  let ahead = found;
  for (let step = 0; step < steps; step++) {
    const slope = ahead.slice();
    for (const row of rows) {
      const error = answer(row.place, ahead, n_answers);
      error[row.owner] -= 1;
      for (let k = 0; k < n_answers; k++) error[k] *= strength * row.weight;
      for (let i = 0; i < n_dims; i++) {
        const x = at(row, i);
        for (let k = 0; k < n_answers; k++) slope[i * n_answers + k] += x * error[k];
      }
    }
    const next = ahead.map((x, i) => x - slope[i] / bend);
    ahead = next.map((x, i) => x + momentum * (x - found[i]));
    found = next;
  }
  return found;
}

function logitsOf(place, weights, n_answers) {
  const sums = weights.slice(place.length * n_answers);
  for (let i = 0; i < place.length; i++)
    for (let k = 0; k < n_answers; k++) sums[k] += place[i] * weights[i * n_answers + k];
  return sums;
}

function answer(place, weights, n_answers) {
  const sums = logitsOf(place, weights, n_answers);
  const most = sums.reduce((a, b) => Math.max(a, b));
  const powers = sums.map((x) => Math.exp(x - most));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / total);
}

// Negatives of embedding.json as rows of numbers.
export function readNegatives({ negatives, scale, n_dims }) {
  const bytes = Uint8Array.from(atob(negatives), (letter) => letter.charCodeAt(0));
  const values = Float32Array.from(new Int8Array(bytes.buffer), (x) => x * scale);
  return Array.from({ length: values.length / n_dims }, (_, i) => values.subarray(i * n_dims, (i + 1) * n_dims));
}

export class Words {
  // recordings: Map of a word -> for each recording the places of its copies; others: the same, of what is none
  constructor(recordings, negatives, others, numbers) {
    this.names = [...recordings.keys()];
    const n_words = (this.n_answers = this.names.length + 1) - 1;
    const rows = [];
    const push = (copies, owner) => copies.forEach((place) => rows.push({ place, owner, weight: 1 / copies.length }));
    [...recordings.values()].forEach((found, owner) => found.forEach((copies) => push(copies, owner)));
    others.forEach((copies) => push(copies, n_words));
    negatives.forEach((place) => rows.push({ place, owner: n_words, weight: numbers.negatives_weigh / negatives.length }));
    this.weights = fit(rows, n_words, numbers).map((x) => x * numbers.sharpness);
    const margins = negatives
      .map((place) => {
        const logits = logitsOf(place, this.weights, this.n_answers);
        return logits.subarray(0, n_words).reduce((a, b) => Math.max(a, b)) - logits[n_words];
      })
      .sort((a, b) => a - b);
    const where = (1 - numbers.share) * (margins.length - 1);
    const [before, part] = [Math.floor(where), where % 1];
    const reached = margins[before] + part * ((margins[before + 1] ?? margins[before]) - margins[before]);
    this.weights[this.weights.length - 1] += reached - numbers.sure_logit;
  }

  probabilities(place) {
    return answer(place, this.weights, this.n_answers);
  }
}

// Labels of a network and taught words together, and where each of both goes.
export function arrange(labels, names, alone) {
  const kept = labels.filter((label) => !alone && !["silence", "unknown"].includes(label));
  const together = [...kept, ...names, "silence", "unknown"];
  const targets = labels.map((label) => together.indexOf(together.includes(label) ? label : "unknown"));
  return { labels: together, targets: [...targets, ...names.map((name) => together.indexOf(name))] };
}

export function combine(row, said, { labels, targets }) {
  const other = said.at(-1);
  const both = [...row].map((p) => p * other).concat(...said.subarray(0, -1));
  const together = new Float32Array(labels.length);
  both.forEach((p, i) => (together[targets[i]] += p));
  return together;
}

// Which other word is nearest to each: {name, share} of the other's recordings that lie nearer to it than to their own.
export function findNear(recordings, negatives, said, commands) {
  const mean = (places) => places[0].map((_, i) => places.reduce((sum, place) => sum + place[i], 0) / places.length);
  const points = new Map([...recordings].map(([word, found]) => [word, found.map(mean)]));
  for (const command of commands) {
    const of = negatives.filter((_, i) => said[i] === command);
    if (of.length) points.set(command, of);
  }
  const centres = new Map([...points].map(([word, places]) => [word, mean(places)]));
  const apart = (a, b) => a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0);
  return new Map(
    [...recordings.keys()].map((word) => {
      let nearest = { name: null, share: 0 };
      for (const [other, places] of points) {
        if (other === word) continue;
        const nearer = places.filter((place) => apart(place, centres.get(word)) < apart(place, centres.get(other)));
        const share = nearer.length / places.length;
        if (share > nearest.share) nearest = { name: other, share };
      }
      return [word, nearest];
    }),
  );
}
