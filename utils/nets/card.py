"""The model card of what was made of a run."""

from pathlib import Path

from utils import trained
from utils.system import files

QUIET_NUMBERS = {  # what a row has, and what it is
    "called_a_command": "called a command",
    "matched": "matched",
    "false_alarms_per_hour": "false alarms an hour",
    "accuracy": "right",
}
CARD = """# Model card: spoken commands, `{model}`

Says which of these a second of sound is: {labels}.

| file | bytes |
| --- | --- |
{files}

**Input**: waveform, float32 in [-1, 1) (16-bit counts divided by 32,768), mono, 16 kHz, one second: `[16000, 1]`,
in a SavedModel `[n, 16000]`. **Output**: probabilities in the order of the labels above. The front end is inside.

**Network**: {parameters:,} parameters, {macs:.1f} M multiply-accumulates a clip. Made by `{script}`, recipe `{recipe}`,
{epochs} epochs.

**Data**: {dataset}; files {dataset_hash}. No speaker is both in training and in test. Recordings of the TensorFlow
Speech Recognition Challenge are Speech Commands v0.01 by Pete Warden, Google (arXiv:1804.03209), under Creative
Commons BY 4.0: volunteers, mostly speakers of English, on their own laptops and phones.

**Scores** (of the model before export): validation accuracy {cv:.4f}; test accuracy {test:.4f} (95 % interval
{low:.3f} to {high:.3f}). What eight bits cost, `python -m utils.export RUN --to int8 --check prize` measures.

| label | precision | recall |
| --- | --- | --- |
{scores}

**Not sure**: a command is to be taken as *not sure* unless it is {sure:g} times as probable as *silence* and *unknown*
together and as the next command, and these two unless they are together {sure:g} times as probable as any command.
`predict.py` and the page do so.

**Where no command is said** (`python -m benchmarks.quiet`){quiet}

**Limits**: single words of that data's kind: English, one second, one speaker close to a microphone. Far speech and
other languages were not measured. Words that sound like a command, such as *guess* and *load*, are often taken for it.
Not for anything where a mistake could do harm.

**Licence**: code GPL-3.0. Weights learned from recordings under CC BY 4.0: keep this credit.
"""


def make_card(run, made):
    """Model card (Mitchell et al. 2019, arXiv:1810.03993) of files that were made of a run, as text."""
    run, nan = Path(run), float("nan")
    facts = dict.fromkeys(("model", "dataset", "dataset_hash", "script", "recipe", "epochs"), "unknown")
    facts |= {"parameters": 0, "macs": 0, "cv_accuracy": nan, "test_accuracy": nan, "test_interval": (nan, nan)}
    for name in ("config.json", "result.json"):
        facts |= files.read_json(run / name) or {}
    scores, (low, high) = facts.get("per_label", {}).items(), facts["test_interval"]
    facts |= {
        "macs": facts["macs"] / 1e6,
        "labels": ", ".join(trained.read_labels(run)),
        "files": "\n".join(f"| `{path.name}` | {count_bytes(path):,} |" for path in made),
        "sure": trained.SURE,
        "quiet": _quiet_table(files.read_json(run / trained.QUIET)),
        "scores": "\n".join(f"| {label} | {of['precision']:.3f} | {of['recall']:.3f} |" for label, of in scores),
    }
    return CARD.format(**facts, cv=facts["cv_accuracy"], test=facts["test_accuracy"], low=low, high=high)


def _quiet_table(rows):
    """What :mod:`benchmarks.quiet` has measured of a network, as a table; or that it has not."""
    if not rows:
        return ": not measured for this network."
    lines = [":\n\n| | of | | 95 % interval |\n| --- | --- | --- | --- |"]
    for row in rows:
        if (key := next((key for key in QUIET_NUMBERS if key in row), None)) and "curve" not in row:
            low, high = row.get("interval") or (None, None)
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            lines.append(f"| {row['row']} | {row['material']} | {row[key]:.3f} {QUIET_NUMBERS[key]} | {interval} |")
    return "\n".join(lines)


def count_bytes(path):
    """Of a file, or of all files in a folder."""
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())
