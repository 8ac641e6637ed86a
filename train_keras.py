"""Train a spoken-command network with Keras.

    python train_keras.py                                     the default model on data/main
    python train_keras.py --random_data                       try the code without data
    python train_keras.py --model conv1d --epochs 20          the original course's network
    python train_keras.py --resume                            go on where the last run was stopped

Watch it with: tensorboard --logdir tf_logs --host 127.0.0.1, then open localhost:6006
"""

import sys
import tempfile
from pathlib import Path

from utils import datasets, models, training
from utils.nets import devices
from utils.settings import RECIPES
from utils.system import cli
from utils.system.quiet import keras, tf

SCRIPT = "train_keras.py"
MOST_STEPS_AT_ONCE = 16


def compile_part(part, recipe, settings, steps):
    """Give the learning part of a model its optimizer, loss and metric; an epoch has ``steps`` steps."""
    schedule = training.make_schedule(recipe, settings.learning_rate, steps * settings.epochs)
    # Some steps run from one call of Python, which costs as much as a tenth of a step; an epoch is whole calls.
    at_once = max(n for n in range(1, MOST_STEPS_AT_ONCE + 1) if steps % n == 0)
    if settings.max_steps or tf.distribute.get_strategy().num_replicas_in_sync > 1:  # Keras cannot with replicas
        at_once = 1
    part.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay),
        # The network ends in logits: the loss applies the softmax, once.
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=at_once,
        jit_compile=False,  # compiling costs more than it saves on a CPU
    )
    part.optimizer.build(part.trainable_variables)


def main(arguments=None):
    """Train, keep the best weights by validation accuracy, test them once."""
    settings = training.parse_settings(SCRIPT, __doc__, arguments, check)
    strategy = devices.make_strategy(settings.strategy)
    with training.owned_run(settings, strategy, SCRIPT) as run, tempfile.TemporaryDirectory() as spare:
        train(settings, strategy, run, Path(spare))


def check(settings):
    """What Keras cannot do."""
    if devices.needs_workers(settings.strategy):
        return "Keras 3 does not train on several machines: run train_tensorflow.py --strategy multi_worker"


def train(settings, strategy, run, spare):
    """One run with these settings, kept in ``run``; ``spare`` is a folder for data that the run alone needs."""
    keras.utils.set_random_seed(settings.seed)
    sets, dataset, store_folder = training.open_data(settings, spare)
    config = training.make_config(run, settings, sets, dataset)
    steps = training.steps_per_epoch(settings, sets["train"])
    recipe, n_labels = RECIPES[settings.recipe], len(sets["train"].label_order)
    with strategy.scope():
        model = models.build_model(settings.model, n_labels)
        part = models.learning_part(model)
        compile_part(part, recipe, settings, steps)
    model.summary(expand_nested=True)
    train_set, cv_set = training.network_inputs(
        sets, models.has_front_end(model), store_folder, spare, settings.negatives
    )

    changes = training.make_changes(settings, train_set)
    run.start(config, sets["train"].label_order, settings.resume, 4 * model.count_params())
    callback = training.RunCallback(run, settings, model)
    callback.restore(part)
    callback.journal.log.write_clips(sets["cv"])
    part.fit(
        datasets.training_dataset(train_set, settings.batch_size, settings.seed, callback.journal.epoch, changes),
        steps_per_epoch=steps,
        initial_epoch=callback.journal.epoch,
        epochs=callback.journal.epoch if callback.journal.is_over else settings.epochs,
        validation_data=datasets.evaluation_dataset(cv_set, 64).cache(),
        callbacks=[callback],
        shuffle=False,  # the data set does that
        verbose=0,
    )

    best = models.build_model(settings.model, n_labels)  # without the optimizer, which is twice as large
    training.read_variables(callback.best_path, best.variables)
    predict = tf.function(lambda waveforms: best(waveforms, training=False))
    with run.writing():
        best.save(run.work / "model.keras")
        result = training.summarize(settings, best, sets, dataset, callback.journal, predict)
        run.finish(result)
    training.report(result, sets)
    print(f"model and scores: {run.final}; curves: tensorboard --logdir {settings.logdir} --host 127.0.0.1")


if __name__ == "__main__":
    sys.exit(cli.run(main))
