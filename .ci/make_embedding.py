"""Make pretrained/embedding.npz and .tflite: where words lie, for words that are taught from a few recordings.

pip install --no-deps --target google pyopen-wakeword
PYTHONPATH=google python .ci/make_embedding.py --raw data/raw

The convolutions are Google's speech embedding (Apache License 2.0), which that package holds. What is added comes from
the training speakers of the recordings, without the words that benchmarks.enrol teaches: a matrix after which all
directions differ as much between two recordings of a word, and places of sounds that are no taught word.
"""

import sys
from pathlib import Path

import numpy as np
import soxr

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.enrol import HELD_OUT, read_recordings
from benchmarks.quiet import lay_words
from utils import audio, corpus, negatives, trained
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import KEYWORDS, SILENCE
from utils.nets import speech_embedding
from utils.system import cli, espeak, files
from utils.system.cli import hold_back_notes
from utils.system.quiet import tf

SEED = 220788
SHRINK = 1.0  # of the covariance towards a sphere; chosen on validation
COUNTS = {"command": 30, "word": 500, "talk": 900, "voices": 500, "noise": 400}  # clips; of each command
SPEAKERS = 40  # of made talk, from the 300th on: others than the demos, tests and benchmarks have
BATCH = 64
SYLLABLES = ("ba", "con", "der", "fi", "gra", "lin", "mo", "ner", "pa", "quo", "ri", "sen", "ta", "ver", "wil", "zu")


def read_google():
    """Kernels and biases of Google's speech embedding, in order, as ``speech_embedding`` takes them."""
    import pyopen_wakeword
    from ai_edge_litert.interpreter import Interpreter

    path = Path(pyopen_wakeword.__file__).parent / "models" / "embedding_model.tflite"
    interpreter = Interpreter(str(path))
    weights = {}
    convolutions = [step for step in interpreter._get_ops_details() if step["op_name"] == "CONV_2D"]
    for index, step in enumerate(convolutions):
        kernel, bias = step["inputs"][1:3]
        weights[f"kernel_{index}"] = interpreter.get_tensor(kernel).transpose(1, 2, 3, 0).astype(np.float16)
        weights[f"bias_{index}"] = interpreter.get_tensor(bias).astype(np.float16)
    return weights


def whiten(places, words):
    """Matrix and shift by which differences between recordings of one word become alike in all directions."""
    inside = np.concatenate([places[words == word] - places[words == word].mean(axis=0) for word in np.unique(words)])
    spread = np.cov(inside.T)
    spread += SHRINK * np.trace(spread) / len(spread) * np.eye(len(spread))
    values, axes = np.linalg.eigh(spread)
    matrix = axes / np.sqrt(values)
    return matrix.astype(np.float32), (-places.mean(axis=0) @ matrix).astype(np.float32)


def speak_nonsense(rng, n_seconds):
    """Talk of no language by the built-in voices: int16."""
    speech, pieces, n_samples = espeak.Speech(), [], 0
    speakers = espeak.draw_speakers(300 + SPEAKERS)[300:]
    while n_samples < n_seconds * SAMPLE_RATE:
        speaker = speakers[rng.integers(SPEAKERS)]
        text = " ".join("".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(8))
        spoken = speech.say(text, speaker, int(rng.integers(1, 2**31))).astype(np.float32)
        sound = soxr.resample(spoken, speech.sample_rate, SAMPLE_RATE)
        sound *= 10 ** (speaker["peak_db"] / 20) / np.abs(sound).max()
        pieces.append(sound + 10 ** (speaker["noise_db"] / 20) * rng.standard_normal(len(sound)))
        n_samples += len(sound)
    return audio.to_counts(np.concatenate(pieces))


def cut(samples, n_clips, rng):
    """Seconds from anywhere in a recording."""
    starts = rng.integers(0, len(samples) - CLIP_SAMPLES, n_clips)
    return [samples[start : start + CLIP_SAMPLES] for start in starts]


def make_negatives(clips, words, noises, rng):
    """Sounds that are no taught word, and the command said in each, or nothing."""
    found, said = [], []
    for word in KEYWORDS:
        rows = rng.permutation(np.flatnonzero(words == word))[: COUNTS["command"]]
        found += list(clips[rows])
        said += [word] * len(rows)
    kept = ~np.isin(words, HELD_OUT)
    parts = [list(clips[rng.permutation(np.flatnonzero(kept))[: COUNTS["word"]]])]
    parts.append(cut(lay_words(clips[kept], rng), COUNTS["talk"], rng))
    parts.append(cut(speak_nonsense(rng, 600), COUNTS["voices"], rng))
    made, _ = negatives.make_all(SILENCE, COUNTS["noise"] // 2, clips[kept], [SEED, 1])
    parts += [list(made), cut(noises, COUNTS["noise"] // 2, rng)]
    for part in parts:
        found += part
    return np.stack(found), said + [""] * (len(found) - len(said))


def to_litert(weights):
    """The file that LiteRT runs, with weights of 16 bits: waveform [16000, 1] to place [n_dims]."""

    @tf.function(input_signature=[tf.TensorSpec((CLIP_SAMPLES, 1), tf.float32, name="waveform")])
    def embed(waveform):
        return {"place": speech_embedding.embed(tf.transpose(waveform), weights)[0]}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([embed.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    with hold_back_notes():
        return converter.convert()


def main(arguments=None):
    """Write both files."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", type=cli.path_text, default="data/raw", help="the recordings")
    options = parser.parse_args(arguments)
    rng, weights = np.random.default_rng(SEED), read_google()
    recordings = read_recordings(options.raw)
    is_training = recordings.sets == "train"
    clips, words = recordings.clips[is_training], recordings.words[is_training]
    last = {"matrix": np.eye(96, dtype=np.float32), "shift": np.zeros(96, np.float32)}
    embed = tf.function(lambda waveforms: speech_embedding.embed(waveforms, {**weights, **last}))

    def place(samples):
        starts = range(0, len(samples), BATCH)
        return np.concatenate([embed(audio.to_waveform(samples[start : start + BATCH])).numpy() for start in starts])

    kept = ~np.isin(words, HELD_OUT)
    matrix, shift = whiten(place(clips[kept]), words[kept])
    weights |= {"matrix": matrix, "shift": shift}
    folder = corpus.find_recordings(options.raw) / corpus.NOISE_FOLDER
    noises = [audio.read_wav(path) for path in corpus.list_wavs(folder)]
    noises = np.concatenate([noise[: len(noise) * 3 // 4] for noise in noises])
    sounds, said = make_negatives(clips, words, noises, rng)
    places = place(sounds) @ matrix + shift
    scale = np.float32(np.abs(places).max() / 127)
    stored = {"negatives": np.round(places / scale).astype(np.int8), "scale": scale, "said": np.array(said)}
    with files.new_file(trained.NEGATIVES) as file:
        np.savez_compressed(file, **weights, **stored)
    files.write_bytes(trained.EMBEDDING, to_litert(weights))
    for path in (trained.NEGATIVES, trained.EMBEDDING):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(cli.run(main))
