// When a word counts as heard: utils/stream.py's Decoder, line for line, one step at a time. Sums are rounded to
// 32 bits as numpy's are, so that both decide alike. The rule's numbers come from Python, in the model's JSON.

const { fround } = Math;
const roundToEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python does

export class Decoder {
  // labels: in the order of the network's answers; rule: stream.Rule; step_s: seconds from one step to the next.
  constructor(labels, rule, step_s) {
    this.labels = labels;
    this.rule = rule;
    this.step_s = step_s;
    this._keywords = labels.map((label, i) => i).filter((i) => !["silence", "unknown"].includes(labels[i]));
    this._unknown = labels.indexOf("unknown");
    [this._n_smoothed, this._n_veto] = [rule.smoothing_s, rule.veto_s].map((s) => Math.max(1, roundToEven(s / step_s)));
    const n_recent = Math.max(this._n_smoothed, this._n_veto);
    this._recent = Array.from({ length: n_recent }, () => new Float32Array(labels.length));
    this._step = 0;
    this._deaf_until = 0;
    this._last_sure = 0;
    this._said = null; // the word that has stayed sure since it was heard
  }

  // The next probabilities, averaged with those before them.
  smooth(row) {
    this._recent.push(row);
    this._recent.shift();
    return Float32Array.from(row, (_, label) => this._average(label, this._n_smoothed));
  }

  // Mean of a label's last n probabilities.
  _average(label, n) {
    let sum = 0;
    for (const row of this._recent.slice(-n)) sum = fround(sum + row[label]);
    return fround(sum / n);
  }

  // One step: averaged probabilities, what is taken off that of a word, and the word that is heard, if there is one.
  decode(row) {
    const smoothed = this.smooth(row);
    const step = this._step++;
    const best = this._keywords.reduce((a, b) => (smoothed[b] > smoothed[a] ? b : a));
    const doubt = this._unknown < 0 ? 0 : this._average(this._unknown, this._n_veto);
    const veto = fround(fround(this.rule.veto) * doubt);
    let heard = null;
    if (fround(smoothed[best] - veto) >= fround(this.rule.threshold)) {
      if (step > this._last_sure + 1) this._said = null;
      this._last_sure = step;
      if (step >= this._deaf_until && best !== this._said) {
        // As sure as it was in the surest of the steps that were averaged.
        const probability = Math.max(...this._recent.slice(-this._n_smoothed).map((before) => before[best]));
        heard = { seconds: step * this.step_s, label: this.labels[best], probability };
        this._deaf_until = step + this.rule.refractory_s / this.step_s;
        this._said = best;
      }
    }
    return { step, smoothed, veto, heard };
  }
}

const LEAST = 0.3; // average of a word that is worth a "perhaps"
const WAIT_S = 1; // a word that is being said may be heard yet

// What was not heard, but nearly: a word whose average rose to a part of the threshold and fell again, and
// what is no command. For the eye alone: no figure counts them. A sound has one row: none of these within a second
// of a word that was heard, and of two within a second one.
export class NearMisses {
  constructor(labels, rule, step_s, part = 0.6) {
    Object.assign(this, { labels, rule, step_s, part, _peak: null, _other: false, _since: null, _waits: null, _free_from: 0, _heard: "", _rose: false });
  }

  // The same step that the decoder has made: {kind: "perhaps" | "other", label, seconds, probability}, or null.
  follow({ step, smoothed, heard }) {
    const seconds = step * this.step_s;
    if (heard) {
      this._peak = this._waits = null;
      this._free_from = seconds + this.rule.refractory_s;
      [this._heard, this._rose] = [heard.label, false]; // until its average has risen and fallen
      return null;
    }
    const found = this._find(smoothed, seconds);
    if (found && found.seconds >= this._free_from && (!this._waits || found.kind === "perhaps"))
      this._waits = { found, until: seconds + WAIT_S };
    if (!this._waits || seconds < this._waits.until) return null;
    const told = this._waits.found;
    this._waits = null;
    this._free_from = Math.max(this._free_from, told.seconds + WAIT_S);
    return told;
  }

  // What still waits when nothing more comes.
  finish() {
    return this._waits?.found ?? null;
  }

  // What is no command, where it begins; nearly a word, once it has fallen.
  _find(smoothed, seconds) {
    const { threshold } = this.rule;
    const unknown = this.labels.indexOf("unknown");
    const is_other = unknown >= 0 && smoothed[unknown] >= Math.max(threshold, 0.5);
    this._since = is_other ? (this._since ?? seconds) : null;
    // What begins beside a word that was heard is a part of it, unless it goes on for a second.
    const is_free = this._since >= this._free_from || seconds >= this._free_from + WAIT_S;
    const begins = is_other && !this._other && is_free;
    this._other = is_other && (this._other || begins);
    if (begins) {
      this._peak = null;
      return { kind: "other", label: "unknown", seconds, probability: smoothed[unknown] };
    }
    let best = -1;
    this.labels.forEach((label, i) => {
      if (!["silence", "unknown"].includes(label) && (best < 0 || smoothed[i] > smoothed[best])) best = i;
    });
    const probability = smoothed[best];
    const least = Math.max(this.part * threshold, LEAST);
    if (this._heard && smoothed[this.labels.indexOf(this._heard)] >= least) this._rose = true;
    else if (this._rose || seconds >= this._free_from) this._heard = "";
    if (probability >= least && this.labels[best] !== this._heard) {
      if (!this._peak || probability > this._peak.probability)
        this._peak = { kind: "perhaps", label: this.labels[best], seconds, probability };
      return null;
    }
    const peak = this._peak;
    this._peak = null;
    return peak;
  }
}
