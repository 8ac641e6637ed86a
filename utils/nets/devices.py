"""Where training runs: one device, several of one machine, several machines."""

import json
import os
import re
from contextlib import contextmanager

from utils.system.cli import CourseError
from utils.system.quiet import tf

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
WORKERS = ("chief", "worker")
ADDRESS = re.compile(r"\S+:\d+")


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
    cluster, task = _read_config()
    chief = {"type": "chief" if "chief" in cluster else "worker", "index": 0}
    return _count_workers() > 1 and task != chief


def _count_workers():
    cluster, _ = _read_config()
    return sum(map(len, cluster.values()))


def _read_config():
    """Addresses by type of worker, and which of them is this one: both empty without ``TF_CONFIG``."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError as error:
        raise CourseError(f"TF_CONFIG is not JSON ({error}): see the README") from None
    if fault := _find_fault(config):
        raise CourseError(f"TF_CONFIG {fault}: see the README")
    cluster, task = config.get("cluster", {}), config.get("task", {})
    return cluster, {key: task[key] for key in ("type", "index") if key in task}


def _find_fault(config):
    """What is wrong with the content of ``TF_CONFIG``, or None."""
    if not isinstance(config, dict):
        return "is not an object of cluster and task"
    cluster, task = config.get("cluster", {}), config.get("task", {})
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        return "has a cluster or a task that is not an object"
    if strange := sorted(set(cluster) - set(WORKERS)):
        return f"has a cluster of {strange[0]!r}: it may be of {' and '.join(WORKERS)}"
    for kind, addresses in cluster.items():
        is_list = isinstance(addresses, list) and all(isinstance(address, str) for address in addresses)
        if not is_list or not all(ADDRESS.fullmatch(address) for address in addresses):
            return f"has for {kind} not a list of addresses such as 10.0.0.1:12345"
    if len(cluster.get("chief", ())) > 1:
        return "has several chiefs"
    kind, index = task.get("type"), task.get("index")
    if cluster and (not isinstance(kind, str) or kind not in cluster):
        return f"has a task of type {kind!r}, of which the cluster has none"
    if cluster and (type(index) is not int or not 0 <= index < len(cluster[kind])):
        return f"has a task with index {index!r}, of {len(cluster[kind])} of type {kind}"
    return None


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


def follow_chief(strategy, variables, epoch):
    """Set variables to the chief's, restored or fresh; the chief's epoch."""
    *values, epoch = share_chiefs(strategy, [*variables, tf.constant(epoch)])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return int(epoch)


def spread(strategy, make):
    """Endless batches for each replica of this worker.

    Parameters
    ----------
    strategy : tf.distribute.Strategy
    make : callable
        From the numbers of this worker's replicas, and how many there are in all, to a data set.
    """

    def make_here(context):
        n_replicas = context.num_replicas_in_sync
        here = n_replicas // context.num_input_pipelines
        return make(range(here * context.input_pipeline_id, here * (context.input_pipeline_id + 1)), n_replicas)

    return iter(strategy.distribute_datasets_from_function(make_here))


def add_up(strategy, step, batch):
    """Run a step on all replicas, each with its part of a batch; the sums of what it gives."""
    return [strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in strategy.run(step, args=batch)]


def sum_everywhere(value):
    """Within a step: the sum of a value over all replicas."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)
