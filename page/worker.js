// The network's own thread: sound comes in, from the audio thread or from a file, and answers go to the page.
// A classic worker, since the runtime calls importScripts; the page's own modules are imported as they are.

const parts = Promise.all([import("./runtime/index.js"), import("./sound.js"), import("./decoder.js")]);
const NOTHING_S = 2; // of zeros alone, after which a microphone counts as muted
const CLOCK_S = 5; // over which the latest sound is compared with the clock
const LOST_S = 0.02; // what clocks that differ could never be apart after that time
const AT_ONCE = 8; // windows between two messages to the page, when much sound waits

let runtime, network, model, session;

async function loadNetwork({ url, info }) {
  const [{ loadLiteRt, loadAndCompile }] = await parts;
  const response = await fetch(url);
  if (!response.ok) throw new Error((await response.text()) || `${url}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!runtime) {
    const address = (name) => new URL(`runtime/${name}`, location.href).href;
    const printErr = (line) => /^(INFO|WARNING)/.test(line) || console.error(line);
    self.Module = { locateFile: address, printErr }; // the runtime would look beside this file
    // The processor answers in milliseconds; looked for and not found, a GPU would be complained of.
    const adapter = { limits: {}, features: new Set(), requestDevice: async () => null };
    Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => adapter } });
    runtime = loadLiteRt(address("litert_wasm_compat_internal.js"));
  }
  await runtime;
  const compiled = await loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
  network?.delete();
  [network, model] = [compiled, info];
  const { length } = await answer(new Float32Array(16000));
  if (length !== info.labels.length)
    throw new Error(`${info.name} lists ${info.labels.length} labels, and its network has ${length}`);
}

// Probabilities of a second.
async function answer(waveform) {
  const { Tensor } = (await parts)[0];
  const input = new Tensor(waveform, [16000, 1]);
  const [output] = await network.run(input);
  const row = Float32Array.from(output.toTypedArray());
  input.delete();
  output.delete();
  return row;
}

class Session {
  constructor(port, rate, [, sound, { Decoder, NearMisses }]) {
    Object.assign(this, { port, rate, sound });
    this.decoder = new Decoder(model.labels, model.rule, model.step_s);
    this.near = new NearMisses(model.labels, model.rule, model.step_s);
    this.resampler = new sound.Resampler(rate);
    this.samples = new Int16Array(sound.SECOND); // a second without sound goes ahead
    this.drawn = new Int16Array(sound.SECOND / 100 + 160); // what the next frames of the picture begin with
    this.queue = [];
    this.n_in = this.missing = this.quiet = this.busy_ms = this.lost_s = 0;
    this.step = model.step_s * sound.RATE;
    port.onmessage = ({ data }) => {
      this.queue.push(data);
      this.keepTime(data);
      this.hear();
    };
  }

  // Sound is lost where the clock goes on and samples do not: also after the sound that was held up has come.
  keepTime({ samples, at, missing }) {
    this.n_in += samples.length;
    this.missing = missing;
    this.newest = at;
    const ahead = at / 1e3 - this.n_in / this.rate;
    this.least = Math.min(this.least ?? ahead, ahead);
    if (this.n_in > (this.next ?? 0)) {
      const change = this.least - (this.before ?? this.least);
      if (change > LOST_S) this.lost_s += change;
      this.before = this.least;
      this.least = undefined;
      this.next = this.n_in + CLOCK_S * this.rate;
    }
  }

  async hear() {
    if (this.hearing) return;
    this.hearing = true;
    while (this.queue.length) {
      await this.hearSome();
      await new Promise((resume) => setTimeout(resume)); // lets in what has come meanwhile
    }
    this.hearing = false;
  }

  // What waits, or as much of it as the page should see next.
  async hearSome() {
    const started = performance.now();
    const { sound } = this;
    const steps = [];
    const arrived = [];
    while (this.queue.length && steps.length < AT_ONCE) {
      const { samples, at } = this.queue.shift();
      this.at = at;
      const counts = sound.toCounts(this.resampler.push(samples));
      arrived.push(counts);
      this.quiet = samples.every((x) => x === 0) ? this.quiet + samples.length : 0;
      this.samples = sound.concatenate([this.samples, counts], Int16Array);
      while (this.samples.length >= sound.SECOND) {
        const row = await answer(sound.toWaveform(this.samples.subarray(0, sound.SECOND)));
        this.samples = this.samples.slice(this.step);
        const step = this.decoder.decode(row);
        steps.push({ ...step, near: this.near.follow(step) });
      }
    }
    if (this !== session) return;
    const counts = sound.concatenate(arrived, Int16Array);
    const pending = sound.concatenate([this.drawn, counts], Int16Array);
    const frames = sound.logMel(pending);
    this.drawn = pending.slice((frames.length / sound.N_MELS) * sound.HOP);
    this.busy_ms += performance.now() - started;
    postMessage({
      kind: "heard",
      steps,
      counts,
      frames,
      at: this.at, // by the clock, of the last sample
      behind_s: Math.max(0, this.newest - this.at) / 1e3,
      sound_s: this.n_in / this.rate,
      lost_s: this.lost_s + this.missing / this.rate,
      busy_ms: this.busy_ms,
      muted: this.quiet > NOTHING_S * this.rate,
    });
  }
}

const jobs = {
  async load(job) {
    session = null;
    await loadNetwork(job);
    return {};
  },

  async listen({ port, rate }) {
    session = new Session(port, rate, await parts);
    return {};
  },

  async stop() {
    session?.port.close();
    session = null;
    return {};
  },

  async rule({ rule }) {
    Object.assign(model.rule, rule);
    return {};
  },

  // A whole recording: what its loudest second says.
  async recognise({ waveform, rate, counts }) {
    const [, sound] = await parts;
    const started = performance.now();
    counts ??= sound.toCounts(sound.resample(waveform, rate));
    const start = sound.loudestSecond(counts);
    const clip = sound.cutSecond(counts, start);
    let row = await answer(sound.toWaveform(clip));
    if (sound.isKnock(clip)) row = Float32Array.from(model.labels, (label) => (label === "silence" ? 1 : 0));
    return { row, counts, start, clip, frames: sound.logMel(counts), took_ms: performance.now() - started };
  },
};

let last = Promise.resolve();

// One after the other, so that no sound is answered by a network that is being replaced.
onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      postMessage({ kind: "done", id: data.id, result: await jobs[data.job](data) });
    } catch (error) {
      postMessage({ kind: "failed", id: data.id, message: String(error?.message ?? error) });
    }
  });
};
