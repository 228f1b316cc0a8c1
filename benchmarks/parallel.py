"""Memory, messages and time of a training step of heads, partitioned and mirrored, against the number of replicas.

Each row is a process of its own. Replicas are GPUs where there are enough, else parts of this machine's CPU: those
share its cores, so that their step time says what a step costs in all, not how it would speed up.

Examples:
  python benchmarks/parallel.py
  python benchmarks/parallel.py --heads=RandArcFace --sampling_rate=0.1 --num_classes=1000000 --replicas=4
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from tfface.cli import program

_HEADS = flags.DEFINE_list("heads", ["ArcFace", "SphereFace2"], "Heads.")
_REPLICAS = flags.DEFINE_list("replicas", ["1", "2", "4"], "Numbers of replicas.")
_PARTITIONS = flags.DEFINE_list("partitions", ["replicas", "none"], "Divided among the replicas, or mirrored.")
_CLASSES = flags.DEFINE_integer("num_classes", 100_000, "Classes K.", lower_bound=2)
_DIM = flags.DEFINE_integer("dim", 512, "Size of the embeddings d.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 128, "Examples B of all replicas.", lower_bound=1)
_RATE = flags.DEFINE_float("sampling_rate", None, "Of heads that sample classes.", lower_bound=0.0, upper_bound=1.0)
_STEPS = flags.DEFINE_integer("steps", 10, "Steps measured, after two that are not.", lower_bound=1)
_SAVE = flags.DEFINE_bool("save", False, "Also write a checkpoint, in a temporary folder.")
_MEASURE = flags.DEFINE_string("measure", None, "Measure this head,replicas,partition only and print it as JSON.")


def main():
    if _MEASURE.value:
        print(json.dumps(measure(*_MEASURE.value.split(","))))
        return
    columns = ("head", "replicas", "partition", "weights and slots", "peak of all", "sent", "step", "loss")
    print(("{:<12} {:>8} {:>9}" + " {:>18}" * 3 + " {:>9}" * 2).format(*columns), flush=True)
    for head in _HEADS.value:
        for partition in _PARTITIONS.value:
            for replicas in _REPLICAS.value:
                command = [*sys.argv, f"--measure={head},{replicas},{partition}"]
                done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    raise ValueError(f"{head} with {replicas} replicas, partition {partition}, was not measured.")
                row = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{head:<12} {replicas:>8} {partition:>9} {row['replica_bytes'] / 1e6:>9.1f} MB/rep. "
                    f"{row['peak_bytes'] / 1e9:>15.2f} GB {row['sent_bytes'] / 1e6:>10.3f} MB/rep. "
                    f"{row['seconds']:>7.3f} s {row['loss']:>9.3f}",
                    flush=True,
                )


def measure(head_name, replicas, partition):
    """Trains a head alone on random embeddings; returns a dict of what it takes."""
    import keras
    import tensorflow as tf

    import tfface
    from tfface import heads
    from tfface.distribute.strategies import make_strategy
    from tfface.optimizers.row_sgd import RowSGD
    from tfface.training.checkpoints.saving import Checkpoints

    replicas = int(replicas)
    strategy = make_strategy("mirrored", replicas)
    options = {} if _RATE.value is None else {"sampling_rate": _RATE.value}
    with strategy.scope():
        # As small as a network can be that gradients have to reach.
        encoder = keras.Sequential([keras.Input((_DIM.value,)), keras.layers.PReLU()])
        head = getattr(heads, head_name)(
            _CLASSES.value, partition=None if partition == "none" else partition, **options
        )
        model = tfface.FaceModel(encoder, head)
        model.compile(optimizer=RowSGD(0.01, momentum=0.9))
        model.optimizer.build(model.trainable_variables)

    part = _BATCH.value // replicas
    batch = {
        "image": tf.random.stateless_normal([part, _DIM.value], [0, 0]),
        "label": tf.random.stateless_uniform([part], [0, 1], 0, _CLASSES.value, tf.int32),
    }
    batches = strategy.distribute_datasets_from_function(lambda _: tf.data.Dataset.from_tensors(batch).repeat())
    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())

    history = model.fit(batches, steps_per_epoch=_STEPS.value + 2, shuffle=False, verbose=0, callbacks=[Clock()])
    if _SAVE.value:
        with tempfile.TemporaryDirectory() as folder:
            Checkpoints(folder, model).save(1)
    seconds = [after - before for before, after in zip(times[1:], times[2:], strict=False)]
    return {
        "replica_bytes": replica_bytes([*model.trainable_variables, *model.optimizer.variables]),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sent_bytes": sent_bytes(model, strategy, batch) if replicas > 1 else 0,
        "seconds": statistics.median(seconds),
        "loss": history.history["loss"][-1],
    }


def replica_bytes(variables):
    """Bytes of the variables that the first replica holds."""
    import tensorflow as tf

    from tfface.distribute.partitioned_variable import PartitionedVariable

    arrays = [next(each.shards())[1] if isinstance(each, PartitionedVariable) else each for each in variables]
    return sum(tf.TensorShape(array.shape).num_elements() * tf.as_dtype(array.dtype).size for array in arrays)


def sent_bytes(model, strategy, batch):
    """Bytes that a replica brings to the collective operations of a step."""
    import tensorflow as tf
    from traffic import messages

    with strategy.scope():
        step = tf.function(lambda: strategy.run(model.train_step, (batch,))).get_concrete_function()
    size, dim = batch["image"].shape
    gathered = 4 * size * (dim + 3)  # Embeddings, label, replica and weight: its shape is not static in the graph.
    return sum(gathered if message.bytes is None else message.bytes for message in messages(step.graph))


if __name__ == "__main__":
    program.run(main)
