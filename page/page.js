// The page itself: buttons, tiles, log, and what is said when something is wrong.

import { drawClip, LivePicture, markHertz, SHOWN_S } from "./draw.js";
import { Endpoint } from "./endpoint.js";
import * as kept from "./kept.js";
import { Listener } from "./listener.js";
import * as microphone from "./microphone.js";
import { concatenate, cutSecond, findRate, findWord, makeWav, mix, RATE, readWav, toCounts } from "./sound.js";
import { Teach } from "./teach.js";

const $ = (id) => document.getElementById(id);
const FADES_S = 1.5; // after which the large word gives way to "listening"
const HISTORY_S = 60; // of sound, to play again
const LOOK_BACK_S = 1.3; // where a word lies that is heard now
const MAX_SECONDS = 60;
const MAX_BYTES = 20e6;
const LOG_LENGTH = 50;
const STREAM = "stream"; // what ends the address of a network that keeps its state
const LATE_S = 1; // behind which the page says so
const SILENT_MS = 2000; // without a word of the worker's, after which the page says so
const HINTS = {
  live: "press the button, or the space bar, and speak",
  word: "press the button and say one word",
  teach: "type a word below, and record it five times",
};
const NAMES = { silence: "nothing", unknown: "not a command" };

const percent = (p) => (p < 0.005 ? "under 1 %" : `${Math.round(100 * p)} %`);
const nameOf = (label) => NAMES[label] ?? label;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

let info; // of the network that answers
let picture;
let mode = "live";
let isReadHere = false; // whether Python on this computer reads what the browser cannot
let source = null; // the microphone, while it is open
let listens = false; // whether what the worker hears is of now: it goes on for a moment when the microphone is closed
let turn = 0; // counts what opens and closes the microphone: what was asked before the last of them is stale
let pending = 0; // openings, closings and loadings under way
let history, endpoint, entries = [], heardWords;
let shownClip = null; // of "one word": {clip, label}
let deaf = []; // from when to when, by the clock, the page itself plays what would be heard again
let lastCame = 0; // when the worker last told something
let delays = [];
const listener = new Listener(onHeard, onBroken);

// What is said

function complain(text) {
  $("problem").hidden = !text;
  $("problem").firstElementChild.textContent = text;
}

function announce(text) {
  $("say").textContent = "";
  requestAnimationFrame(() => ($("say").textContent = text)); // said again, also where it is the same word
}

function setState(title, hint) {
  $("state").textContent = title;
  $("hint").textContent = hint;
}

function rest() {
  $("microphone").setAttribute("aria-pressed", "false");
  $("microphone").querySelector("span").textContent = { live: "Listen", word: "Record one word", teach: "Record" }[mode];
  document.title = "Spoken commands";
  $("level").firstElementChild.style.width = "0";
  const fault = microphone.findFault();
  $("microphone").disabled = !info || Boolean(fault) || pending > 0;
  if (pending) return; // whose state is shown
  if (!info) setState("No network", "choose another one below");
  else if (fault) setState("No microphone", fault);
  else setState("Ready", HINTS[mode]);
}

// What is served

// A server that does not answer is told from what one answers.
async function ask(address, settings) {
  const response = await fetch(address, settings).catch(() => {
    throw new Error(whatIsGone());
  });
  if (response.ok) return response;
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain"); // a static host's may be a page
  throw new Error(isText ? await response.text() : `${address}: status ${response.status}`);
}

const whatIsGone = () => `the server does not answer: ${isReadHere ? "start python app.py again" : "load this page again later"}`;

// Which network

async function start() {
  const { models, reads_sounds } = await (await ask("models.json")).json();
  // Python reads sounds for the browser only where both are on one computer.
  isReadHere = reads_sounds && /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
  $("model").replaceChildren(
    ...models.flatMap(({ name, folder, ready, has_stream }) => {
      const option = (called, form) => {
        const made = new Option(ready ? called : `${called} (to be prepared: half a minute)`, folder + form);
        Object.assign(made.dataset, { name: called, folder });
        return made;
      };
      return [option(name, ""), ...(has_stream ? [option(`${name}, keeping its state`, STREAM)] : [])];
    }),
  );
  await choose($("model").options[0].value);
  $("starting").hidden = true;
}

// One after the other, so that page and worker have the same one.
let chosen = Promise.resolve();
const choose = (choice) => (chosen = chosen.then(() => load(choice)));

