// Clips that were heard wrongly, kept in this browser with what they were, and saved as recordings that
// stand beside those in data/raw/train/audio.

import { concatenate, makeWav } from "./sound.js";

const NAME = "kept";
const TAUGHT = "taught"; // recordings of words that are taught here
export const ARCHIVE = "my_words.zip";
const OTHER = "other"; // folder of what is no command

function ask(mode, question, name = NAME) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("spoken commands", 2);
    opening.onupgradeneeded = () => {
      const there = opening.result.objectStoreNames;
      for (const each of [NAME, TAUGHT].filter((each) => !there.contains(each)))
        opening.result.createObjectStore(each, { autoIncrement: true });
    };
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction(name, mode);
      const request = question(transaction.objectStore(name));
      transaction.oncomplete = () => {
        opening.result.close();
        resolve(request.result);
      };
      transaction.onerror = () => reject(transaction.error);
    };
  });
}

// One speaker for each browser, so that no one is in training and in test.
function speaker() {
  let name = localStorage.getItem("speaker");
  if (!name) {
    name = Array.from(crypto.getRandomValues(new Uint8Array(4)), (x) => x.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("speaker", name);
  }
  return name;
}

export const keep = (label, counts) => ask("readwrite", (store) => store.add({ label, counts, speaker: speaker() }));
export const count = () => ask("readonly", (store) => store.count());
export const forget = () => ask("readwrite", (store) => store.clear());

// With the key of each: [{id, label, counts, ...}].
async function list(name) {
  let keys;
  const clips = await ask(
    "readonly",
    (store) => {
      keys = store.getAllKeys();
      return store.getAll();
    },
    name,
  );
  return clips.map((clip, i) => ({ ...clip, id: keys.result[i] }));
}

export const listKept = () => list(NAME);
export const listTaught = () => list(TAUGHT);
export const addTaught = (label, counts) =>
  ask("readwrite", (store) => store.add({ label, counts, speaker: speaker() }), TAUGHT);
export const removeTaught = (id) => ask("readwrite", (store) => store.delete(id), TAUGHT);
export const renameTaught = ({ id, ...clip }, label) => ask("readwrite", (store) => store.put({ ...clip, label }, id), TAUGHT);

// All of them in a zip: right/1f00ab34_nohash_1.wav, ... The number is one that no other clip of this browser ever has,
// also after they were forgotten.
export async function pack() {
  // The letter tells them from the others, so that no two have one name.
  const taught = (await listTaught()).map((clip) => ({ ...clip, id: `t${clip.id}` }));
  return zip(
    [...(await listKept()), ...taught].map(({ label, counts, speaker, id }) => {
      // Silence is cut from half a minute of a room or more: of a second, nothing would be learned.
      const folder = { unknown: OTHER, silence: OTHER }[label] ?? label;
      return { name: `${folder}/${speaker}_nohash_${id}.wav`, content: new Uint8Array(makeWav(counts)) };
    }),
  );
}

const CRC = Int32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? (i >>> 1) ^ 0xedb88320 : i >>> 1;
  return i;
});

// A zip without compression, with names in UTF-8.
export function zip(files) {
  const parts = [];
  const directory = [];
  let place = 0;
  for (const { name, content } of files) {
    const letters = new TextEncoder().encode(name);
    let sum = -1;
    for (const byte of content) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
    // Version, flags (UTF-8), method, time, date (1 January 1980), sum, sizes, length of the name, no more fields.
    const facts = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 33], [4, ~sum], [4, content.length], [4, content.length]];
    facts.push([2, letters.length], [2, 0]);
    const head = pack_numbers([[4, 0x04034b50], ...facts]);
    directory.push(
      pack_numbers([[4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, place]]),
      letters,
    );
    parts.push(head, letters, content);
    place += head.length + letters.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = [[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, place], [2, 0]];
  return concatenate([...parts, ...directory, pack_numbers(end)], Uint8Array);
}

function pack_numbers(numbers) {
  return Uint8Array.from(
    numbers.flatMap(([n_bytes, value]) => Array.from({ length: n_bytes }, (_, i) => (value >>> (8 * i)) & 255)),
  );
}
