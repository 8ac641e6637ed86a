// Sound as numbers, as utils/audio.py and utils/features.py have them: so that page and Python answer the same.

export const RATE = 16000; // Hz, of the network
export const SECOND = 16000; // samples
export const HOP = 160; // samples of a frame's step
export const N_MELS = 40;
const FRAME = 480;
const N_FFT = 512;
const FMIN_HZ = 20;
export const FMAX_HZ = 7600;
const ENERGY_FLOOR = 1e-6;

// From one rate to another: soxr's filter of high quality, which Python uses, measured: a sinc under a Kaiser window.
// In units of the lower rate: cutoff, and samples to either side.
const CUTOFF = 0.478436;
const REACH = 97;
const BETA = 13.04;

function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

// Resamples blocks of any size as they come; how they are cut changes nothing.
export class Resampler {
  constructor(from, to = RATE) {
    this._same = from === to;
    const common = gcd(from, to);
    this._up = to / common;
    this._down = from / common;
    const low = Math.min(from, to);
    this._reach = Math.ceil((REACH * from) / low);
    const taps = 2 * this._reach;
    this._taps = taps;
    if (!this._same) {
      this._filters = new Float32Array(this._up * taps);
      for (let phase = 0; phase < this._up; phase++)
        for (let k = 0; k < taps; k++) {
          const offset = (phase / this._up - (k - this._reach + 1)) * (low / from); // in samples of the lower rate
          const x = 2 * CUTOFF * offset;
          const window = bessel(BETA * Math.sqrt(Math.max(0, 1 - (offset / REACH) ** 2))) / bessel(BETA);
          const sinc = x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1;
          if (Math.abs(offset) < REACH)
            this._filters[phase * taps + k] = ((2 * CUTOFF * low) / from) * sinc * window;
        }
    }
    this._pending = new Float32Array(this._reach - 1); // what comes before the first sample is silence
    this._first = 1 - this._reach; // place of the first pending sample in the input
    this._n_in = 0;
    this._n_out = 0;
  }

  push(block) {
    this._n_in += block.length;
    if (this._same) return block;
    const pending = new Float32Array(this._pending.length + block.length);
    pending.set(this._pending);
    pending.set(block, this._pending.length);
    const end = this._first + pending.length; // of the input that is there
    // The last place whose neighbours are all there.
    const n_out = Math.max(this._n_out, Math.floor(((end - this._reach) * this._up - 1) / this._down) + 1);
    const out = new Float32Array(n_out - this._n_out);
    const { _taps: taps, _filters: filters } = this;
    for (let n = this._n_out; n < n_out; n++) {
      const place = n * this._down;
      const start = Math.floor(place / this._up) - this._reach + 1 - this._first;
      const filter = (place % this._up) * taps;
      let sum = 0;
      for (let k = 0; k < taps; k++) sum += pending[start + k] * filters[filter + k];
      out[n - this._n_out] = sum;
    }
    this._n_out = n_out;
    const used = Math.max(0, Math.floor((n_out * this._down) / this._up) - this._reach + 1 - this._first);
    this._pending = pending.slice(used);
    this._first += used;
    return out;
  }

  // The rest, where nothing follows.
  finish() {
    if (this._same) return new Float32Array(0);
    const wanted = Math.round((this._n_in * this._up) / this._down) - this._n_out;
    return this.push(new Float32Array(this._reach + this._down)).slice(0, wanted);
  }
}

export function resample(waveform, from) {
  const resampler = new Resampler(from);
  return concatenate([resampler.push(waveform), resampler.finish()], Float32Array);
}

export function concatenate(parts, Type) {
  const whole = new Type(parts.reduce((sum, part) => sum + part.length, 0));
  let start = 0;
  for (const part of parts) {
    whole.set(part, start);
    start += part.length;
  }
  return whole;
}

// Whole numbers of 16 bits, which both sides hear; halves go to the even one, as in numpy.
export function toCounts(waveform) {
  const counts = new Int16Array(waveform.length);
  for (let i = 0; i < waveform.length; i++) {
    const scaled = waveform[i] * 32768;
    let whole = Math.round(scaled);
    if (whole - scaled === 0.5 && whole % 2) whole--;
    counts[i] = whole > 32767 ? 32767 : whole < -32768 ? -32768 : whole;
  }
  return counts;
}

export function toWaveform(counts) {
  const waveform = new Float32Array(counts.length);
  for (let i = 0; i < counts.length; i++) waveform[i] = counts[i] / 32768;
  return waveform;
}

// The mean of the channels, or the loudest one where they cancel each other out.
export function mix(channels) {
  if (channels.length === 1) return channels[0];
  const mono = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels.length;
  const power = (x) => x.reduce((sum, value) => sum + value * value, 0);
  const powers = channels.map(power);
  const total = powers.reduce((a, b) => a + b);
  if (power(mono) * channels.length ** 2 >= 0.04 * total) return mono;
  return channels[powers.indexOf(Math.max(...powers))];
}