// Of the network, what listens live: the form that keeps its state, if that was chosen. What is taught needs whole seconds.
const form = () => (info.isStream && !info.isTaught ? info.stream : info);

async function load(choice) {
  const hadFocus = document.activeElement === $("model");
  $("model").disabled = $("threshold").disabled = true; // a rule is that of the network which is there
  pending++;
  await halt("Stopped.");
  const option = [...$("model").options].find(({ value }) => value === choice);
  const { folder } = option.dataset;
  const isStream = choice !== folder;
  setState("Starting", `the network ${option.dataset.name} is being loaded`);
  try {
    const next = await (await ask(`${folder}model.json`)).json();
    const [url, stream_url] = ["model", STREAM].map((name) => new URL(`${folder}${name}.tflite`, location.href).href);
    const { step_s } = await listener.ask("load", { url, stream_url: isStream ? stream_url : null, info: next });
    info = next;
    if (isStream) info.stream.step_s = step_s;
    Object.assign(info, { folder, choice, isStream, isTaught: false });
    info.commands = info.labels.filter((label) => !(label in NAMES));
    if ((await teach.clips().catch(() => [])).length) await teach.learn();
    for (const made of $("model").options) if (made.dataset.folder === folder) made.textContent = made.dataset.name;
    complain("");
    show();
  } catch (error) {
    const reason = error.gone ? whatIsGone() : error.message;
    complain(`The network ${option.dataset.name} cannot be used (${reason}).${info ? " The one before still answers." : ""}`);
    if (info) $("model").value = info.choice;
  }
  pending--;
  $("model").disabled = false;
  $("threshold").disabled = !info;
  if (hadFocus) $("model").focus();
  rest();
}

function show() {
  const keywords = info.labels.filter((label) => !(label in NAMES));
  heardWords = new Map();
  $("tiles").replaceChildren(
    ...keywords.map((label) => {
      const tile = document.createElement("li");
      tile.append(Object.assign(document.createElement("b"), { textContent: label }), document.createElement("small"));
      heardWords.set(label, { tile, times: 0 });
      return tile;
    }),
  );
  const strips = info.labels.map((label, index) => ({ label, index, other: label === "unknown" }));
  const shown = strips.filter(({ label }) => label !== "silence");
  $("strip_names").replaceChildren(
    ...shown.map(({ label, other }) =>
      Object.assign(document.createElement("span"), { textContent: other ? "other word" : label, className: other ? "other" : "" }),
    ),
  );
  const canvases = { pins: $("pins"), spectrogram: $("spectrogram"), strips: $("strips") };
  picture = new LivePicture(canvases, shown, form().step_s, still.matches);
  picture.draw();
  $("model_text").textContent = [
    info.model,
    info.dataset?.replace(/ \(.*/, ""),
    info.test_accuracy && `test ${info.test_accuracy.toFixed(3)}`,
    form().bytes && `${Math.round(form().bytes / 1000)} kB`,
    info.isStream && (info.isTaught ? "with words you taught, it hears whole seconds" : "live, it hears each moment once"),
  ].filter(Boolean).join(" · ");
  $("threshold").value = Math.round(100 * form().rule.threshold);
  showThreshold();
  $("examples").replaceChildren(
    ...info.examples.map((word) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: `▶ ${word}` });
      button.setAttribute("aria-label", `Play and recognise the example ${word}`);
      button.onclick = () => playExample(word);
      return button;
    }),
  );
}

// What a threshold was measured to miss and to invent, where it was.
function showThreshold() {
  const threshold = $("threshold").value / 100;
  $("threshold_value").textContent = `${$("threshold").value} %, on average over ${form().rule.smoothing_s} s`;
  const nearest = (curve) => {
    const rows = form().quiet.filter((row) => row.curve === curve);
    return rows.reduce((a, b) => (!a || Math.abs(b.threshold - threshold) < Math.abs(a.threshold - threshold) ? b : a), null);
  };
  const [talk, noise] = [nearest("talk"), nearest("noise")];
  const missed = 1 - (talk ?? noise)?.matched;
  const often = (x) => (x < 10 ? Number(x.toFixed(1)) : Math.round(x));
  const alarms = [talk && `${often(talk.false_alarms_per_hour)} in talk`, noise && `${often(noise.false_alarms_per_hour)} in noise, real and made`];
  $("measured").textContent = talk || noise
    ? `measured: misses ${percent(missed)} of words; false alarms an hour: ${alarms.filter(Boolean).join(", ")}`
    : "misses and false alarms were not measured for this network";
}

