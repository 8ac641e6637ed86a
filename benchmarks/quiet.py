"""What a recogniser does where nobody speaks to it, and how well it hears commands: six questions, at one rule.

    python -m benchmarks.quiet                              the model that predict.py takes
    python -m benchmarks.quiet --model runs/small --noises noises.zip
    python -m benchmarks.quiet --curve curve.png            matched words against false alarms, talk and noise apart
    python -m benchmarks.quiet --set cv                     on validation: the test set stays shut
    python -m benchmarks.quiet --choose --noises noises.zip the rule, and what is *not sure*, on validation
    python -m benchmarks.quiet --json

Made sounds are of another seed than those of training, and made from clips of the set. Talk is of two kinds: sentences
by the built-in voices, and other words of the set's speakers laid one after the other. Sentences with a word that
sounds like a command are a row of their own: what is heard in them may be no mistake. ``--noises`` takes a folder or a
zip of wavs, named KIND_NUMBER.wav, in which nobody says a command.
"""

import dataclasses
import itertools
import json
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.stats

from benchmarks import make_parser
from benchmarks.streams import SNRS_DB, make_stream
from utils import audio, corpus, datasets, evaluation, negatives, recogniser, stream, trained
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import SILENCE, UNKNOWN
from utils.system import cli, espeak

SEED = 1 + negatives.SEED
MADE_CLIPS = 1000  # of each label
NOISE_MINUTES = 60  # of each kind
TALK_MINUTES = 30  # of each kind
GAP_S = (0.0, 0.15)  # between words that are laid closely
PAUSE_S = (0.1, 0.6)  # between sentences
COMMANDS_AFTER, WORDS_BEFORE, REST_S = 200, 4, (2.5, 3.5)  # commands after other words, of which so many go before each
AFTER_S = (0.5, 1.0, 2.0)  # from the last of these, and its gap, to the command
THRESHOLDS = np.arange(0.05, 0.96, 0.05).round(2)
GRID = {
    "threshold": np.arange(0.06, 0.51, 0.04).round(2),
    "smoothing_s": (0.4, 0.6, 0.8),
    "veto": (0.0, 1.0, 1.5, 2.0),
    "veto_s": (1.0, 1.4, 1.8),  # longer ones make fewer alarms yet, and miss most commands a second after talk
}
MOST_ALARMS = ((3, 5), (10, 10), (30, 30))  # an hour of talk, of noise: the best rule for each
TIMES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)  # as probable as what speaks against it: from where on *sure*
NUMBERS = ("called_a_command", "matched", "false_alarms_per_hour", "accuracy")  # what a row of the table shows
FIRST_SPEAKER = 200  # those before it speak the demo's clips