function energies(counts) {
  const n_hops = Math.floor(counts.length / HOP);
  return Float64Array.from({ length: n_hops }, (_, hop) => {
    let sum = 0;
    for (let i = hop * HOP; i < (hop + 1) * HOP; i++) sum += counts[i] * counts[i];
    return sum;
  });
}

// Where the second begins that has the most energy, its loudest 100 ms aside.
export function loudestSecond(counts) {
  if (counts.length <= SECOND) return 0;
  const hops = energies(counts);
  let best = 0;
  let most = -1;
  for (let start = 0; start + 100 <= hops.length; start++) {
    const sorted = hops.slice(start, start + 100).sort();
    let sum = 0;
    for (let i = 0; i < 90; i++) sum += sorted[i];
    if (sum > most) [best, most] = [start, sum];
  }
  return best * HOP;
}

// A second from a place on; zeros where there is nothing.
export function cutSecond(counts, start) {
  const clip = new Int16Array(SECOND);
  const from = Math.max(0, start);
  clip.set(counts.subarray(from, Math.max(from, Math.min(counts.length, start + SECOND))), from - start);
  return clip;
}

// Whether a second holds nothing, or a knock or a click alone.
export function isWordless(clip) {
  if (clip.every((count) => count === clip[0])) return true;
  const sorted = energies(clip).sort();
  return sorted[sorted.length - 11] < 1e-5 * sorted[sorted.length - 1];
}

// Where the word is in some sound that ends with it: [first, last] sample. From the loudest 10 ms outwards, as long
// as it stays above what is usual there, over gaps such as the one before a t.
export function findWord(counts, range_db = 25, gap_hops = 15) {
  const hops = energies(counts);
  if (!hops.length) return [0, counts.length];
  const sorted = hops.slice().sort();
  const floor = sorted[Math.floor(sorted.length / 5)];
  const peak = sorted[sorted.length - 1];
  const level = Math.max(peak * 10 ** (-range_db / 10), Math.min(4 * floor, peak));
  const top = hops.indexOf(peak);
  const reach = (step) => {
    let last = top;
    for (let i = top; i >= 0 && i < hops.length && Math.abs(i - last) <= gap_hops; i += step)
      if (hops[i] >= level) last = i;
    return last;
  };
  return [reach(-1) * HOP, (reach(1) + 1) * HOP];
}

const WINDOW = Float32Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));
const toMel = (hz) => 2595 * Math.log10(1 + hz / 700);
export const fromMel = (mel) => 700 * (10 ** (mel / 2595) - 1);
const EDGES = Array.from({ length: N_MELS + 2 }, (_, i) =>
  fromMel(toMel(FMIN_HZ) + ((toMel(FMAX_HZ) - toMel(FMIN_HZ)) * i) / (N_MELS + 1)),
);

// Which mel bin a frequency is in, from 0 at the bottom to N_MELS: for an axis.
export const melPlace = (hz) =>
  ((toMel(hz) - toMel(FMIN_HZ)) / (toMel(FMAX_HZ) - toMel(FMIN_HZ))) * (N_MELS + 1) - 0.5;

const FILTERS = EDGES.slice(1, -1).map((centre, i) => {
  const filter = [];
  for (let bin = 0; bin <= N_FFT / 2; bin++) {
    const hz = (bin * RATE) / N_FFT;
    const weight = Math.min((hz - EDGES[i]) / (centre - EDGES[i]), (EDGES[i + 2] - hz) / (EDGES[i + 2] - centre));
    if (weight > 0) filter.push([bin, weight]);
  }
  return filter;
});

const [COS, SIN] = [Math.cos, Math.sin].map((f) =>
  Float64Array.from({ length: N_FFT / 2 }, (_, i) => f((-2 * Math.PI * i) / N_FFT)),
);
const REVERSED = Uint16Array.from({ length: N_FFT }, (_, i) =>
  parseInt(i.toString(2).padStart(9, "0").split("").reverse().join(""), 2),
);

function fft(real, imaginary) {
  for (let size = 2; size <= N_FFT; size *= 2)
    for (let start = 0; start < N_FFT; start += size)
      for (let k = 0; k < size / 2; k++) {
        const [c, s] = [COS[(k * N_FFT) / size], SIN[(k * N_FFT) / size]];
        const [low, high] = [start + k, start + k + size / 2];
        const re = real[high] * c - imaginary[high] * s;
        const im = real[high] * s + imaginary[high] * c;
        real[high] = real[low] - re;
        imaginary[high] = imaginary[low] - im;
        real[low] += re;
        imaginary[low] += im;
      }
}

