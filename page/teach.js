// The tab Teach: words of one's own from a few recordings, kept in this browser and learned in it.

import * as kept from "./kept.js";
import { cutSecond, loudestSecond } from "./sound.js";
import { ClipError, cutWord } from "./taught.js";

const $ = (id) => document.getElementById(id);
const FEW = 3; // recordings, from which on a word is learned
const WANTED = 5;
const NEAR = 0.1; // share of another word's recordings that lie nearer to this one: from here on it is said
const MOST_LETTERS = 40;
const COUNT_MS = 500; // of the countdown's steps
const MADE = ["silence", "unknown", "other"]; // no words, but labels and a folder

const same = (a, b) => a.normalize().toLowerCase() === b.normalize().toLowerCase();

export class Teach {
  // page: {ask, commands, onLearned, complain, play, open, close, setState, announce}
  constructor(page) {
    this.page = page;
    this.word = null; // that is being recorded
    this.near = new Map();
    this.alone = localStorage.getItem("alone") === "yes";
    $("teach_alone").checked = this.alone;
    $("teach_alone").onchange = () => {
      this.alone = $("teach_alone").checked;
      localStorage.setItem("alone", this.alone ? "yes" : "no");
      this.learn().then(() => this.show());
    };
    $("teach_form").onsubmit = (event) => {
      event.preventDefault();
      this.begin($("teach_word").value);
    };
  }

  async clips() {
    return (await kept.listTaught()).map((clip) => ({ ...clip, word: clip.label }));
  }

