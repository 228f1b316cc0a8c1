"""Measures whole training steps: what the network takes, what the head takes, and what is neither.

    python benchmarks/step.py                          # the table, some minutes
    python benchmarks/step.py --only=MobileFaceNet     # rows whose name contains it

Every row runs in a process of its own, on random images that are in memory already. The step is that of `tfface train`
with its defaults: `FaceModel` with ArcFace, SGD with momentum and coupled weight decay. By turns with it run a step of
the network alone, whose loss is the mean square of the embeddings, and a step of the head alone on fixed embeddings;
both with the same optimizer. What the whole takes beyond these two is neither.

Below each row stands what a second, profiled run of the whole step spends in the operators of each kind. It starts one
operator after the other, so that their times add up; each still has all cores.
"""

import collections
import json
import re
import subprocess
import sys
import time

import numpy as np
from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_string("only", "", "Rows whose name contains this.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images a step.", lower_bound=2)
_STEPS = flags.DEFINE_integer("steps", 7, "Steps measured of each; the median counts.", lower_bound=1)
_ROW = flags.DEFINE_string("row", None, "Measure this row in this process and print JSON; used by the script itself.")
_PROFILE = flags.DEFINE_bool("profile", False, "With --row: profile it; used by the script itself.")

IMAGE_SIZE, EMBEDDING_DIM = 112, 512
ROWS = {
    f"{backbone}_{name}": (backbone, classes)
    for backbone in ("MobileFaceNet", "IResNet18")
    for name, classes in (("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000))
}
# Kinds of operators by their types, as patterns; the first that fits counts.
KINDS = {
    "convolutions": r".*Conv",
    "batch normalisation": r".*BatchNorm",
    "XLA: head, PReLU, decay": "XLA",
    "update": "Resource|Assign",
}
_OTHERS = 5  # Types shown beside those.


def main():
    if _ROW.value:
        print(json.dumps(profile(*ROWS[_ROW.value]) if _PROFILE.value else measure(*ROWS[_ROW.value])))
        return
    print(f"B = {_BATCH.value}, {IMAGE_SIZE} × {IMAGE_SIZE} pixels; ms, median ± half of the range of the middle half")
    print(f"{'row':20} {'step':>12} {'network':>12} {'head':>12} {'neither':>8}")
    for name in ROWS:
        if _ONLY.value in name:
            times = _in_process(name)
            middle = {part: np.percentile(taken, [25, 50, 75]) for part, taken in times.items()}
            shown = " ".join(f"{f'{ms:.0f} ± {(upper - lower) / 2:.0f}':>12}" for lower, ms, upper in middle.values())
            step, network, head = (ms for _, ms, _ in middle.values())
            print(f"{name:20} {shown} {step - network - head:8.0f}", flush=True)
            for kind, ms in _in_process(name, "--profile").items():
                print(f"  {kind:30} {ms:8.1f}", flush=True)


def _in_process(name, *options):
    options = f"--row={name}", f"--batch={_BATCH.value}", f"--steps={_STEPS.value}", *options
    child = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise ValueError(f"row {name} ended with status {child.returncode}.")
    return json.loads(child.stdout.splitlines()[-1])


def measure(backbone, classes):
    """Returns the milliseconds of each step, of the network and of the head."""
    import steps

    parts = {
        "step": whole_step(backbone, classes),
        "network": steps.network_step(_network(backbone), _optimizer(), _images()),
        "head": head_step(classes),
    }
    times = {part: [] for part in parts}
    for repeat in range(2 + _STEPS.value):  # The first two trace, allocate and warm up.
        for part, step in parts.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:
                times[part].append(1e3 * (time.perf_counter() - start))
    return times


def profile(backbone, classes):
    """Returns the milliseconds a step of the operators of each kind, and of the largest of the others."""
    import steps
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    step = whole_step(backbone, classes)
    step(), step()
    taken, space = steps.traced(step, _STEPS.value)
    types = operator_seconds(space)
    kinds = dict.fromkeys(KINDS, 0.0)
    others = collections.Counter()
    for operator, seconds in types.items():
        kind = next((kind for kind, pattern in KINDS.items() if re.match(pattern, operator)), None)
        if kind:
            kinds[kind] += seconds
        else:
            others[operator] += seconds
    shown = dict(others.most_common(_OTHERS))
    kinds |= {**shown, "other operators": sum(others.values()) - sum(shown.values())}
    kinds["between operators"] = taken - sum(types.values())
    return {kind: 1e3 * seconds / _STEPS.value for kind, seconds in kinds.items()}


def operator_seconds(space):
    """Returns the seconds of each type of operator in a trace, without those of operators within them."""
    seconds = collections.Counter()
    for plane in space.planes:
        types = {number: _type(metadata.name) for number, metadata in plane.event_metadata.items()}
        for line in plane.lines:
            events = [event for event in line.events if types[event.metadata_id]]
            around = []  # (end, type) of the operators that have not ended.
            for event in sorted(events, key=lambda event: (event.offset_ps, -event.duration_ps)):
                while around and around[-1][0] <= event.offset_ps:
                    around.pop()
                seconds[types[event.metadata_id]] += event.duration_ps / 1e12
                if around:
                    seconds[around[-1][1]] -= event.duration_ps / 1e12
                around.append((event.offset_ps + event.duration_ps, types[event.metadata_id]))
    return seconds


def _type(event):
    """Returns the type of an operator from the name of its event, "its name:its type"; None: it is no operator."""
    if event.endswith("::ExecuteAsyncOnStream"):
        return "XLA"
    operator = re.fullmatch(r"[^: ]+:([^: #]+)(#.*)?", event)
    return operator and operator[1]


def whole_step(backbone, classes):
    """Returns a function that makes a step of `FaceModel`, as `fit` does."""
    import tensorflow as tf

    from tfface import heads
    from tfface.training import FaceModel

    model = FaceModel(_network(backbone), heads.ArcFace(classes))
    model.compile(optimizer=_optimizer())
    model.optimizer.build(model.trainable_variables)
    labels = tf.random.uniform([_BATCH.value], 0, classes, tf.int64)
    batches = iter(tf.data.Dataset.from_tensors({"image": _images(), "label": labels}).repeat())
    model.make_train_function()
    return lambda: model.train_function(batches)


def head_step(classes):
    """Returns a function that makes a step of the head alone."""
    import tensorflow as tf

    from tfface import heads

    head, optimizer = heads.ArcFace(classes), _optimizer()
    head.build((None, EMBEDDING_DIM))
    optimizer.build(head.trainable_variables)
    embeddings = tf.random.normal([_BATCH.value, EMBEDDING_DIM])
    labels = tf.random.uniform([_BATCH.value], 0, classes, tf.int64)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = tf.reduce_mean(head(embeddings, labels, training=True))
        by_embeddings, *gradients = tape.gradient(loss, [embeddings, *head.trainable_variables])
        optimizer.apply(gradients, head.trainable_variables)
        return loss, by_embeddings

    return step


def _network(backbone):
    from tfface import backbones

    options = {"dropout": 0} if backbone.startswith("IResNet") else {}
    return getattr(backbones, backbone)(EMBEDDING_DIM, IMAGE_SIZE, **options)


def _optimizer():
    from tfface import optimizers

    return optimizers.SGD(0.01, weight_decay=5e-4)


def _images():
    import tensorflow as tf

    return tf.random.uniform([_BATCH.value, IMAGE_SIZE, IMAGE_SIZE, 3], -1, 1)


if __name__ == "__main__":
    program.run(main)