// Listening

async function toggle() {
  if (source || teach.word) return halt("Stopped.");
  if (mode === "teach") return teach.begin($("teach_word").value);
  if (isStale) await learnAnew();
  return open();
}

async function open() {
  if ($("microphone").disabled) return;
  complain("");
  muteShown = "";
  $("microphone").disabled = true;
  setState("Asking for the microphone", "your browser may ask you to allow it");
  const mine = ++turn;
  pending++;
  let opened, fault;
  try {
    opened = await microphone.open(async (reason) => {
      await halt("");
      complain(reason);
    });
    if (mine === turn) {
      source = opened;
      history = { parts: [], first: 0, n: 0, at: 0 };
      endpoint = { live: null, word: new Endpoint(), teach: idle }[mode];
      delays = [];
      picture = new LivePicture(picture.canvases, picture.labels, form().step_s, still.matches);
      entries.forEach((entry) => (entry.done = true));
      listens = true;
      lastCame = Date.now();
      await listener.ask("listen", { sound: source.sound }, [source.sound]);
    }
  } catch (error) {
    fault = error;
  }
  pending--;
  if (fault || mine !== turn) {
    opened?.close();
    if (mine === turn) {
      source = null;
      listens = false;
      complain(fault.message);
    }
    return rest();
  }
  $("microphone").disabled = false;
  $("microphone").setAttribute("aria-pressed", "true");
  $("microphone").querySelector("span").textContent = "Stop";
  document.title = "● listening · Spoken commands";
  if (mode !== "teach") tellListening();
  $("word").textContent = "listening";
  return true;
}

const idle = { push: () => null }; // while the page counts down

const tellListening = () => setState("Listening", mode === "live" ? "say a word below, at your own pace" : "say one word");

// Live, what was said before is heard to its end.
async function stop() {
  turn++;
  if (!source) return;
  source.close();
  source = null;
  pending++;
  setState("Stopping", "what was said is heard to its end");
  rest();
  await listener.ask("stop", { finish: mode === "live" }).catch((error) => complain(error.message));
  pending--;
  listens = false;
  entries.forEach((entry) => keepClip(entry, true));
  if (!shown) fade();
  rest();
}

// With the microphone ends the recording of a word, which learns what it has.
const halt = (reason) => (teach.word ? teach.end(reason) : stop());

async function onBroken(reason) {
  await halt("");
  complain(`Listening has failed (${reason}): press the button again, or load this page again.`);
}

setInterval(() => {
  if (source && listens && Date.now() - lastCame > SILENT_MS)
    complainOnce("No sound has come for two seconds: the microphone may be gone, or the computer too busy.");
}, 500);

function soundBetween(first, end) {
  const whole = concatenate(history.parts, Int16Array);
  return whole.subarray(Math.max(0, first - history.first), Math.max(0, end - history.first));
}

// By the page's clock, when a sample was there.
const clockOf = (sample) => history.at - ((history.n - sample) / RATE) * 1e3;

// What the page plays itself is not heard.
const isDeaf = (seconds) => deaf.some(({ from, until }) => clockOf(seconds * RATE) > from && clockOf(seconds * RATE) < until);

function onHeard({ steps, counts, frames, at, behind_s, lost_s, sound_s, busy_ms, muted }) {
  if (!listens) return;
  lastCame = Date.now();
  history.parts.push(counts);
  history.n += counts.length;
  history.at = at;
  while (history.n - history.first > HISTORY_S * RATE) history.first += history.parts.shift().length;
  showLevel(counts);
  complainOnce(muted ? "The microphone gives nothing but zeros: it is muted, by a switch on it, or in the system's settings." : "");
  if (endpoint) return hearOneWord(counts);
  picture.addFrames(frames);
  picture.now = history.n / RATE;
  for (const step of steps) {
    picture.addStep(step.step, step.smoothed, form().rule.threshold + step.veto);
    if (step.near && !isDeaf(step.near.seconds)) addEntry(step.near);
    if (isDeaf(step.step * form().step_s)) continue;
    if (step.heard) addEntry({ kind: "heard", ...step.heard });
    else if (rising) follow(step);
  }
  for (const entry of entries) keepClip(entry);
  $("lost").textContent = lost_s < 0.05 ? "no sound lost" : `${lost_s.toFixed(1)} s of sound lost: the computer may be too busy`;
  $("lost").className = lost_s < 0.05 ? "fine" : "bad";
  // For tests and measurements, which read what people need not.
  Object.assign(document.body.dataset, { lost: lost_s, sound: sound_s, busy: busy_ms, behind: behind_s });
  showDelay(behind_s);
  if (steps.length && !document.hidden) requestDraw();
}