  // Why a word cannot be taught under this name, or nothing.
  findFault(name) {
    if (!name) return "Type the word first, as it is to be called.";
    if (name.length > MOST_LETTERS) return "That is too long a name.";
    if (/[\p{Cc}<>:"/\\|?*,]|^[._]|[. ]$/u.test(name)) return `“${name}” cannot be the name of a file: letters and digits can.`;
    if (MADE.some((label) => same(label, name))) return `“${name}” is a label of its own: choose another name.`;
    if (!this.alone && this.page.commands().some((label) => same(label, name)))
      return `“${name}” is a command that the network knows already: teach another word.`;
    return "";
  }

  async begin(text) {
    if (this.word) return this.end("Stopped.");
    const typed = text.trim().normalize();
    const known = (await this.clips()).find(({ word }) => same(word, typed))?.word;
    const name = known ?? typed;
    const fault = this.findFault(name);
    this.say(fault);
    if (fault) return $("teach_word").focus();
    this.word = name;
    $("teach_go").textContent = "Stop";
    if (await this.page.open()) await this.countDown();
    else this.end("");
  }

  // Three, two, one: then the page listens for one word.
  async countDown() {
    const turn = (this.turn = {});
    const n_done = (await this.clips()).filter(({ word }) => word === this.word).length;
    for (const left of [3, 2, 1]) {
      this.page.setState(`${left} …`, `recording ${n_done + 1}: get ready to say “${this.word}”`);
      await new Promise((resume) => setTimeout(resume, COUNT_MS));
      if (this.turn !== turn || !this.word) return;
    }
    this.page.setState("Say it now", `“${this.word}”, recording ${n_done + 1} of ${Math.max(WANTED, n_done + 1)}`);
    this.page.hear();
  }

  // A recording came, or none did.
  async take(counts) {
    if (!this.word) return;
    try {
      if (!counts) throw new ClipError("nothing was said: speak a little louder, or nearer to the microphone");
      cutWord(counts);
      const clip = cutSecond(counts, loudestSecond(counts));
      cutWord(clip); // what is kept, and read again
      if ((await this.clips()).some((other) => other.counts.every((x, i) => x === clip[i])))
        throw new ClipError("it is the same recording as one before");
      await kept.addTaught(this.word, clip);
      this.say("");
    } catch (error) {
      if (!(error instanceof ClipError)) return this.end(`This browser keeps nothing (${error?.message ?? "private window?"}).`);
      this.say(`Again: ${error.message}.`);
    }
    await this.show();
    const n = (await this.clips()).filter(({ word }) => word === this.word).length;
    if (n < WANTED) return this.countDown();
    this.end("");
  }

  // The microphone is closed, and what was recorded is learned.
  async end(reason) {
    const word = this.word;
    this.word = this.turn = null;
    $("teach_go").textContent = "Record";
    await this.page.close();
    if (reason) this.say(reason);
    if (word) await this.learn(word);
    await this.show();
  }

  say(text) {
    $("teach_problem").textContent = text;
  }

  // Learn all words; the network that was loaded anew learns them again.
  async learn(word) {
    const clips = await this.clips();
    const n_of = (name) => clips.filter((clip) => clip.word === name).length;
    const words = [...new Set(clips.map((clip) => clip.word))].filter((name) => n_of(name) >= FEW);
    const started = performance.now();
    const isNew = word && words.includes(word);
    try {
      const recordings = clips.filter((clip) => words.includes(clip.word)).map(({ id, word, counts }) => ({ id: `t${id}`, word, cut: cutWord(counts) }));
      // What was marked as heard wrongly: a taught word, or none.
      for (const { id, label, counts } of words.length ? await kept.listKept().catch(() => []) : []) {
        try {
          recordings.push({ id: `k${id}`, word: words.includes(label) ? label : null, cut: cutWord(counts) });
        } catch {
          recordings.push({ id: `k${id}`, word: null, cut: counts }); // a noise
        }
      }
      if (isNew) $("teach_done").textContent = `Learning “${word}” …`;
      const { labels, near, isTaught } = await this.page.ask("teach", { recordings, alone: this.alone, url: new URL(".", location.href).href });
      this.near = near;
      this.page.onLearned(labels, isTaught);
      if (isNew) {
        const seconds = ((performance.now() - started) / 1e3).toFixed(1);
        $("teach_done").textContent = `“${word}” was learned in ${seconds} s. Go to Live and say it.`;
        this.page.announce(`${word} was learned`);
      }
    } catch (error) {
      $("teach_done").textContent = "";
      this.page.complain(`The words cannot be learned (${error.message}).`);
    }
  }

  async show() {
    const clips = await this.clips().catch(() => []);
    const words = [...new Set(clips.map(({ word }) => word))];
    $("teach_none").hidden = words.length > 0;
    $("teach_words").replaceChildren(...words.map((word) => this.row(word, clips.filter((clip) => clip.word === word))));
    this.page.showKept();
    if (this.word === null && !words.length) $("teach_done").textContent = "";
  }

  row(word, clips) {
    const make = (tag, settings, ...inside) => {
      const element = Object.assign(document.createElement(tag), settings);
      element.append(...inside);
      return element;
    };
    const button = (textContent, label, onclick) => {
      const made = make("button", { type: "button", textContent, onclick });
      made.setAttribute("aria-label", label);
      return made;
    };
    const change = async (task) => {
      if (this.word) return this.say("Stop recording first.");
      await task();
      await this.learn();
      await this.show();
    };
    const takes = clips.map((clip, i) =>
      make(
        "span",
        { className: "take" },
        button(`▶ ${i + 1}`, `Play recording ${i + 1} of ${word}`, () => this.page.play(clip.counts)),
        button("×", `Remove recording ${i + 1} of ${word}`, () => change(() => kept.removeTaught(clip.id))),
      ),
    );
    const rename = async () => {
      const name = prompt(`Call “${word}” otherwise:`, word)?.trim().normalize();
      if (!name || name === word) return;
      const taken = (await this.clips()).some((clip) => same(clip.word, name) && clip.word !== word);
      const fault = taken ? `“${name}” was taught already.` : this.findFault(name);
      this.say(fault);
      if (!fault) await change(() => Promise.all(clips.map((clip) => kept.renameTaught(clip, name))));
    };
    const { name, share } = this.near.get(word) ?? { share: 0 };
    const warning =
      clips.length < FEW
        ? `${FEW - clips.length} more and it can be learned.`
        : share >= NEAR
          ? `Near to ${name}: ${Math.round(100 * share)} % of the recordings of ${name} lie nearer to “${word}”. Choose a word that sounds less like it, or record more.`
          : "";
    return make(
      "li",
      {},
      make("p", { className: "row" }, make("b", { textContent: word }), ...takes),
      make("p", { className: "quiet", textContent: warning }),
      make(
        "p",
        { className: "row" },
        button("Record more", `Record more of ${word}`, () => this.begin(word)),
        button("Rename", `Rename ${word}`, rename),
        button("Remove", `Remove ${word}`, () => change(() => Promise.all(clips.map(({ id }) => kept.removeTaught(id))))),
      ),
    );
  }
}
