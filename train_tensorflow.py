"""Train a spoken-command network in plain TensorFlow: the experiment of train_keras.py, written out.

    python train_tensorflow.py                                the default model on data/main
    python train_tensorflow.py --random_data                  try the code without data
    python train_tensorflow.py --model conv1d --epochs 20     the original course's network
    python train_tensorflow.py --resume                       go on where the last run was stopped
    python train_tensorflow.py --strategy mirrored            on all GPUs of this machine

Watch it with: tensorboard --logdir tf_logs --host 127.0.0.1, then open localhost:6006
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from utils import datasets, models, runs, training
from utils.nets import devices, plain
from utils.settings import RECIPES
from utils.system import cli
from utils.system.quiet import tf

SCRIPT = "train_tensorflow.py"


class Trainer:
    """Network, optimizer and the two functions that run them, on all replicas of a strategy."""

    def __init__(self, settings, strategy, n_labels, total_steps):
        recipe = RECIPES[settings.recipe]
        self._strategy, self._seed, self._smoothing = strategy, settings.seed, recipe.label_smoothing
        schedule = training.make_schedule(recipe, settings.learning_rate, total_steps)
        with strategy.scope():
            self.network = plain.make_network(settings.model, n_labels, settings.seed)
            self.optimizer = plain.AdamW(self.network.trainable_variables, schedule, recipe.weight_decay)
            # Epoch, step, seconds, and the best epoch's validation accuracy and minus its loss.
            self.progress = tf.Variable(tf.zeros(5, tf.float64), trainable=False)

    def follow_chief(self):
        """Take over the chief's state, restored or fresh; the epochs it has been trained for."""
        variables = [*self.network.variables, *self.optimizer.variables, self.progress]
        for variable, value in zip(variables, devices.share_chiefs(self._strategy, variables), strict=True):
            variable.assign(value)
        return int(self.progress.numpy()[0])

    @tf.function(reduce_retracing=True)
    def train_step(self, batches):
        """Learn from the next batch; the sum of its losses, right answers, clips."""
        sums = self._strategy.run(self._learn, args=next(batches))
        return [self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in sums]

    def _learn(self, X, y):
        replicas = tf.distribute.get_replica_context()
        n_clips = tf.cast(tf.shape(X)[0], tf.float32)
        everywhere = replicas.all_reduce(tf.distribute.ReduceOp.SUM, n_clips)
        with tf.GradientTape() as tape:
            logits = self.network(X, plain.Moment(self._seed, self.optimizer.step))
            losses = cross_entropy(y, logits, self._smoothing)
            # The mean over the whole batch, of which this replica has a part.
            loss = tf.reduce_sum(losses) / everywhere
        self.optimizer.apply(tape.gradient(loss, self.network.trainable_variables))
        return tf.reduce_sum(losses), count_hits(y, logits), n_clips

    def evaluate(self, batches):
        """Loss and accuracy of a data set, by the moving averages."""
        sums = [self._evaluate_batch(X, y) for X, y in batches]
        return mean_of(sums)

    @tf.function(reduce_retracing=True)
    def _evaluate_batch(self, X, y):
        logits = self.network(X)
        losses = cross_entropy(y, logits, self._smoothing)
        return tf.reduce_sum(losses), count_hits(y, logits), tf.cast(tf.shape(X)[0], tf.float32)


def cross_entropy(y, logits, smoothing):
    """Loss of each clip: logits go in, as the softmax is part of it and must not be applied before."""
    n_labels = y.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(y * (1 - smoothing) + smoothing / n_labels, logits)


def count_hits(y, logits):
    """How many clips are recognised rightly."""
    return tf.reduce_sum(tf.cast(tf.argmax(y, 1) == tf.argmax(logits, 1), tf.float32))


def mean_of(sums):
    """Loss and accuracy from sums of losses, right answers and clips, a row a batch."""
    losses, hits, n_clips = np.sum([[float(value) for value in row] for row in sums], axis=0)
    return losses / n_clips, hits / n_clips


