"""Where training runs: one device, several of one machine, several machines."""

import json
import os
import re
from contextlib import contextmanager

from utils.system.cli import BadUse
from utils.system.quiet import tf

EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]}, "task": {"type": "worker", "index": 0}}'
ADDRESS = re.compile(r"\S+:\d+")


def make_strategy(name):
    """A strategy of TensorFlow's, by one of ``settings.STRATEGIES``.

    ``auto`` is ``multi_worker`` where ``TF_CONFIG`` names several workers, ``mirrored`` where there are several GPUs,
    else ``one_device``.

    Raises
    ------
    BadUse
        If there is a single device to mirror, or no ``TF_CONFIG``.
    """
    if needs_workers(name):
        if not _read_config()[0]:
            raise BadUse("--strategy multi_worker needs TF_CONFIG, which names the workers: see docs/train.md")
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
        if len(devices) < 2:
            raise BadUse(f"--strategy mirrored needs several devices, here is one ({devices[0]}): leave it out")
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def needs_workers(name):
    """Whether a strategy of this name, here and now, is one of several machines."""
    return name == "multi_worker" or (name == "auto" and len(_read_config()[0]) > 1)


def is_chief(strategy):
    """Whether this process writes: the only one, the chief, or the first worker where there is no chief."""
    return strategy.cluster_resolver is None or not follows_chief()


def follows_chief():
    """Whether ``TF_CONFIG`` says that this is one of several workers, and not their chief."""
    workers, own = _read_config()
    return len(workers) > 1 and own != workers[0]


def _read_config():
    """(type, index) of each worker that ``TF_CONFIG`` names, the chief first, and that of this one."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster, task = config.get("cluster", {}), config.get("task", {})
        own = task.get("type"), task.get("index")
        addresses = [(kind, cluster.get(kind, [])) for kind in ("chief", "worker")]
        is_whole = set(cluster) <= {"chief", "worker"} and all(type(hosts) is list for _, hosts in addresses)
        is_whole &= all(ADDRESS.fullmatch(host) for _, hosts in addresses for host in hosts)
    except (ValueError, AttributeError, TypeError):
        is_whole = False
    if not is_whole:
        raise BadUse(f"TF_CONFIG is not JSON such as {EXAMPLE}: see docs/train.md")
    workers = [(kind, index) for kind, hosts in addresses for index in range(len(hosts))]
    if workers and own not in workers:
        raise BadUse(f"TF_CONFIG names no worker of its task's type {own[0]!r} and index {own[1]!r}")
    return workers, own


@contextmanager
def chief_first(strategy):
    """What the workers do after the chief has done it."""
    if not is_chief(strategy):
        wait_for_all(strategy)
    yield
    if is_chief(strategy):
        wait_for_all(strategy)


def wait_for_all(strategy):
    """Go on when all workers have come here."""
    add_up(strategy, lambda: [tf.zeros(())], ())


def follow_chief(strategy, variables, epoch):
    """Set variables to the chief's, restored or fresh, on every worker; the chief's epoch."""

    def keep_chiefs(*values):
        is_chiefs = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return [tf.where(is_chiefs, value, tf.zeros_like(value)) for value in values]

    *values, epoch = tf.function(lambda: add_up(strategy, keep_chiefs, [*variables, tf.constant(epoch)]))()
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return int(epoch)


def spread(strategy, make):
    """Endless batches for each replica of this worker.

    ``make`` gives a data set from the numbers of this worker's replicas and how many there are in all.
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