let drawing = false;
function requestDraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    picture.draw();
  });
}

let muteShown = "";
function complainOnce(text) {
  if (text !== muteShown) complain((muteShown = text));
}

function showLevel(counts) {
  let power = 0;
  for (const x of counts) power += x * x;
  const db = 10 * Math.log10(power / Math.max(1, counts.length) / 32768 ** 2 + 1e-9);
  const level = Math.round(Math.max(0, Math.min(100, (db + 70) * 1.6)));
  $("level").firstElementChild.style.width = `${level}%`;
  $("level").setAttribute("aria-valuenow", level);
}

function showDelay(behind_s) {
  if (behind_s > LATE_S) $("delay").textContent = `${behind_s.toFixed(1)} s behind: all is heard, but late`;
  else if (delays.length) $("delay").textContent = `delay ${delays.at(-1).toFixed(2)} s`;
  else $("delay").textContent = "";
  $("delay").className = behind_s > LATE_S ? "bad" : "";
}

// A word, or nearly one: where it was said, in the log, on its tile, in large type.
function addEntry({ kind, label, seconds, probability }) {
  const now = Math.round(seconds * RATE);
  const from = Math.max(history.first, now - LOOK_BACK_S * RATE);
  const [first, last] = findWord(soundBetween(from, now)).map((sample) => from + sample);
  const word = nameOf(label);
  const text = { heard: word, perhaps: `${word}?`, other: word }[kind];
  const mark = { start: first / RATE, end: last / RATE, text, kind };
  picture.addMark(mark);
  const entry = { mark, kind, label, probability, first, last, at: clockOf(last), seen: Date.now(), clip: null, done: false };
  entry.row = makeRow(entry);
  entries.unshift(entry);
  showRows();
  if (kind !== "heard") return;
  rising = entry;
  light(label, probability);
  showWord(word);
  tell((shown = entry));
  announce(word);
}

// Not while a button of the log is pressed: one that moves beneath the finger does nothing.
let frame = 0;
function showRows() {
  cancelAnimationFrame(frame);
  if ($("log").matches(":active")) return (frame = requestAnimationFrame(showRows));
  for (const old of entries.splice(LOG_LENGTH)) old.row.remove();
  $("log").prepend(...entries.map(({ row }) => row).filter((row) => !row.isConnected));
}

// It may become surer yet, as long as the average stays above the threshold.
let rising = null;
let shown = null; // in large type
function follow({ row, smoothed }) {
  const index = info.labels.indexOf(rising.label);
  if (smoothed[index] < form().rule.threshold) rising = null;
  else if (row[index] > rising.probability) {
    rising.probability = row[index];
    if (rising === shown) tell(rising);
  }
}

function tell({ label, probability, delay }) {
  const after = delay === undefined ? "" : ` · heard ${delay.toFixed(1)} s after you said it`;
  $("word_text").textContent = `${percent(probability)} sure${after}`;
  const { tile } = heardWords.get(label);
  if (tile.className === "lit") tile.lastChild.textContent = percent(probability);
}

function makeRow(entry) {
  const row = document.createElement("li");
  row.className = entry.kind;
  const make = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text });
  const word = nameOf(entry.label);
  const play = make("button", "play", "▶");
  play.type = "button";
  play.setAttribute("aria-label", `Play ${word} again`);
  play.onclick = () => play_(entry.clip ?? cutAround(entry));
  const when = make("span", "when", "just now");
  entry.when = when;
  const what = { heard: word, perhaps: `perhaps ${word} (${percent(entry.probability)})`, other: word }[entry.kind];
  const wrong = make("button", "wrong", entry.kind === "heard" ? "wrong?" : "it was …");
  wrong.type = "button";
  wrong.setAttribute("aria-label", `${wrong.textContent} Say what it was instead of ${word}`);
  wrong.onclick = () => askWhat(entry.clip ?? cutAround(entry), wrong);
  row.append(play, when, make("span", "what", what), wrong);
  return row;
}

