// The network's own thread: sound comes in, from the audio thread or from a file, and answers go to the page.
// A classic worker, since the runtime calls importScripts; the page's own modules are imported as they are.

const parts = Promise.all([import("./runtime/index.js"), import("./sound.js"), import("./decoder.js"), import("./taught.js")]);
// Seconds of zeros alone after which a microphone counts as muted; more of them once it has given sound, as some give
// zeros between words.
const [NOTHING_S, GATED_S] = [2, 20];
const CLOCK_S = 5; // over which the latest sound is compared with the clock
const LOST_S = 0.02; // what clocks that differ could never be apart after that time
const DRIFT = 5e-4; // by which the clocks of page and device may differ
const AT_ONCE = 8; // windows between two messages to the page, when much sound waits
const WARM_S = 2; // of silence, which a network that keeps its state hears first: as utils/nets/live.py

let runtime, network, model, session;
let stateful = null; // the form of the network that keeps its state, where that was chosen
let embedding, negatives; // for words that are taught
let taught = null; // {words, order} of those there are
const placed = new Map(); // of each recording, where its copies lie
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

async function fetchBytes(url) {
  const response = await fetch(url).catch((error) => {
    throw Object.assign(error, { gone: true });
  });
  if (!response.ok) {
    const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
    throw new Error(isText ? await response.text() : `${url}: status ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function compile(bytes) {
  const [{ loadLiteRt, loadAndCompile }] = await parts;
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
  return loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads: 1 } });
}

async function loadNetwork({ url, stream_url, info }) {
  const compiled = await compile(await fetchBytes(url));
  let kept = null;
  try {
    const { length } = await run(compiled, new Float32Array(16000));
    kept = stream_url ? new Stateful(await compile(await fetchBytes(stream_url))) : null;
    await kept?.warm();
    const other = [length, kept?.silent.row.length ?? length].find((n) => n !== info.labels.length);
    if (other) throw new Error(`${info.name} lists ${info.labels.length} labels, and its network has ${other}`);
  } catch (error) {
    compiled.delete();
    kept?.compiled.delete();
    throw error;
  }
  network?.delete(); // the one before answers until this one can
  stateful?.compiled.delete();
  [network, stateful, model, taught] = [compiled, kept, { ...info, base_labels: info.labels }, null];
  if (stateful) model.stream.step_s = stateful.step / 16000;
}

// Live, a network that keeps its state hears each step once; what is taught needs whole seconds.
const isStateful = () => stateful && !taught;

// What a file of utils/export.py --to stream holds: a step of sound and the state in, probabilities and the state out.
class Stateful {
  constructor(compiled) {
    this.compiled = compiled;
  }

  // What it answers to silence, and the state after that, with which a session begins.
  async warm() {
    const inputs = this.compiled.getInputDetails();
    const samples = inputs.find(({ name }) => name === "samples");
    if (!samples || inputs.some(({ dtype }) => dtype !== "float32")) throw new Error("it is no file of --to stream");
    this.step = samples.shape[1];
    let state = inputs.filter(({ name }) => name !== "samples").map(({ name, shape }) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return { name, shape, values: new Float32Array(size) };
    });
    for (let n = Math.ceil((WARM_S * 16000) / this.step); n; n--) {
      this.silent = await this.hear(state, new Float32Array(this.step));
      state = this.silent.state;
    }
  }

  // The next step: its probabilities, the state after it, and by how many frames the answers come late.
  async hear(state, waveform) {
    const { Tensor } = (await parts)[0];
    const inputs = { samples: new Tensor(waveform, [1, this.step]) };
    for (const { name, shape, values } of state) inputs[name] = new Tensor(values, Array.from(shape));
    const outputs = await this.compiled.run(inputs);
    const read = (name) => outputs[name].toTypedArray().slice();
    const heard = {
      row: read("probabilities"),
      state: state.map(({ name, shape }) => ({ name, shape, values: read(name) })),
      late: read("delay")[0],
    };
    for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
    return heard;
  }
}

// Probabilities of a second.
async function answer(waveform, before = null) {
  const row = await run(network, waveform);
  if (!taught) return row;
  taught.said = before ?? taught.words.probabilities(await run(embedding, waveform));
  return taught.combine(row, taught.said, taught.order);
}

async function run(by, waveform) {
  const { Tensor } = (await parts)[0];
  const input = new Tensor(waveform, [16000, 1]);
  const [output] = await by.run(input);
  const row = Float32Array.from(output.toTypedArray());
  input.delete();
  output.delete();
  return row;
}

class Session {
  // input: a stream of AudioData, or a port to which blocks come
  constructor(input, [, sound, { Decoder, NearMisses }]) {
    Object.assign(this, { input, sound });
    this.stateful = isStateful() ? stateful : null;
    const { rule, step_s } = this.stateful ? model.stream : model;
    this.decoder = new Decoder(model.labels, rule, step_s);
    this.near = new NearMisses(model.labels, rule, step_s);
    this.step = Math.round(step_s * sound.RATE);
    this.size = this.stateful ? this.step : sound.SECOND; // samples of which an answer comes
    this.samples = new Int16Array(this.stateful ? 0 : sound.SECOND); // a second without sound goes ahead
    const { state, row } = this.stateful?.silent ?? {};
    Object.assign(this, { state, row_ahead: row }); // of the silence before all sound
    this.drawn = new Int16Array(sound.SECOND / 100 + 160); // what the next frames of the picture begin with
    this.queue = [];
    this.hasSound = false;
    this.waiting_s = this.sound_s = this.missing_s = this.quiet_s = this.busy_ms = this.lost_s = 0;
    if (input instanceof MessagePort) input.onmessage = ({ data }) => this.receive(data);
    else this.reading = this.read(input.getReader()).catch((error) => this.fail(error));
  }

  fail(error) {
    if (this !== session) return;
    session = null;
    postMessage({ kind: "broken", message: String(error?.message ?? error) });
  }

  async read(reader) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this !== session) return done || reader.cancel();
      const channels = Array.from({ length: value.numberOfChannels }, (_, planeIndex) => {
        const samples = new Float32Array(value.numberOfFrames);
        value.copyTo(samples, { planeIndex, format: "f32-planar" });
        return samples;
      });
      const stamp = (value.timestamp + value.duration) / 1e3;
      this.receive({ samples: this.sound.mix(channels), rate: value.sampleRate, at: Date.now(), stamp, missing: 0 });
      value.close();
    }
  }

  receive(block) {
    this.came = performance.now();
    this.queue.push(block);
    this.waiting_s += block.samples.length / block.rate;
    this.keepTime(block);
    this.hear();
  }

  // Sound is lost where the clock goes on and samples do not, also after what was held up has come. Two clocks must say
  // so: when a block came, which is late where this worker is, and its stamp, which Chromium now and then corrects.
  keepTime(block) {
    const duration = block.samples.length / block.rate;
    this.sound_s += duration;
    this.missing_s = block.missing / block.rate;
    const ahead = [block.at, block.stamp ?? block.at].map((ms) => ms / 1e3 - this.sound_s);
    this.least = ahead.map((value, i) => Math.min(value, this.least?.[i] ?? value));
    // The page's time of a sample: as early as blocks have come, but for what the two clocks drift apart.
    this.clock = Math.min((this.clock ?? ahead[0]) + DRIFT * duration, ahead[0]);
    if (this.sound_s > (this.next_s ?? 0)) {
      const change = Math.min(...this.least.map((value, i) => value - (this.before?.[i] ?? value)));
      if (change > LOST_S) {
        this.lost_s += change;
        this.clock += change;
      }
      this.before = this.least;
      this.least = undefined;
      this.next_s = this.sound_s + CLOCK_S;
    }
    block.at = 1e3 * (this.sound_s + this.clock);
  }

  // Whether what waits makes a window whole.
  get isDue() {
    return this.waiting_s * this.sound.RATE >= this.size - this.samples.length;
  }

  hear() {
    const end = () => (this.hearing = null);
    this.hearing ??= this.hearDue().catch((error) => this.fail(error)).then(end);
  }

  async hearDue() {
    while ((this.isDue || (this.isLast && this.queue.length)) && this === session) {
      await this.hearSome();
      await pause(); // lets in what has come meanwhile
    }
  }

  // Hears out what the device, which is closed now, has given: as utils.stream.Stream.finish, with silence after it.
  async finish() {
    const asked = performance.now();
    let isOver = false;
    this.reading?.then(() => (isOver = true));
    // A port does not say when it has given all.
    const patience = this.reading ? 2000 : 100;
    while (!isOver && performance.now() - Math.max(asked, this.came ?? 0) < patience) await pause(10);
    this.isLast = true;
    const { RATE, SECOND, HOP } = this.sound;
    // Of a network that keeps its state, so much more as it looks ahead, and a step, as only whole ones are heard.
    const n_samples = SECOND / 2 + (this.stateful ? this.stateful.silent.late * HOP + this.step : 0);
    const at = (this.queue.at(-1)?.at ?? this.at ?? Date.now()) + (1e3 * n_samples) / RATE;
    this.queue.push({ samples: new Float32Array(n_samples), rate: RATE, at });
    this.waiting_s += n_samples / RATE;
    do {
      this.hear();
      await this.hearing;
    } while (this.queue.length && this === session);
  }

  async answer(waveform) {
    if (this.stateful) {
      const { row, state } = await this.stateful.hear(this.state, waveform);
      this.state = state;
      return row;
    }
    // Of taught words at every second step: what they rest on takes longer than the network, and 100 ms are enough.
    this.is_second = !this.is_second && this.said;
    const row = await answer(waveform, this.is_second ? this.said : null);
    this.said = taught?.said;
    return row;
  }

  follow(steps, row) {
    const step = this.decoder.decode(row);
    steps.push({ ...step, row, near: this.near.follow(step) });
  }

  // What waits, or as much of it as the page should see next.
  async hearSome() {
    const started = performance.now();
    const { sound } = this;
    const steps = [];
    const arrived = [];
    while (this.queue.length && steps.length < AT_ONCE) {
      const { samples, rate, at } = this.queue.shift();
      this.waiting_s -= samples.length / rate;
      this.at = at;
      const rest = rate === this.rate ? [] : (this.resampler?.finish() ?? []); // of what came at another rate
      if (rate !== this.rate) [this.rate, this.resampler] = [rate, new sound.Resampler(rate)];
      const counts = sound.toCounts(sound.concatenate([rest, this.resampler.push(samples)], Float32Array));
      arrived.push(counts);
      const isZero = samples.every((x) => x === 0);
      if (!isZero) this.quiet_s = 0;
      else if (!this.isLast || this.queue.length) this.quiet_s += samples.length / rate; // not of what finish adds
      this.hasSound ||= !isZero;
      this.samples = sound.concatenate([this.samples, counts], Int16Array);
      if (this.row_ahead) this.follow(steps, this.row_ahead);
      this.row_ahead = null;
      while (this.samples.length >= this.size) {
        const row = await this.answer(sound.toWaveform(this.samples.subarray(0, this.size)));
        this.samples = this.samples.slice(this.step);
        this.follow(steps, row);
      }
    }
    if (this !== session) return;
    if (this.isLast && !this.queue.length && steps.length) steps.at(-1).near ??= this.near.finish();
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
      behind_s: Math.max(0, Date.now() - this.at) / 1e3,
      sound_s: this.sound_s,
      lost_s: this.lost_s + this.missing_s,
      busy_ms: this.busy_ms,
      muted: this.quiet_s > (this.hasSound ? GATED_S : NOTHING_S),
    });
  }
}

const jobs = {
  async load(job) {
    session = null;
    await loadNetwork(job);
    return { step_s: model.stream?.step_s };
  },

  async listen({ sound }) {
    const loaded = await parts;
    session = new Session(sound, loaded);
    return {};
  },

  async stop({ finish }) {
    if (finish) await session?.finish();
    if (session?.input instanceof MessagePort) session.input.close();
    session = null;
    return {};
  },

  async rule({ rule }) {
    Object.assign((isStateful() ? model.stream : model).rule, rule);
    return {};
  },

  // Words from their recordings: [{id, word, cut}], of which a word of null is none of them.
  async teach({ recordings, alone, url }) {
    const [, , , { Words, arrange, combine, findNear, makeCopies, readNegatives }] = await parts;
    if (session) throw new Error("the microphone is still open");
    if (!recordings.some(({ word }) => word)) {
      taught = null;
      model.labels = model.base_labels;
      return { labels: model.labels, near: new Map(), isTaught: false };
    }
    if (!embedding) {
      negatives = JSON.parse(new TextDecoder().decode(await fetchBytes(`${url}embedding.json`)));
      negatives.rows = readNegatives(negatives);
      embedding = await compile(await fetchBytes(`${url}embedding.tflite`));
    }
    const by_word = new Map();
    const others = [];
    for (const { id, word, cut } of recordings) {
      if (!placed.has(id)) {
        const copies = [];
        for (const waveform of makeCopies(cut, negatives)) copies.push(await run(embedding, waveform));
        placed.set(id, copies);
      }
      if (!word) others.push(placed.get(id));
      else by_word.set(word, [...(by_word.get(word) ?? []), placed.get(id)]);
    }
    const words = new Words(by_word, negatives.rows, others, negatives);
    const order = arrange(model.base_labels, words.names, alone);
    taught = { words, order, combine };
    model.labels = order.labels;
    const commands = order.labels.filter((label) => model.base_labels.includes(label));
    return { labels: order.labels, near: findNear(by_word, negatives.rows, negatives.said, commands), isTaught: true };
  },

  // A whole recording: what its loudest second says.
  async recognise({ waveform, rate, counts }) {
    const [, sound] = await parts;
    const started = performance.now();
    counts ??= sound.toCounts(sound.resample(waveform, rate));
    const start = sound.loudestSecond(counts);
    const clip = sound.cutSecond(counts, start);
    let row = await answer(sound.toWaveform(clip));
    if (sound.isWordless(clip)) row = Float32Array.from(model.labels, (label) => (label === "silence" ? 1 : 0));
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
      postMessage({ kind: "failed", id: data.id, message: String(error?.message ?? error), gone: error?.gone });
    }
  });
};