SENTENCES = """
The weather has been rather cold since last Tuesday evening.
My sister bought a small house near the old railway station.
We were waiting for the bus when it began to rain.
Can somebody tell me where the nearest bakery is?
He always drinks his coffee with milk and plenty of sugar.
They finished painting the kitchen in the middle of the night.
I would like to borrow that book after you have read it.
The children were playing football behind the school.
She has worked as a nurse in this hospital for eleven years.
It takes about twenty minutes by train from here to the city.
Please put the plates into the cupboard beside the window.
Nobody remembered to bring an umbrella to the picnic.
My grandfather used to repair clocks and wooden toys.
The museum is closed on Mondays except during the summer.
What did your neighbours think about the concert yesterday?
There is a strange smell coming from the fridge again.
Our teacher explained the problem twice, but many were confused.
The boat drifted slowly across the quiet lake.
I forgot my password and had to ask the office for help.
Most people in this village grow their own vegetables.
Have you ever travelled through the mountains in winter?
The doctor said that he should rest for a few weeks.
We ate fresh bread with butter, cheese and tomatoes.
A large black dog was sleeping in front of the door.
The phone rang several times before anybody answered.
Her brother plays the violin better than anyone I have met.
They want to build a new bridge over the river next spring.
Maybe we should have taken the other road after the church.
Bring me a glass of water and two spoons, please.
The film was funny, although the ending made me a bit sad.
Every morning he walks his cat around the garden.
The engineer measured the length of each pipe carefully.
It was raining so heavily that we could hardly see the street.
I have been thinking about what you told me last week.
The library keeps thousands of newspapers from the past century.
Seven students presented their research at the meeting.
You need three eggs, some flour and a pinch of salt.
The farmer sold his tractor because it was too expensive to run.
When the music started, everybody began to dance.
This computer is much faster than the one at home.
The post office around the corner sells stamps and envelopes.
Could we perhaps meet a little later in the afternoon?
He was born in a village where hardly anyone could read.
The baby laughed whenever her father made a silly face.
Several trees fell during the storm and blocked the path.
She speaks French, German and a little Japanese.
They serve breakfast between seven and half past nine.
The carpenter made a beautiful table from an old oak.
I cannot find my glasses anywhere in this room.
We watched the sunset together and talked about the future.
The recipe asks for five lemons and a bottle of olive oil.
Their daughter wants to become a pilot or maybe an artist.
It is cheaper to buy tickets a month before the journey.
The lamp beside the bed has been broken since August.
He told us a story about a fisherman and a golden fish.
My favourite season is autumn, when the leaves change colour.
The bank has moved to a building across the square.
She cleaned the whole apartment before her parents arrived.
Some birds fly thousands of miles to reach warmer places.
After dinner we played cards and listened to the radio.
"""
HOMOPHONES = """
Do you know whether the letter was sent to the wright in Leeds?
I know a man who would write to his mother each week.
He left the lamp on and went up the stairs.
The knight said no to the queen and that was right.
She got off the horse and led it down to the stream.
Yes, I think that it is time to go home.
Turn right at the end of the road, then left.
The rain did not stop, so we put our coats on.
It was a rite that nobody wanted to give up.
They are off on a trip down the coast.
"""


def share(row, material, called, by):
    """The row of isolated seconds: how many are called a command, by kind."""
    called, sure = called
    n_called, n_clips = int(np.sum(called)), len(called)
    interval = scipy.stats.binomtest(n_called, n_clips).proportion_ci(method="wilson")
    kinds = Counter(kind for kind, is_called in zip(by, called) if is_called)
    return {
        "row": row,
        "material": material,
        "clips": n_clips,
        "called_a_command": n_called / n_clips,
        "interval": [interval.low, interval.high],
        "called_and_sure": float(np.mean(sure)),
        "by_kind": {kind: kinds[kind] / count for kind, count in sorted(Counter(by).items())},
    }


def rate(row, material, detections, seconds):
    """The row of hours of something: false alarms, by word; the interval is that of a Poisson count."""
    n_alarms, hours = len(detections), seconds / 3600
    low = scipy.stats.chi2.ppf(0.025, 2 * n_alarms) / 2 if n_alarms else 0.0
    high = scipy.stats.chi2.ppf(0.975, 2 * n_alarms + 2) / 2
    return {
        "row": row,
        "material": material,
        "minutes": seconds / 60,
        "false_alarms_per_hour": n_alarms / hours,
        "interval": [low / hours, high / hours],
        "by_word": dict(Counter(word.label for word in detections).most_common()),
    }


def find_noises(path):
    """Clips and kinds of a folder or a zip of wavs."""
    with tempfile.TemporaryDirectory() as folder:
        if Path(path).is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
            except zipfile.BadZipFile as error:
                raise cli.CourseError(f"{path} is no zip of wavs ({error})") from error
            path = folder
        found = sorted(Path(path).rglob("*.wav"))
        if not found:
            raise cli.CourseError(f"--noises {path} holds no wavs")
        clips = np.stack([audio.fit_second(audio.read_sound(wav, CLIP_SAMPLES)) for wav in found])
    return clips, [wav.stem.rpartition("_")[0] or wav.stem for wav in found]


