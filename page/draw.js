// Pictures: the last ten seconds as they come in, and a whole clip. All of them in the colours of the page.

import { HOP, melPlace, N_MELS, RATE } from "./sound.js";

export const SHOWN_S = 10;
const FRAME_S = HOP / RATE;
const N_FRAMES = SHOWN_S / FRAME_S;
const LOW = -13.5; // log-mel of quiet, and of loud, speech: the two ends of the colours
const HIGH = 3.5;
const STRIP = 20; // CSS pixels
const COLUMN_S = 0.05; // of the strips
const N_COLUMNS = SHOWN_S / COLUMN_S;
// Dark to bright, as matplotlib's magma does it.
const STOPS = [[0, 0, 4], [40, 17, 89], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]];
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (STOPS.length - 1);
  const k = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[k].map((from, c) => Math.round(from + (STOPS[k + 1][c] - from) * (place - k)));
});

function paint(image, column, frames, frame) {
  for (let mel = 0; mel < N_MELS; mel++) {
    const value = (frames[frame * N_MELS + mel] - LOW) / (HIGH - LOW);
    const colour = COLOURS[Math.max(0, Math.min(255, Math.round(255 * value)))];
    const place = 4 * ((N_MELS - 1 - mel) * image.width + column);
    image.data.set(colour, place);
    image.data[place + 3] = 255;
  }
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function fit(canvas) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Marks of an axis in hertz, beside a picture of mel bins.
export function markHertz(element) {
  element.replaceChildren(
    ...[300, 1000, 2000, 4000].map((hz) => {
      const mark = document.createElement("span");
      mark.textContent = `${hz.toLocaleString("en")} Hz`;
      mark.style.top = `${100 * (1 - (melPlace(hz) + 0.5) / N_MELS)}%`;
      return mark;
    }),
  );
}

export class LivePicture {
  // canvases: pins, spectrogram, strips; labels: of the strips, from the top; step_s: seconds of a step.
  constructor(canvases, labels, step_s, still) {
    Object.assign(this, { canvases, labels, step_s, still });
    this.sheet = document.createElement("canvas"); // a ring of columns, one for each frame
    this.sheet.width = N_FRAMES;
    this.sheet.height = N_MELS;
    this.ring = this.sheet.getContext("2d", { willReadFrequently: true });
    this.ring.fillStyle = `rgb(${COLOURS[0]})`;
    this.ring.fillRect(0, 0, N_FRAMES, N_MELS);
    this.n_frames = 0;
    // The strips likewise: as many columns for each step as it lasts, drawn once.
    this.rows = document.createElement("canvas");
    this.rows.width = N_COLUMNS;
    this.rows.height = 2 * STRIP * labels.length;
    this.steps = []; // {number, values, sure}
    this.marks = []; // {start, end, text, kind}
    this.now = 0;
    canvases.strips.style.height = `${STRIP * labels.length}px`;
    this.restyle();
  }

  restyle() {
    const names = ["text", "quiet", "accent", "accent_soft", "other", "line", "back", "on_accent"];
    this.colours = Object.fromEntries(names.map((name) => [name, style(name)]));
    this.rows.getContext("2d").clearRect(0, 0, N_COLUMNS, this.rows.height);
    for (const step of this.steps) this.paintStep(step);
  }

  addFrames(frames) {
    const n = Math.min(N_FRAMES, frames.length / N_MELS);
    if (!n) return;
    const first = frames.length / N_MELS - n;
    const image = this.ring.createImageData(n, N_MELS);
    for (let i = 0; i < n; i++) paint(image, i, frames, first + i);
    const column = this.n_frames % N_FRAMES;
    this.ring.putImageData(image, column, 0);
    this.ring.putImageData(image, column - N_FRAMES, 0);
    this.n_frames += n;
  }

  addStep(number, values, sure) {
    const step = { number, values, sure };
    this.steps.push(step);
    if (this.steps.length > N_COLUMNS) this.steps.shift();
    this.paintStep(step);
  }

  // The column in which a step ends: what it heard last came before.
  columnOf(number) {
    return Math.round((number * this.step_s) / COLUMN_S);
  }

  paintStep({ number, values, sure }) {
    const end = this.columnOf(number);
    for (let column = Math.max(0, this.columnOf(number - 1)); column < end; column++) this.paintColumn(column % N_COLUMNS, values, sure);
  }

  paintColumn(column, values, sure) {
    const context = this.rows.getContext("2d");
    context.clearRect(column, 0, 1, this.rows.height);
    this.labels.forEach(({ index, other }, row) => {
      const tall = 2 * values[index] * (STRIP - 3);
      const { accent, accent_soft, other: grey } = this.colours;
      context.fillStyle = other ? grey : values[index] >= sure ? accent : accent_soft;
      context.fillRect(column, 2 * STRIP * (row + 1) - 2 - tall, 1, tall);
    });
  }

  addMark(mark) {
    this.marks.push(mark);
    while (this.marks.length > 40) this.marks.shift();
  }

  // Where a moment lies: scrolling, or, for those who want little motion, on a sheet that is written over.
  place(seconds, width) {
    if (this.still) return ((seconds % SHOWN_S) / SHOWN_S) * width;
    return (1 - (this.now - seconds) / SHOWN_S) * width;
  }

  draw() {
    this.drawSpectrogram();
    this.drawStrips();
  }

  // A ring of columns, the oldest left; or, on a sheet that is written over, as it is.
  unroll(context, sheet, n_columns, width, height) {
    context.imageSmoothingEnabled = false;
    const column = n_columns % sheet.width;
    if (this.still) {
      context.drawImage(sheet, 0, 0, width, height);
      context.fillStyle = this.colours.text;
      context.fillRect((column / sheet.width) * width, 0, 2, height);
      return;
    }
    const cut = ((sheet.width - column) / sheet.width) * width;
    context.drawImage(sheet, column, 0, sheet.width - column, sheet.height, 0, 0, cut, height);
    if (column) context.drawImage(sheet, 0, 0, column, sheet.height, cut, 0, width - cut, height);
  }

  drawSpectrogram() {
    const { context, width, height } = fit(this.canvases.spectrogram);
    this.unroll(context, this.sheet, this.n_frames, width, height);
    const pins = fit(this.canvases.pins);
    pins.context.font = "600 13px system-ui, 'DejaVu Sans', sans-serif";
    pins.context.textBaseline = "middle";
    let free = Infinity; // pins stand side by side: the newest first, and older ones where there is room
    for (const mark of this.marks.slice().reverse()) {
      if (mark.end < this.now - SHOWN_S) continue;
      const [from, to] = [this.place(mark.start, width), this.place(mark.end, width)];
      if (to < from) continue; // over the edge of a sheet that is written over
      const heard = mark.kind === "heard";
      context.lineWidth = 2;
      context.strokeStyle = heard ? "#ff7a1f" : "#d5dae6";
      context.setLineDash(heard ? [] : [4, 3]);
      context.strokeRect(from + 1, 1, Math.max(4, to - from - 2), height - 2);
      const size = pins.context.measureText(mark.text).width + 14;
      const middle = Math.max(0, Math.min(width - size, (from + to - size) / 2));
      const left = Math.min(middle, free - size);
      if (left < Math.max(0, middle - size)) continue;
      free = this.still ? Infinity : left - 3;
      pins.context.beginPath();
      pins.context.roundRect(left + 1, 3, size - 2, 21, 10);
      pins.context.fillStyle = heard ? this.colours.accent : this.colours.back;
      pins.context.strokeStyle = heard ? this.colours.accent : this.colours.other;
      pins.context.setLineDash(mark.kind === "perhaps" ? [3, 2] : []);
      pins.context.fill();
      pins.context.stroke();
      pins.context.fillStyle = heard ? this.colours.on_accent : this.colours.quiet;
      pins.context.fillText(mark.text, left + 7, 14);
    }
  }

  drawStrips() {
    const { context, width, height } = fit(this.canvases.strips);
    this.unroll(context, this.rows, this.steps.length ? this.columnOf(this.steps.at(-1).number) : 0, width, height);
    context.fillStyle = this.colours.line;
    this.labels.forEach((_, row) => context.fillRect(0, (row + 1) * STRIP - 1, width, 1));
  }
}

// A whole recording, with a box around the second that was heard.
export function drawClip(canvas, frames, n_samples, start) {
  const n_frames = Math.max(1, frames.length / N_MELS);
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [n_frames, N_MELS];
  const context = sheet.getContext("2d");
  const image = context.createImageData(n_frames, N_MELS);
  for (let i = 0; i < frames.length / N_MELS; i++) paint(image, i, frames, i);
  context.putImageData(image, 0, 0);
  const picture = fit(canvas);
  picture.context.imageSmoothingEnabled = false;
  picture.context.drawImage(sheet, 0, 0, picture.width, picture.height);
  picture.context.strokeStyle = "#ff7a1f";
  picture.context.lineWidth = 3;
  const scale = picture.width / Math.max(n_samples, RATE);
  picture.context.strokeRect(start * scale + 1.5, 1.5, Math.min(picture.width, RATE * scale) - 3, picture.height - 3);
}
