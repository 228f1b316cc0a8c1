"""Planned memory of trainings beside their measured peak, each in a process of its own.

    python benchmarks/plan.py                     # twelve trainings, one after the other
    python benchmarks/plan.py --only=RandArcFace  # rows whose settings contain it

The peak is that of the whole process. What TensorFlow takes by itself is measured in the same process: a step of the
same network with few classes and two images per replica and micro-batch has loaded and compiled everything before the
model of the row is made. Replicas are parts of this machine's CPU and share the process.
"""

import ctypes
import dataclasses
import gc
import json
import pathlib
import resource
import subprocess
import sys

from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_string("only", "", "Rows whose settings contain this.")
_CLASSES = flags.DEFINE_integer("num_classes", 100_000, "Classes K.", lower_bound=20_000)
_BATCH = flags.DEFINE_integer("batch_size", 128, "Images per step of all replicas.", lower_bound=16)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps.", lower_bound=1)
_ROW = flags.DEFINE_integer("row", None, "Measure this row only and print it as JSON; used by the script itself.")

_HEADS = ("ArcFace", "SphereFace2(chunk_size=16384)", "RandArcFace(sampling_rate=0.1)")
# Replicas and partition, micro-batches, precision: half of the eight combinations, in which each meets each other one.
_SETTINGS = (
    (1, "none", 1, "float32"),
    (1, "none", 4, "mixed_bfloat16"),
    (2, "replicas", 4, "float32"),
    (2, "replicas", 1, "mixed_bfloat16"),
)
ROWS = [(head, *each) for head in _HEADS for each in _SETTINGS]
# Classes of the first step, enough for XLA to compile what it will compile for more.
_FEW = 8192


def main():
    if _ROW.value is not None:
        print(json.dumps(measure(*ROWS[_ROW.value])))
        return
    print(
        "| head | replicas | partition | micro-batches | precision | before, GB | planned, GB | measured, GB | error |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for number, row in enumerate(ROWS):
        if _ONLY.value not in str(row):
            continue
        done = subprocess.run([sys.executable, *sys.argv, f"--row={number}"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise ValueError(f"{row} was not measured.")
        found = json.loads(done.stdout.splitlines()[-1])
        numbers = [f"{found[name] / 1e9:.2f}" for name in ("before", "planned", "measured")]
        error = f"{found['planned'] / found['measured'] - 1:+.1%}"
        print("| " + " | ".join([f"`{row[0]}`", *map(str, row[1:]), *numbers, error]) + " |", flush=True)


def measure(head, replicas, partition, micro_batches, precision):
    """Trains a model of a row; returns a dict of bytes and, of the plan, those of every moment."""
    from tfface.config.train_config import TrainConfig
    from tfface.distribute.strategies import make_strategy
    from tfface.jobs.planning.plan import plan_training

    settings = TrainConfig(
        run_dir="unused",
        train_data="unused",
        backbone="SFNet(units=[0, 0, 0, 0])",
        head=head,
        partition=partition,
        micro_batches=micro_batches,
        precision=precision,
        batch_size=_BATCH.value,
    )
    strategy = make_strategy("none" if replicas == 1 else "mirrored", 0 if replicas == 1 else replicas)
    with strategy.scope():
        # XLA compiles a sample only of many more classes by itself; their memory would stay with the allocator.
        warm_head = head.replace(")", ", jit_compile=True)") if "sampling_rate" in head else head
        few = _FEW * replicas
        warm = make_model(dataclasses.replace(settings, head=warm_head), few)
        train(warm, strategy, 2 * micro_batches, few, steps=1)
        del warm
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident_bytes()
    with strategy.scope():
        model = make_model(settings, _CLASSES.value)
        planned = plan_training(settings, _CLASSES.value, replicas, model=model)
    train(model, strategy, _BATCH.value // replicas, _CLASSES.value, _STEPS.value)
    return {
        "before": before,
        "planned": before + planned.process_bytes(replicas),
        "measured": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "moments": planned.memory.moments,
    }


def make_model(settings, classes):
    """Makes the model of a training, as `tfface train` does."""
    from tfface.config.build import build_encoder, build_head, build_optimizer
    from tfface.training.face_model import FaceModel

    encoder = build_encoder(settings)
    model = FaceModel(encoder, build_head(settings, classes), settings.micro_batches)
    model.compile(optimizer=build_optimizer(settings, 0.01, encoder))
    model.optimizer.build(model.trainable_variables)
    return model


def train(model, strategy, part, classes, steps):
    """Trains on random images, `part` per replica."""
    import tensorflow as tf

    batch = {
        "image": tf.random.stateless_uniform([part, *model.encoder.input_shape[1:]], [0, 0], -1.0, 1.0),
        "label": tf.random.stateless_uniform([part], [0, 1], 0, classes, tf.int32),
    }
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    if strategy.num_replicas_in_sync > 1:
        dataset = strategy.distribute_datasets_from_function(lambda _: tf.data.Dataset.from_tensors(batch).repeat())
    with strategy.scope():
        model.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)


def resident_bytes():
    """Memory of this process now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    program.run(main)
