"""Train a spoken-command network with Keras.

    python train_keras.py                                     the default model on data/main
    python train_keras.py --random_data                       try the code without data
    python train_keras.py --model conv1d                      the original course's network
    python train_keras.py --resume                            go on where the last run was stopped

Watch it with: tensorboard --logdir tf_logs --host 127.0.0.1, then open localhost:6006
"""

import sys
import tempfile

from utils.settings import RECIPES, check_flags
from utils.system import cli

if __name__ == "__main__":
    check_flags(__doc__)  # what can be told before TensorFlow is imported, which takes seconds

from utils import datasets, models, runs, training
from utils.nets import devices
from utils.system.quiet import keras, tf

SCRIPT = "train_keras.py"
MOST_STEPS_AT_ONCE = 16


def main(arguments=None):
    """Train, keep the best weights by validation accuracy, test them once."""
    settings = training.parse_settings(SCRIPT, __doc__, arguments, check)
    strategy = devices.make_strategy(settings.strategy)
    with runs.open_run(settings, strategy, SCRIPT) as run, tempfile.TemporaryDirectory() as spare:
        train(settings, strategy, run, spare)


def check(settings):
    """What Keras cannot do."""
    if devices.needs_workers(settings.strategy):
        return "Keras 3 does not train on several machines: run train_tensorflow.py --strategy multi_worker"


def train(settings, strategy, run, spare):
    """One run with these settings, kept in ``run``; ``spare`` is a folder for data that the run alone needs."""
    keras.utils.set_random_seed(settings.seed)
    data = training.open_data(settings, run, spare)
    steps = training.steps_per_epoch(settings, data)

    # The network. What comes first computes log-mel spectrograms and has nothing to learn; the part after it has.
    with strategy.scope():
        model = models.build_model(settings.model, len(data.labels))
        part = models.learning_part(model)
        compile_part(part, RECIPES[settings.recipe], settings, steps)
    print(training.describe(settings, model, steps))
    if settings.summary:
        model.summary(expand_nested=True)

    # What it learns from: log-mel spectrograms computed once, changed at random in each epoch.
    train_set, cv_set = training.network_inputs(
        data.sets, models.has_front_end(model), data.folder, spare, settings.negatives
    )
    changes = training.make_changes(settings, train_set)
    run.begin(data, model.variables, part.optimizer.variables, steps)
    run.board.show_graph(lambda waveforms: model(waveforms, training=False))
    run.board.show_clips("clip", training.one_of_each_label(data.sets["cv"]))
    cv_batches = datasets.evaluation_dataset(cv_set, 64).cache()
    part.fit(
        datasets.training_dataset(train_set, settings.batch_size, settings.seed, run.epoch, changes),
        steps_per_epoch=steps,
        initial_epoch=run.epoch,
        epochs=run.epoch if run.is_over else settings.epochs,
        validation_data=cv_batches,
        callbacks=[Keep(run, cv_batches)],
        shuffle=False,  # the data set does that
        verbose=0,
    )

    best = models.build_model(settings.model, len(data.labels))  # without the optimizer, which is twice as large
    run.load_best(best.variables)
    with run.writing():
        best.save(run.work / "model.keras")
        training.test(settings, best, data, run, tf.function(lambda waveforms: best(waveforms, training=False)))


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
        # By name Keras would make it in the first step, and trace that step twice.
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        steps_per_execution=at_once,
        jit_compile=False,  # compiling costs more than it saves on a CPU
    )
    part.optimizer.build(part.trainable_variables)


class Keep(keras.callbacks.Callback):
    """Keeps a run on disk as ``fit`` goes on; ends a smoke run."""

    def __init__(self, run, cv_batches):
        super().__init__()
        self._run, self._cv_batches = run, cv_batches
        # Keras's predict_on_batch answers once for each replica.
        self._recognise = tf.function(lambda inputs: self.model(inputs, training=False))

    def on_epoch_begin(self, epoch, logs=None):
        """Where the count of steps goes on."""
        self._first_step = self._run.step

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps, of which Keras takes some at once."""
        self._run.advance_to(self._first_step + batch + 1)
        if self._run.is_over:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Log the epoch, keep the best weights and what it takes to go on."""
        train, cv = ((logs[f"{of}loss"], logs[f"{of}accuracy"]) for of in ("", "val_"))
        weights = [(weight.path, weight) for weight in self.model.trainable_variables]
        rate = float(self.model.optimizer.learning_rate)
        self._run.end_epoch(train, cv, rate, weights, lambda: training.confuse(self._recognise, self._cv_batches))


if __name__ == "__main__":
    sys.exit(cli.run(main))