function cutAround(entry) {
  const middle = Math.round((entry.first + entry.last) / 2);
  return cutSecond(concatenate(history.parts, Int16Array), middle - RATE / 2 - history.first);
}

// The second around a word, once it is there: then also its end is known, which may come after it is heard.
function keepClip(entry, now = false) {
  if (entry.clip || entry.done) return;
  if (!now && history.n < entry.last + RATE / 2) return;
  const from = Math.max(history.first, entry.first - RATE / 10);
  const [first, last] = findWord(soundBetween(from, Math.min(entry.last + RATE / 2, from + 1.2 * RATE)));
  [entry.first, entry.last] = [from + first, from + last];
  Object.assign(entry.mark, { start: entry.first / RATE, end: entry.last / RATE });
  entry.clip = cutAround(entry);
  if (entry.kind !== "heard") return;
  entry.delay = Math.max(0, entry.seen - clockOf(entry.last)) / 1e3;
  delays.push(entry.delay);
  if (entry === shown) tell(entry);
}

function light(label, probability) {
  const word = heardWords.get(label);
  word.times++;
  word.tile.className = "lit";
  word.tile.lastChild.textContent = percent(probability);
  clearTimeout(word.timer);
  word.timer = setTimeout(() => {
    word.tile.className = "";
    word.tile.lastChild.textContent = word.times > 1 ? `heard ${word.times}×` : "heard ✓";
  }, 1e3 * FADES_S);
}

let fading;
function showWord(word) {
  const large = $("word");
  large.textContent = word;
  large.className = "big";
  void large.offsetWidth; // so that the same word, said again, is seen to come again
  large.classList.add("anew");
  clearTimeout(fading);
  fading = setTimeout(fade, 1e3 * FADES_S);
}

function fade() {
  clearTimeout(fading);
  shown = null;
  $("word").className = "big faded";
  $("word").textContent = source ? "listening" : "…";
  const last = entries.find(({ kind }) => kind === "heard");
  $("word_text").textContent = last ? `last heard: ${nameOf(last.label)}` : source ? "Nothing was heard yet." : "Nothing was heard.";
}

setInterval(() => {
  for (const { at, when } of entries) {
    const seconds = Math.round((Date.now() - at) / 1e3);
    const text = seconds < 2 ? "just now" : seconds < 60 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
    if (when.textContent !== text) when.textContent = text;
  }
}, 1000);

// One word

async function hearOneWord(counts) {
  const found = endpoint.push(counts);
  if (!found) return;
  endpoint = new Endpoint(); // what comes until the microphone is closed
  const counts_heard = soundBetween(found.start, found.end);
  if (mode === "teach") {
    endpoint = idle;
    return teach.take(found.none ? null : counts_heard);
  }
  const ended = clockOf(found.word_end);
  const stopped = stop();
  if (found.none) {
    await stopped;
    return muteShown || complain("No word was heard: speak a little louder, or nearer to the microphone, and try again.");
  }
  try {
    await answer({ counts: counts_heard }); // without waiting for what is closed
    $("answer").dataset.late = (Date.now() - ended) / 1e3;
  } catch (error) {
    complain(`The word cannot be answered (${error.message}): load this page again.`);
  }
}

async function answer(sound) {
  const { row, counts, start, clip, frames, took_ms } = await listener.ask("recognise", sound);
  const order = [...row.keys()].sort((a, b) => row[b] - row[a]);
  const [best, next] = order;
  const sure = isSure(row, best);
  const [first, second] = [best, next].map((i) => `${nameOf(info.labels[i])} ${percent(row[i])}`);
  const word = sure ? nameOf(info.labels[best]) : "not sure";
  Object.assign($("clip_wrong"), { textContent: "wrong?", disabled: false });
  const text = sure ? `${nameOf(info.labels[best])}, ${percent(row[best])}. Next: ${second}` : `Perhaps ${first}, or ${second}.`;
  $("answer_word").textContent = word;
  $("answer_text").textContent = text;
  $("clip").hidden = false;
  markHertz(document.querySelector("#clip .hertz"));
  const seconds = Math.max(1, counts.length / RATE);
  $("clip_seconds").replaceChildren(
    ...[0, seconds / 2, seconds].map((s) => Object.assign(document.createElement("span"), { textContent: `${Number(s.toFixed(1))} s` })),
  );
  const box = counts.length > RATE ? `; the second from ${(start / RATE).toFixed(1)} s on was heard` : "";
  $("clip_picture").setAttribute("aria-label", `Spectrogram of the sound${box}`);
  drawClip($("clip_picture"), frames, counts.length, start);
  shownClip = { clip, counts, frames, start };
  Object.assign($("answer").dataset, { probabilities: Array.from(row).join(" "), label: info.labels[best], took: took_ms });
  announce(sure ? word : `not sure: ${text}`);
  if (sure && heardWords.has(info.labels[best])) light(info.labels[best], row[best]);
}

