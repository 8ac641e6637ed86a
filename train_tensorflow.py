"""Train a spoken-command network in plain TensorFlow: the experiment of train_keras.py, written out.

    python train_tensorflow.py                                the default model on data/main
    python train_tensorflow.py --random_data                  try the code without data
    python train_tensorflow.py --model conv1d                 the original course's network
    python train_tensorflow.py --resume                       go on where the last run was stopped
    python train_tensorflow.py --strategy mirrored            on all GPUs of this machine

Watch it with: tensorboard --logdir tf_logs --host 127.0.0.1, then open localhost:6006
"""

import sys
import tempfile

from utils.settings import RECIPES, check_flags
from utils.system import cli

if __name__ == "__main__":
    check_flags(__doc__)  # what can be told before TensorFlow is imported, which takes seconds

from utils import datasets, models, runs, training
from utils.nets import devices, plain
from utils.system.quiet import tf

SCRIPT = "train_tensorflow.py"


class Trainer:
    """Network, optimizer, and the functions that run them; layers and the optimizer's rule are in utils/nets/plain.py.

    Attributes
    ----------
    network : plain.TCResNet or plain.OriginalConv1D
    optimizer : plain.AdamW
    """

    def __init__(self, settings, strategy, n_labels, total_steps):
        recipe = RECIPES[settings.recipe]
        self._strategy, self._seed, self._smoothing = strategy, settings.seed, recipe.label_smoothing
        schedule = training.make_schedule(recipe, settings.learning_rate, total_steps)
        with strategy.scope():
            self.network = plain.make_network(settings.model, n_labels, settings.seed)
            self.optimizer = plain.AdamW(self.network.trainable_variables, schedule, recipe.weight_decay)

    @tf.function(reduce_retracing=True)
    def train_step(self, batches):
        """Learn from the next batch; the sum of its losses, right answers, clips."""
        return devices.add_up(self._strategy, self._learn, next(batches))

    def _learn(self, X, y):
        """A step of one device, with its part of the batch."""
        n_clips = tf.cast(tf.shape(X)[0], tf.float32)
        with tf.GradientTape() as tape:
            logits = self.network(X, plain.Moment(self._seed, self.optimizer.step))
            losses = cross_entropy(y, logits, self._smoothing)
            loss = tf.reduce_sum(losses) / devices.sum_everywhere(n_clips)  # the mean over the whole batch
        self.optimizer.apply(tape.gradient(loss, self.network.trainable_variables))
        return tf.reduce_sum(losses), count_hits(y, logits), n_clips

    @tf.function(reduce_retracing=True)
    def recognise(self, X):
        """Logits by the moving averages."""
        return self.network(X)

    def evaluate(self, batches):
        """Loss and accuracy of a data set, by the moving averages."""
        return mean_of([self._evaluate_batch(X, y) for X, y in batches])

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
    losses, hits, n_clips = (sum(map(float, column)) for column in zip(*sums))
    return losses / n_clips, hits / n_clips


def main(arguments=None):
    """Train, keep the best weights by validation accuracy, test them once."""
    settings = training.parse_settings(SCRIPT, __doc__, arguments, check)
    strategy = devices.make_strategy(settings.strategy)
    with runs.open_run(settings, strategy, SCRIPT) as run, tempfile.TemporaryDirectory() as spare:
        try:
            train(settings, strategy, run, spare)
        except tf.errors.UnavailableError:
            raise cli.CourseError("another worker has gone: start all of them again, with --resume") from None


def check(settings):
    """Which models are not written out in plain TensorFlow."""
    if settings.model not in plain.NETWORKS:
        by_recipe = settings.model == RECIPES[settings.recipe].model
        what = f"recipe {settings.recipe}, with its model {settings.model}," if by_recipe else f"model {settings.model}"
        return f"{what} is for train_keras.py: the models here are {' and '.join(plain.NETWORKS)}"


def train(settings, strategy, run, spare):
    """One run with these settings: all workers learn, and the chief alone, which has ``run``, keeps what is learned."""
    data = training.open_data(settings, run, spare)
    steps = training.steps_per_epoch(settings, data)
    trainer = Trainer(settings, strategy, len(data.labels), steps * settings.epochs)
    network, optimizer = trainer.network, trainer.optimizer
    counted = models.build_model(settings.model, len(data.labels))  # the same network, in Keras
    print(training.describe(settings, counted, steps))
    if settings.summary:
        print(plain.describe(network))
    with devices.chief_first(strategy):
        train_set, cv_set = training.network_inputs(
            data.sets, plain.takes_log_mel(network), data.folder, spare, settings.negatives
        )
    changes = training.make_changes(settings, train_set)

    if run:
        run.begin(data, network.variables, optimizer.variables, steps)
        run.board.show_graph(plain.Servable(network).recognise)
        run.board.show_clips("clip", training.one_of_each_label(data.sets["cv"]))
    first_epoch = devices.follow_chief(strategy, [*network.variables, *optimizer.variables], run.epoch if run else 0)

    batches = devices.spread(
        strategy,
        lambda replicas, n_replicas: datasets.training_dataset(
            train_set, settings.batch_size, settings.seed, first_epoch, changes, replicas, n_replicas
        ),
    )
    cv_batches = datasets.evaluation_dataset(cv_set, 64).cache()
    for _ in range(first_epoch, settings.epochs):
        n_steps = min(steps, (settings.max_steps or sys.maxsize) - int(optimizer.step.numpy()))
        if n_steps <= 0:
            break
        sums = []
        for _ in range(n_steps):
            sums.append(trainer.train_step(batches))
            if run:
                run.advance_to(run.step + 1)
        if run:
            weights = [(name, weight) for name, weight in plain.name_variables(network) if weight.trainable]
            cv, rate = trainer.evaluate(cv_batches), float(optimizer.learning_rate)
            run.end_epoch(mean_of(sums), cv, rate, weights, lambda: training.confuse(trainer.recognise, cv_batches))

    if run:
        best = plain.make_network(settings.model, len(data.labels), settings.seed)
        run.load_best(best.variables)
        recogniser = plain.Servable(best)
        with run.writing():
            tf.saved_model.save(recogniser, run.work / "saved_model")
            training.test(settings, counted, data, run, recogniser)
    devices.wait_for_all(strategy)


if __name__ == "__main__":
    sys.exit(cli.run(main))