def lay_noises(clips, rng):
    """Noises end to end, each faded in and out, in random order, for some minutes."""
    fade = np.minimum(1, np.arange(CLIP_SAMPLES) / (0.05 * SAMPLE_RATE))
    faded = np.round(clips * np.minimum(fade, fade[::-1])).astype(np.int16)
    n_clips = NOISE_MINUTES * 60
    order = np.concatenate([rng.permutation(len(clips)) for _ in range(-(-n_clips // len(clips)))])[:n_clips]
    return faded[order].reshape(-1)


def cut(clip, rng):
    """What is said in a clip, at a level of its own."""
    first, last = stream.find_word(clip)
    word = audio.to_waveform(clip[first:last])
    word *= 10 ** (rng.uniform(-26, -14) / 20) / np.sqrt(np.mean(np.square(word)))
    ramp = np.minimum(1, np.arange(len(word)) / 80)
    return word * np.minimum(ramp, ramp[::-1])


def pause(seconds, rng):
    """No sound for as long as ``seconds`` (lowest, highest) allow."""
    return np.zeros(int(rng.uniform(*seconds) * SAMPLE_RATE))


def join(pieces, rng):
    """Sounds end to end, with some noise: int16 at 16 kHz."""
    sound = np.concatenate(pieces)
    return audio.to_counts(sound + rng.normal(0, 3e-4, len(sound)))


def lay_words(clips, rng):
    """Words with hardly a gap, in random order, for some minutes."""
    pieces, n_samples = [], 0
    clips = clips[clips.any(axis=1)]
    while n_samples < TALK_MINUTES * 60 * SAMPLE_RATE:
        for index in rng.permutation(len(clips)):
            pieces += [cut(clips[index], rng), pause(GAP_S, rng)]
            n_samples += len(pieces[-1]) + len(pieces[-2])
    return join(pieces, rng)


def follow_words(clips, labels, others, pause_s, rng):
    """Commands, each some seconds after other words: int16 samples, and a list of Word."""
    pieces, words = [], []
    others = others[others.any(axis=1)]
    for index in rng.permutation(np.flatnonzero(clips.any(axis=1)))[:COMMANDS_AFTER]:
        for clip in others[rng.integers(0, len(others), WORDS_BEFORE)]:
            pieces += [cut(clip, rng), pause(GAP_S, rng)]
        pieces += [np.zeros(int(pause_s * SAMPLE_RATE)), cut(clips[index], rng)]
        end = sum(map(len, pieces)) / SAMPLE_RATE
        words.append(stream.Word(labels[index], end - len(pieces[-1]) / SAMPLE_RATE, end))
        pieces.append(pause(REST_S, rng))
    return join(pieces, rng), words


def speak(text, minutes, rng, speech):
    """Sentences by the built-in voices, a few by each: int16 at 16 kHz. ``speech`` is an :class:`espeak.Speech`."""
    import soxr

    lines, pieces, n_samples = text.strip().splitlines(), [], 0
    speakers = itertools.cycle(espeak.draw_speakers(FIRST_SPEAKER + 60)[FIRST_SPEAKER:])
    while n_samples < minutes * 60 * SAMPLE_RATE:
        speaker = next(speakers)
        for index in rng.permutation(len(lines))[:5]:
            spoken = speech.say(lines[index], speaker, int(rng.integers(1, 2**31))).astype(np.float32)
            sound = soxr.resample(spoken, speech.sample_rate, SAMPLE_RATE)
            sound *= 10 ** (speaker["peak_db"] / 20) / np.abs(sound).max()
            sound = np.pad(sound, (0, int(rng.uniform(*PAUSE_S) * SAMPLE_RATE)))
            pieces.append(sound + 10 ** (speaker["noise_db"] / 20) * rng.standard_normal(len(sound)))
            n_samples += len(sound)
    return audio.to_counts(np.concatenate(pieces))


def answer(model, clips):
    """Probabilities of each clip: (n, n_labels)."""
    return np.concatenate([model(audio.to_waveform(clips[i : i + 256])) for i in range(0, len(clips), 256)])


def call(model, clips, times=trained.SURE):
    """Whether each clip is called a command, and whether the network is sure of that."""
    rows = answer(model, clips)
    called = rows.argmax(axis=1) < len(model.labels) - 2
    return called, called & model.are_sure(rows, times)


def listen(model, samples):
    """Probabilities of all steps."""
    return np.concatenate(list(stream.Stream(model).listen(samples)))


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--model", help="run folder (default: runs/latest, or pretrained where there is none)")
    parser.add_argument("--set", choices=corpus.SETS[1:], default="test", help="whose clips (default: test)")
    parser.add_argument("--noises", metavar="PATH", help="folder or zip of real noises")
    parser.add_argument("--choose", action="store_true", help="compare rules, and lines of *not sure*, on validation")
    parser.add_argument("--curve", metavar="FILE", help="picture of matched words against false alarms")
    options = parser.parse_args(arguments)
    if options.choose:
        options.set = "cv"
    model, clip_set = recogniser.load(options.model), datasets.open_store(options.path_to_data)[options.set]
    rng = np.random.default_rng(SEED)
    clips, said = np.concatenate([rows for rows, _ in clip_set.blocks()]), np.array(clip_set.labels)
    speech, others = clips[said != SILENCE], clips[said == UNKNOWN]
    command = ~np.isin(said, (SILENCE, UNKNOWN))
    if not clips[command].any():
        raise cli.CourseError(f"{options.set} of {options.path_to_data} holds no commands: nothing to hear")
    if not others.any():
        raise cli.CourseError(
            f"{options.set} of {options.path_to_data} holds no words that are unknown: no talk to make"
        )

    def show(row):
        if options.json:
            print(json.dumps(row), flush=True)
            return
        number = next(row[key] for key in NUMBERS if key in row)
        bounds = "({:.3f} to {:.3f})".format(*row["interval"]) if "interval" in row else ""
        what = row.get("by_kind") or row.get("by_word") or row.get("rule") or {}
        worst = list(what.items())
        if "rule" not in row:
            worst = [one for one in sorted(worst, key=lambda one: -one[1])[:3] if one[1]]
        worst = ", ".join(f"{name} {value:.3g}" for name, value in worst)
        print(f"{row['row']:34}{row['material']:34}{number:8.3f}  {bounds:20}  {worst}", flush=True)

    # Seconds alone.
    noises = {"background recordings": (clips[said == SILENCE], ["background"] * int(np.sum(said == SILENCE)))}
    noises["made noises"] = negatives.make_all(SILENCE, MADE_CLIPS, speech, SEED)
    if options.noises:
        noises["real noises"] = find_noises(options.noises)
    for material, (sounds, kinds) in noises.items():
        show(share("a second in which nobody speaks", material, call(model, sounds), kinds))
    words = {"made words": negatives.make_all(UNKNOWN, MADE_CLIPS, speech, SEED)}
    words["other words of the set"] = (
        others,
        [corpus.parse_name(name)[1] for name, label in zip(clip_set.names, said) if label == UNKNOWN]
        or ["other words"] * len(others),
    )
    for material, (sounds, kinds) in words.items():
        show(share("a word it was not taught", material, call(model, sounds), kinds))

    # Hours.
    library = espeak.Speech()
    talk = {
        "other words, laid closely": lay_words(others, rng),
        "sentences by voices": speak(SENTENCES, TALK_MINUTES, rng, library),
        "sentences with commands in them": speak(HOMOPHONES, TALK_MINUTES / 6, rng, library),
    }
    noise = {name: lay_noises(found, np.random.default_rng(SEED)) for name, (found, _) in noises.items()}
    rows = {}
    for row, sounds in (("hours of talk", talk), ("hours of noise", noise)):
        for material, samples in sounds.items():
            rows[row, material] = listen(model, samples), len(samples) / SAMPLE_RATE
            detections = stream.make_decoder(model).decode(rows[row, material][0])
            show(rate(row, material, detections, rows[row, material][1]))

    # Commands.
    def hear(material, samples, spoken):
        heard = listen(model, samples), spoken, len(samples) / SAMPLE_RATE
        show({"row": "commands", "material": material, **score(model, heard)})
        return heard

    def follow(pause_s):  # the same words and commands, whatever the pause
        return follow_words(clips[command], said[command], others, pause_s, np.random.default_rng(SEED))

    streams = {snr_db: hear(f"streams at {snr_db} dB", *make_stream(clip_set, snr_db)) for snr_db in SNRS_DB}
    after = {pause_s: hear(f"{pause_s:.1f} s after other words", *follow(pause_s)) for pause_s in AFTER_S}
    right = answer(model, clips).argmax(axis=1) == clip_set.y.argmax(axis=1)
    interval = evaluation.accuracy_interval(right, evaluation.speakers_of(clip_set.names))
    show({"row": "the labels", "material": options.set, "accuracy": float(right.mean()), "interval": list(interval)})

    if options.choose:
        choose(model, clips, said, {**noises, **words}, rows, streams, after, show)
        return
    curves = trade(model, rows, streams)
    if not options.json:
        print(f"{'at the threshold of':20}{'':6}{'alarms/h':>9}{'matched':>8}")
    for name, points in curves.items():
        for threshold, alarms, matched in points:
            point = {"curve": name, "threshold": threshold, "false_alarms_per_hour": alarms, "matched": matched}
            print(json.dumps(point) if options.json else f"{name:20}{threshold:6.2f}{alarms:9.1f}{matched:8.3f}")
    if options.curve:
        draw(curves, options.curve)


def trade(model, rows, streams):
    """Matched at 20 dB against false alarms an hour, for many thresholds: of talk, of noise."""
    curves, default = {"talk": [], "noise": []}, stream.rule_of(model)
    for threshold in sorted({default.threshold, *map(float, THRESHOLDS)}):
        rule = dataclasses.replace(default, threshold=threshold)
        matched = score(model, streams[SNRS_DB[0]], rule)["matched"]
        for name, points in curves.items():
            points.append((threshold, count_alarms(model, rule, hours(rows, name)), matched))
    return curves


def hours(rows, name):
    """Probabilities and seconds of talk or of noise; sentences that hold commands do not count."""
    return [found for key, found in rows.items() if key[0] == f"hours of {name}" and "commands" not in key[1]]


def score(model, heard, rule=None):
    """How well a stream's commands are heard: of its probabilities, its words and its seconds."""
    probabilities, spoken, seconds = heard
    return stream.score_stream(stream.make_decoder(model, rule).decode(probabilities), spoken, seconds)


def count_alarms(model, rule, found):
    """False alarms an hour under a rule."""
    n_alarms = sum(len(stream.make_decoder(model, rule).decode(probabilities)) for probabilities, _ in found)
    return n_alarms / sum(seconds for _, seconds in found) * 3600


def choose(model, clips, said, seconds_alone, rows, streams, after, show):
    """For each number of false alarms that one may bear, the rule that matches most; then what *not sure* keeps."""
    tried = []
    for values in cli.progress(list(itertools.product(*GRID.values())), desc="rules", unit="rule"):
        rule = stream.Rule(**dict(zip(GRID, map(float, values))))
        alarms = [count_alarms(model, rule, hours(rows, name)) for name in ("talk", "noise")]
        if all(one <= most for one, most in zip(alarms, MOST_ALARMS[-1])):
            scores = [score(model, heard, rule) for heard in streams.values()]
            tried.append((float(np.mean([one["matched"] for one in scores])), rule, alarms, scores))
    for talk, noise in MOST_ALARMS:
        good = [one for one in tried if one[2][0] <= talk and one[2][1] <= noise]
        if good:
            matched, rule, alarms, scores = max(good, key=lambda one: one[0])
            each = {f"{snr_db} dB": one["matched"] for snr_db, one in zip(streams, scores)}
            each |= {f"{pause_s} s after": score(model, heard, rule)["matched"] for pause_s, heard in after.items()}
            each["latency_s"] = scores[0]["latency_s"]
            found = {"talk": alarms[0], "noise": alarms[1], **each, **dataclasses.asdict(rule)}
            show(
                {"row": f"at most {talk} alarms an hour of talk", "material": f"{noise} of noise; mean of levels"}
                | {"matched": matched, "rule": found}
            )
    answers, keyword = answer(model, clips), ~np.isin(said, (SILENCE, UNKNOWN))
    right = answers.argmax(axis=1) == np.array([model.labels.index(label) for label in said])
    for times in TIMES:
        wrong = {name: float(call(model, sounds, times)[1].mean()) for name, (sounds, _) in seconds_alone.items()}
        sure = float(np.mean((right & model.are_sure(answers, times))[keyword]))
        show(
            {
                "row": f"sure from {times:g} times on",
                "material": "keywords right and sure",
                "matched": sure,
                "by_word": wrong,
            }
        )


def draw(curves, path):
    """The curves as a picture."""
    from matplotlib.figure import Figure

    from utils import plots

    figure = Figure(figsize=(7, 5), layout="constrained")
    plots.plot_trade(figure.subplots(), curves)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(cli.run(main))