class Keeper:
    """The chief's side of a run: its folder, log and checkpoints."""

    def __init__(self, run, config, settings, trainer, labels):
        self.run = run
        n_bytes = sum(variable.numpy().nbytes for variable in trainer.network.variables)
        self.run.start(config, labels, settings.resume, n_bytes)
        self._trainer = trainer
        everything = {"network": trainer.network, "optimizer": trainer.optimizer, "progress": trainer.progress}
        self._last = tf.train.CheckpointManager(tf.train.Checkpoint(**everything), self.run.work / "last", 1)
        weights = tf.train.Checkpoint(network=trainer.network)
        self._best = tf.train.CheckpointManager(weights, self.run.work / "best", 1)
        state = None
        with models.reading(self.run.work / "last"):
            resumed = settings.resume and self._last.restore_or_initialize()
        if resumed:
            epoch, step, seconds, *best = trainer.progress.numpy()
            state = {"epoch": epoch, "step": step, "seconds": seconds, "best": best}
        self.journal = runs.Journal(self.run, settings, state)

    def end_epoch(self, train, cv):
        """Log an epoch and write what it takes to go on, or to have the best weights."""
        weights = [(name, w) for name, w in plain.name_variables(self._trainer.network) if w.trainable]
        with self.run.writing():
            if self.journal.end_epoch(train, cv, float(self._trainer.optimizer.learning_rate), weights):
                self._best.save(self.journal.epoch)
            state = self.journal.state
            self._trainer.progress.assign([state["epoch"], state["step"], state["seconds"], *state["best"]])
            self._last.save(self.journal.epoch)

    def finish(self, settings, sets, dataset):
        """Save the best network, test it, put the run in its place."""
        n_labels = len(sets["train"].label_order)
        network = plain.make_network(settings.model, n_labels, settings.seed)
        tf.train.Checkpoint(network=network).restore(self._best.latest_checkpoint).expect_partial()
        recogniser = plain.Recogniser(network)
        counted = models.build_model(settings.model, n_labels)  # the same network, in Keras
        with self.run.writing():
            tf.saved_model.save(recogniser, self.run.work / "saved_model")
            result = training.summarize(settings, counted, sets, dataset, self.journal, recogniser)
            self.run.finish(result)
        training.report(result, sets)
        print(f"model and scores: {self.run.final}; curves: tensorboard --logdir {settings.logdir} --host 127.0.0.1")


def main(arguments=None):
    """Train, keep the best weights by validation accuracy, test them once."""
    settings = training.parse_settings(SCRIPT, __doc__, arguments, check)
    strategy = devices.make_strategy(settings.strategy)
    with training.owned_run(settings, strategy, SCRIPT) as run, tempfile.TemporaryDirectory() as spare:
        try:
            train(settings, strategy, run, Path(spare))
        except tf.errors.UnavailableError:
            raise cli.CourseError("another worker has gone: start all of them again, with --resume") from None


def check(settings):
    """Which models are not written out in plain TensorFlow."""
    if settings.model not in plain.NETWORKS:
        by_recipe = settings.model == RECIPES[settings.recipe].model
        what = f"recipe {settings.recipe}, with its model {settings.model}," if by_recipe else f"model {settings.model}"
        return f"{what} is for train_keras.py: the models here are {' and '.join(plain.NETWORKS)}"


def train(settings, strategy, run, spare):
    """One run with these settings; ``run`` is the chief's, ``spare`` a folder for data that the run alone needs."""
    sets, dataset, store_folder = training.open_data(settings, spare)
    config = training.make_config(run, settings, sets, dataset) if run else None
    steps = training.steps_per_epoch(settings, sets["train"])
    trainer = Trainer(settings, strategy, len(sets["train"].label_order), steps * settings.epochs)
    print(plain.describe(trainer.network))
    with devices.chief_first(strategy):
        as_log_mel = plain.takes_log_mel(trainer.network)
        train_set, cv_set = training.network_inputs(sets, as_log_mel, store_folder, spare, settings.negatives)

    changes = training.make_changes(settings, train_set)

    # All workers learn; the chief alone writes.
    keeper = Keeper(run, config, settings, trainer, sets["train"].label_order) if run else None
    first_epoch = trainer.follow_chief()
    if keeper:
        keeper.journal.log.write_clips(sets["cv"])
        keeper.journal.log.write_graph(plain.Recogniser(trainer.network).recognise)
    batches = make_batches(settings, strategy, train_set, first_epoch, changes)
    cv_batches = datasets.evaluation_dataset(cv_set, 64).cache()
    most_steps = settings.max_steps or sys.maxsize
    for _ in range(first_epoch, settings.epochs):
        n_steps = min(steps, most_steps - int(trainer.optimizer.step.numpy()))
        if n_steps <= 0:
            break
        if keeper:
            keeper.journal.begin_epoch()
        sums = [trainer.train_step(batches) for _ in range(n_steps)]
        if keeper:
            keeper.journal.step += n_steps
            keeper.end_epoch(mean_of(sums), trainer.evaluate(cv_batches))
    if keeper:
        keeper.finish(settings, sets, dataset)
    devices.wait_for_all(strategy)


def make_batches(settings, strategy, train_set, first_epoch, changes):
    """Endless batches for each replica of this worker; ``changes`` are made to each."""

    def make(context):
        n_replicas = context.num_replicas_in_sync
        here = n_replicas // context.num_input_pipelines
        replicas = range(here * context.input_pipeline_id, here * (context.input_pipeline_id + 1))
        return datasets.training_dataset(
            train_set, settings.batch_size, settings.seed, first_epoch, changes, replicas, n_replicas
        )

    return iter(strategy.distribute_datasets_from_function(make))


if __name__ == "__main__":
    sys.exit(cli.run(main))