// As Recogniser.are_sure in Python.
function isSure(row, best) {
  const isNone = (label) => label === "silence" || label === "unknown";
  const [nones, commands] = [true, false].map((none) => row.filter((_, i) => isNone(info.labels[i]) === none));
  const none = nones.reduce((sum, probability) => sum + probability, 0);
  const [first = 0, second = 0] = commands.sort((one, other) => other - one);
  if (!row[best]) return false; // no sound at all, and no label that says so
  return isNone(info.labels[best]) ? none >= info.sure * first : first >= info.sure * Math.max(none, second);
}

async function hearFile(file) {
  await setMode("word");
  complain("");
  try {
    await answer(await readFile(file));
  } catch (error) {
    complain(`${file.name} cannot be heard: ${error.message}.`);
  }
}

// A sound file as {waveform, rate}: by the browser at the file's own rate, or by Python, where that serves the page on
// this computer.
async function readFile(file) {
  if (!file.size) throw new Error("empty file");
  if (file.size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES / 1e6} MB`);
  const { channels, rate } = await decode(await file.arrayBuffer());
  if (!channels[0]?.length) throw new Error("holds no sound");
  if (channels[0].length > MAX_SECONDS * rate)
    throw new Error(`longer than ${MAX_SECONDS} s: cut it, or use python predict.py --stream`);
  return { waveform: mix(channels), rate };
}

async function decode(bytes) {
  const plain = readWav(bytes);
  if (plain) return plain;
  try {
    const rate = findRate(bytes);
    const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice(0));
    return { channels: Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i)), rate };
  } catch {
    if (!isReadHere) throw new Error("this browser knows no such sound (convert it with ffmpeg -i FILE FILE.wav)");
    return readWav(await (await ask("sound", { method: "POST", body: bytes })).arrayBuffer());
  }
}

async function playExample(word) {
  await stop();
  complain("");
  try {
    const response = await ask(`${info.folder}examples/${encodeURIComponent(word)}.wav`);
    const { channels } = readWav(await response.arrayBuffer());
    const counts = toCounts(channels[0]);
    play_(counts);
    await answer({ counts });
  } catch (error) {
    complain(`The example cannot be played (${error.message}).`);
  }
}

let player, playing;
function play_(counts) {
  player?.pause();
  const url = URL.createObjectURL(new Blob([makeWav(counts)], { type: "audio/wav" }));
  player = new Audio(url);
  player.onended = player.onerror = () => URL.revokeObjectURL(url);
  const now = Date.now();
  const until = now + 1e3 * (counts.length / RATE + 1);
  deaf = [...deaf.filter((part) => part.until > now - 1e3 * HISTORY_S), { from: now, until }];
  if (source) {
    setState("Playing", "not listening while it plays");
    clearTimeout(playing);
    playing = setTimeout(() => source && tellListening(), until - now);
  }
  player.play().catch(() => complain("This browser plays no sound: look at its settings, and at the loudspeaker."));
}

// What was wrong

let isStale = false; // whether taught words have yet to learn from what was marked

async function askWhat(clip, button) {
  const dialog = $("wrong");
  const labels = [...info.labels.filter((label) => !(label in NAMES)), "unknown", "silence"];
  $("wrong_words").replaceChildren(
    ...labels.map((label) =>
      Object.assign(document.createElement("button"), {
        value: label,
        textContent: { unknown: "another word", silence: "no word at all" }[label] ?? label,
      }),
    ),
  );
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (!dialog.returnValue) return;
    try {
      await kept.keep(dialog.returnValue, clip);
      button.textContent = "kept";
      button.disabled = true;
      isStale = true;
    } catch (error) {
      complain(`This browser keeps nothing (${error?.message ?? "private window?"}): the clip was not kept.`);
    }
    showKept();
  };
  dialog.showModal();
}

const teach = new Teach({
  ask: (job, details) => listener.ask(job, details),
  commands: () => info?.commands ?? [],
  onLearned(labels, isTaught) {
    isStale = false;
    info.labels = labels;
    info.isTaught = isTaught;
    show();
  },
  complain,
  play: (counts) => play_(counts),
  open,
  close: stop,
  setState,
  announce,
  showKept,
  hear() {
    history = { parts: [], first: 0, n: 0, at: 0 };
    endpoint = new Endpoint();
  },
});

// Before listening: what was marked as wrong since.
async function learnAnew() {
  isStale = false;
  if (!(await teach.clips()).length) return;
  $("microphone").disabled = true;
  setState("Learning", "from what you marked as wrong");
  await teach.learn();
  $("microphone").disabled = false;
}

async function showKept() {
  const [n, taught] = await Promise.all([kept.count().catch(() => 0), teach.clips().catch(() => [])]);
  $("kept").hidden = !n && !taught.length;
  $("kept_forget").hidden = !n; // what was taught is removed word by word
  // Training would take a taught word for unknown: it knows twelve labels.
  $("kept_train").hidden = taught.length > 0;
  $("kept_enrol").hidden = !taught.length;
  const of = (number) => `${number} ${number === 1 ? "clip" : "clips"}`;
  const parts = [n && `${of(n)} kept`, taught.length && `${of(taught.length)} of taught words`];
  $("kept").firstElementChild.textContent = `${parts.filter(Boolean).join(" and ")} in this browser:`;
}

function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Buttons and keys

async function setMode(next) {
  if (next === mode) return;
  await halt("");
  mode = next;
  $("mode_live").setAttribute("aria-pressed", mode === "live");
  $("mode_word").setAttribute("aria-pressed", mode === "word");
  $("mode_teach").setAttribute("aria-pressed", mode === "teach");
  $("live").hidden = $("heard").hidden = mode !== "live";
  $("one").hidden = mode !== "word";
  $("teach").hidden = mode !== "teach";
  if (mode === "teach") await teach.show();
  $("sure").hidden = mode !== "live"; // of live listening alone
  for (const columns of document.querySelectorAll(".columns")) columns.classList.toggle("single", mode !== "live");
  rest();
  if (mode === "live") picture?.draw();
}

$("microphone").onclick = toggle;
$("mode_live").onclick = () => setMode("live");
$("mode_word").onclick = () => setMode("word");
$("mode_teach").onclick = () => setMode("teach");
$("problem").lastElementChild.onclick = () => complain("");
$("model").onchange = () => choose($("model").value);
$("threshold").oninput = () => {
  const { rule } = form();
  rule.threshold = $("threshold").value / 100;
  showThreshold();
  listener.ask("rule", { rule });
};
$("file").onchange = () => {
  const [file] = $("file").files;
  $("file").value = ""; // so that the same file can be chosen again
  if (file && info) hearFile(file);
};
$("clip_play").onclick = () => play_(shownClip.counts);
$("clip_wrong").onclick = () => askWhat(shownClip.clip, $("clip_wrong"));
$("kept_save").onclick = async () => save(await kept.pack(), kept.ARCHIVE);
$("kept_forget").onclick = async () => {
  await kept.forget();
  showKept();
};
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, select, button, dialog, label, a");
  if (busy || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === " ") {
    event.preventDefault();
    toggle();
  }
  if (event.key === "s" && history?.n) save(makeWav(soundBetween(history.n - SHOWN_S * RATE, history.n)), "last_10_s.wav");
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file && info) hearFile(file);
});
const redraw = () => {
  picture?.restyle();
  picture?.draw();
  if (shownClip && mode === "word") drawClip($("clip_picture"), shownClip.frames, shownClip.counts.length, shownClip.start);
};
addEventListener("resize", redraw);
dark.addEventListener("change", redraw);
document.addEventListener("visibilitychange", redraw);

markHertz(document.querySelector("#live .hertz"));
showKept();
start().catch((error) => {
  $("starting").hidden = true;
  complain(`The page cannot start (${error.message}).`);
});
