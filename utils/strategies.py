"""Where training runs: one device, several of one machine, several machines."""

import json
import os
from contextlib import contextmanager

from utils.cli import CourseError
from utils.quiet import tf

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def make_strategy(name):
    """A strategy of TensorFlow's.

    Parameters
    ----------
    name : str
        One of ``STRATEGIES``. ``auto`` is ``multi_worker`` where ``TF_CONFIG`` names several workers,
        ``mirrored`` where there are several GPUs, else ``one_device``.

    Raises
    ------
    CourseError
        If there is a single device to mirror, or no ``TF_CONFIG``.
    """
    if needs_workers(name):
        if not _count_workers():
            raise CourseError("--strategy multi_worker needs TF_CONFIG, which names the workers: see the README")
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
        if len(devices) < 2:
            raise CourseError(f"--strategy mirrored needs several devices, here is one ({devices[0]}): leave it out")
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def needs_workers(name):
    """Whether a strategy of this name, here and now, is one of several machines."""
    return name == "multi_worker" or (name == "auto" and _count_workers() > 1)


def is_chief(strategy):
    """Whether this process writes: the only one, the chief, or the first worker where there is no chief."""
    return strategy.cluster_resolver is None or not follows_chief()


def follows_chief():
    """Whether ``TF_CONFIG`` says that this is one of several workers, and not their chief."""
    config = _read_config()
    task = config.get("task", {})
    is_first = task.get("index", 0) == 0 and "chief" not in config.get("cluster", {})
    return _count_workers() > 1 and not is_first and task.get("type") != "chief"


def _count_workers():
    cluster = _read_config().get("cluster", {})
    return len(cluster.get("worker", ())) + len(cluster.get("chief", ()))


def _read_config():
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError as error:
        raise CourseError(f"TF_CONFIG is not JSON ({error}): see the README") from None
    if not isinstance(config, dict):
        raise CourseError("TF_CONFIG is not an object of cluster and task: see the README")
    return config


@contextmanager
def chief_first(strategy):
    """What the workers do after the chief has done it."""
    chief = is_chief(strategy)
    if not chief:
        wait_for_all(strategy)
    yield
    if chief:
        wait_for_all(strategy)


def wait_for_all(strategy):
    """Go on when all workers have come here."""
    share_chiefs(strategy, [tf.zeros(())])


def share_chiefs(strategy, values):
    """The chief's values (tensors, of the same shapes on all workers), on every worker."""

    def share(values):
        replicas = tf.distribute.get_replica_context()
        own = [tf.where(replicas.replica_id_in_sync_group == 0, value, tf.zeros_like(value)) for value in values]
        return [replicas.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in own]

    shared = tf.function(lambda: strategy.run(share, args=(values,)))()
    return [strategy.experimental_local_results(value)[0] for value in shared]
