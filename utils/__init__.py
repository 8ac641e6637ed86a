"""Tools of the spoken-command course, one module a topic.

The data
    labels      the twelve labels, or words of one's own
    audio       any sound to one second of it, and wav files
    corpus      names and layout of recordings on disk
    sources     recordings from an archive, Kaggle or Speech Commands
    voices      recordings by built-in voices
    splits      training, validation and test sets that share no speaker
    leaks       an independent audit of a split
    store       arrays on disk
    prepare     from recordings to arrays in one go

What is learned from
    features    spectrograms and their kin, for whole batches
    augment     changes that leave the word as it is
    negatives   sounds that are no command, made for training
    datasets    batches for training and evaluation

Learning
    models      the networks by name
    settings    recipes, and the flags of both training scripts
    training    what both training scripts share
    runs        a run on disk: its folder, its log, its curves

Use
    trained     where trained models lie
    recogniser  a trained model as a function from sound to probabilities
    doctor      whether a microphone is fit
    stream      words and their times in long sound
    enrol       words of one's own from a few recordings
    evaluation  how good, and how sure
    export      small files, and the page as a folder
    web         what the page needs of a model
    plots       every figure

What these rest on lies in ``nets`` (the networks themselves, and what they show of themselves) and in ``system``: what
any command needs of the computer (files, archives, consoles, the microphone), who speaks (``speakers``), made speech
and sounds (``espeak``, ``noises``), recordings that teach a word (``takes``).
"""

import importlib.util
import os
import sys

_show_error = sys.excepthook


def _tell_interruption(kind, error, trace):
    """Ctrl-C while modules are still being imported is told in one line, too: the shell sees status 130."""
    if not issubclass(kind, KeyboardInterrupt):
        return _show_error(kind, error, trace)
    name = os.path.basename(sys.argv[0])  # noqa: PTH119
    print(f"\n{name}: interrupted; run the same command again", file=sys.stderr)


sys.excepthook = _tell_interruption

if importlib.util.find_spec("numpy") is None:  # a Python without the course's packages: all of them would be missed
    from utils.system import cli

    raise SystemExit(f"numpy is not installed: {cli.how_to_install()}")