const REAL = new Float64Array(N_FFT);
const IMAGINARY = new Float64Array(N_FFT);

// Log-mel spectrogram of counts, frame after frame, for the eye: Float32Array (n_frames * 40).
export function logMel(counts) {
  const n_frames = Math.max(0, 1 + Math.floor((counts.length - FRAME) / HOP));
  const frames = new Float32Array(n_frames * N_MELS);
  for (let frame = 0; frame < n_frames; frame++) {
    IMAGINARY.fill(0);
    for (let i = 0; i < N_FFT; i++) {
      const from = REVERSED[i];
      REAL[i] = from < FRAME ? (counts[frame * HOP + from] / 32768) * WINDOW[from] : 0;
    }
    fft(REAL, IMAGINARY);
    FILTERS.forEach((filter, mel) => {
      let energy = ENERGY_FLOOR;
      for (const [bin, weight] of filter) energy += weight * (REAL[bin] ** 2 + IMAGINARY[bin] ** 2);
      frames[frame * N_MELS + mel] = Math.log(energy);
    });
  }
  return frames;
}

// A wav of 16-bit counts, with the plain header of the challenge's clips.
export function makeWav(counts) {
  const view = new DataView(new ArrayBuffer(44 + 2 * counts.length));
  const text = (place, letters) => [...letters].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * counts.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  [1, 1].forEach((value, i) => view.setUint16(20 + 2 * i, value, true));
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  [2, 16].forEach((value, i) => view.setUint16(32 + 2 * i, value, true));
  text(36, "data");
  view.setUint32(40, 2 * counts.length, true);
  counts.forEach((value, i) => view.setInt16(44 + 2 * i, value, true));
  return view.buffer;
}

// The chunks of a wav: {name: [place, bytes]}; null for another file.
function findChunks(view) {
  const letters = (place) => String.fromCharCode(...Array.from({ length: 4 }, (_, i) => view.getUint8(place + i)));
  if (view.byteLength < 12 || letters(0) !== "RIFF" || letters(8) !== "WAVE") return null;
  const chunks = {};
  for (let place = 12; place + 8 <= view.byteLength && !chunks["data"]; ) {
    const n_bytes = view.getUint32(place + 4, true);
    chunks[letters(place)] = [place + 8, n_bytes];
    place += 8 + n_bytes + (n_bytes % 2);
  }
  const [start, n_bytes] = chunks["fmt "] ?? [0, 0];
  return n_bytes >= 16 && start + n_bytes <= view.byteLength ? chunks : null;
}

const RATES = [1000, 768_000]; // Hz; what lies outside is a damaged header, and a second of it would be hours
const PCM = [1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]; // of an extensible header

// Channels and rate of a wav of plain 16-bit samples, as Python reads it; null for any other file. A browser that
// decodes it divides what is above zero by 32767.
export function readWav(bytes) {
  const view = new DataView(bytes);
  const chunks = findChunks(view);
  if (!chunks?.data) return null;
  const [form, length] = chunks["fmt "];
  const [start, promised] = chunks.data;
  const number = (place) => view.getUint16(form + place, true);
  const isPcm = number(0) === 1 || (number(0) === 0xfffe && length >= 40 && PCM.every((byte, i) => view.getUint8(form + 24 + i) === byte));
  const [n_channels, rate, bits] = [number(2), view.getUint32(form + 4, true), number(14)];
  if (!isPcm || bits !== 16 || !n_channels || number(12) !== 2 * n_channels || rate < RATES[0] || rate > RATES[1]) return null;
  const there = view.byteLength - start;
  const is_unknown = promised >= 0x7ffff000; // of writers to a pipe, who cannot know
  if (promised > there && !is_unknown) throw new Error(`cut short: its header promises ${promised} bytes of sound`);
  const n_frames = Math.floor(Math.min(promised, there) / (2 * n_channels));
  const channels = Array.from({ length: n_channels }, (_, channel) => {
    const samples = new Float32Array(n_frames);
    for (let i = 0; i < n_frames; i++)
      samples[i] = view.getInt16(start + 2 * (i * n_channels + channel), true) / 32768;
    return samples;
  });
  return { channels, rate };
}

// The rate at which a file was recorded, where its first bytes say so: decoded at another, it would be resampled by
// the browser, and not as Python does.
export function findRate(bytes) {
  const view = new DataView(bytes);
  const has = (place, letters) =>
    bytes.byteLength > place + 48 && [...letters].every((c, i) => view.getUint8(place + i) === c.charCodeAt(0));
  const chunks = findChunks(view);
  if (chunks) return view.getUint32(chunks["fmt "][0] + 4, true);
  if (has(0, "fLaC")) return view.getUint32(18) >>> 12;
  if (has(28, "\x01vorbis")) return view.getUint32(40, true);
  return 48000;
}
