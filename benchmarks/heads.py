"""Measures time and memory of one training step of the heads: loss, gradients, momentum update.

    python benchmarks/heads.py                      # the whole table, some minutes
    python benchmarks/heads.py --only=arcface       # rows whose name contains it

Every row runs in a process of its own. Its time is divided by that of the floor: the three matrix products that any
such step needs, and one update that reads and writes weights and momentum. Step, products and update are measured
alternately in the same process, since machines differ and are noisy. Peak memory is that of the step beyond what
TensorFlow with XLA, or PyTorch, needs to start, and is compared with weights + gradient + momentum.
"""

import json
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import numpy as np
from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_string("only", "", "Rows whose name contains this.")
_ROW = flags.DEFINE_string("row", None, "Measure this row in this process and print JSON; used by the script itself.")
_STEPS = flags.DEFINE_integer("steps", 7, "Steps measured; the median counts.", lower_bound=1)

BATCH, DIM = 128, 512

# name: (head, its options, classes). "autodiff" differentiates a cross-entropy of the head's dense logits instead;
# "pml" is pytorch-metric-learning and "partial_fc" the algorithm of arcface_torch, where PyTorch is installed.
ROWS = {
    "arcface_100k": ("ArcFace", {}, 100_000),
    "arcface_100k_autodiff": ("ArcFace", {}, 100_000),
    "arcface_100k_chunks": ("ArcFace", {"chunk_size": 8192}, 100_000),
    "arcface_100k_bfloat16": ("ArcFace", {"dtype": "mixed_bfloat16"}, 100_000),
    "arcface_100k_pml": ("ArcFace", {}, 100_000),
    "arcface_100k_partial_fc": ("ArcFace", {"sampling_rate": 1.0}, 100_000),
    "sphereface2_100k": ("SphereFace2", {}, 100_000),
    "curricularface_100k": ("CurricularFace", {}, 100_000),
    "arcface_1m": ("ArcFace", {}, 1_000_000),
    "arcface_1m_chunks": ("ArcFace", {"chunk_size": 16384}, 1_000_000),
    "rand_arcface_1m": ("RandArcFace", {"sampling_rate": 0.1}, 1_000_000),
    "rand_arcface_1m_partial_fc": ("RandArcFace", {"sampling_rate": 0.1}, 1_000_000),
    "dsoftmax_757k": ("DSoftmax", {}, 757_000),
    "dsoftmax_k_757k": ("DSoftmaxK", {"sampling_rate": 1 / 64}, 757_000),
}
# Sampled rows are divided by the full step of the same size.
FULL_STEP = {
    "rand_arcface_1m": "arcface_1m",
    "rand_arcface_1m_partial_fc": "arcface_1m",
    "dsoftmax_k_757k": "dsoftmax_757k",
}
# What rows of PyTorch need, by the end of their name.
PEERS = {"pml": "pytorch_metric_learning", "partial_fc": "torch"}


def main():
    if _ROW.value:
        print(json.dumps(measure(_ROW.value)))
        return
    print(f"B = {BATCH}, d = {DIM}, float32 unless named; median ± half of the range of the middle half")
    print(
        f"{'row':26} {'K':>9} {'ms':>12} {'products':>9} {'update':>7} {'of both':>8} {'of full':>8} {'peak GB':>8}"
        f" {'of W+G+M':>9}"
    )
    times = {}
    for name, (_, _, classes) in ROWS.items():
        needs = next((package for end, package in PEERS.items() if name.endswith(end)), None)
        if _ONLY.value not in name or (needs and not find_spec(needs)):
            continue
        command = [sys.executable, __file__, f"--row={name}", f"--steps={_STEPS.value}"]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if child.returncode:
            print(f"{name:26} {classes:>9} failed (exit status {child.returncode})")
            continue
        row = json.loads(child.stdout.splitlines()[-1])
        times[name] = row["ms"]
        full = times.get(FULL_STEP.get(name))
        of_full = f"{row['ms'] / full:.3f}" if full else ""
        taken = f"{row['ms']:.0f} ± {row['spread_ms']:.0f}"
        print(
            f"{name:26} {classes:>9} {taken:>12} {row['products_ms']:9.0f} {row['update_ms']:7.0f}"
            f" {row['ms'] / (row['products_ms'] + row['update_ms']):8.2f} {of_full:>8} {row['peak_gb']:8.2f}"
            f" {row['peak_of_state']:9.2f}",
            flush=True,
        )


def measure(name):
    """Returns times and memory of one row."""
    if name.endswith(tuple(PEERS)):
        return measure_peer(name)

    import tensorflow as tf

    from tfface import heads
    from tfface.optimizers.row_sgd import RowSGD

    kind, options, classes = ROWS[name]
    tf.function(tf.matmul, jit_compile=True)(tf.ones([8, 8]), tf.ones([8, 8]))
    base = resident_gb()
    x = tf.random.normal([BATCH, DIM])
    labels = tf.random.uniform([BATCH], 0, classes, tf.int64)
    # Ones need no second copy while they are made, unlike random weights; the work is the same.
    head = getattr(heads, kind)(classes, class_weights_initializer="ones", **options)
    head.build((None, DIM))
    optimizer = RowSGD(0.1, momentum=0.9)
    optimizer.build(head.trainable_variables)

    def losses():
        if name.endswith("autodiff"):
            logits = head.logits(x, labels)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return head(x, labels, training=True)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(losses())
        sources = [x, *(variable.value for variable in head.trainable_variables)]
        by_x, *gradients = tape.gradient(loss, sources)
        optimizer.apply(gradients, head.trainable_variables)
        return loss, by_x

    step()
    with PeakMemory() as memory:
        step()
    peak = memory.gb - base

    by_products = tf.random.normal([BATCH, classes])

    @tf.function
    def products():
        weights = head.class_weights.value
        products = tf.matmul(x, weights, transpose_b=True)
        by_x = tf.matmul(by_products, weights)
        by_weights = tf.matmul(by_products, x, transpose_a=True)
        return products[0, 0], by_x[0, 0], by_weights[0, 0]

    by_weights = tf.ones([classes, DIM])
    weights, momentum = (variable.value.handle for variable in (head.class_weights, optimizer.momentums[0]))

    @tf.function
    def update():
        tf.raw_ops.ResourceApplyKerasMomentum(var=weights, accum=momentum, lr=0.0, grad=by_weights, momentum=0.9)

    return summary(step, products, update, classes, peak)


def measure_peer(name):
    """Returns times and memory of a head in PyTorch on the CPU."""
    import torch
    import torch_heads

    base = resident_gb()
    _, options, classes = ROWS[name]
    x = torch.randn(BATCH, DIM, requires_grad=True)
    labels = torch.randint(0, classes, (BATCH,))
    make = torch_heads.metric_learning_step if name.endswith("pml") else torch_heads.partial_fc_step
    step = make(x, labels, classes, **options)
    step()
    with PeakMemory() as memory:
        step()
    peak = memory.gb - base
    by_products, weights = torch.randn(BATCH, classes), torch.ones(classes, DIM)
    momentum, gradient = torch.zeros(classes, DIM), torch.ones(classes, DIM)

    def products():
        return x.detach() @ weights.T, by_products @ weights, by_products.T @ x.detach()

    def update():
        momentum.mul_(0.9).add_(gradient)
        weights.add_(momentum, alpha=0.0)

    return summary(step, products, update, classes, peak)


def summary(step, products, update, classes, peak):
    """Times the step and the parts of its floor alternately; returns the medians beside the memory."""
    times = {step: [], products: [], update: []}
    products()
    update()
    for _ in range(_STEPS.value):
        for function, taken in times.items():
            start = time.perf_counter()
            function()
            taken.append(1e3 * (time.perf_counter() - start))
    lower, ms, upper = np.percentile(times[step], [25, 50, 75])
    state = 3 * classes * DIM * 4 / 1e9
    return {
        "ms": ms,
        "spread_ms": (upper - lower) / 2,
        "products_ms": np.median(times[products]),
        "update_ms": np.median(times[update]),
        "peak_gb": peak,
        "peak_of_state": peak / state,
    }


class PeakMemory:
    """Watches the resident memory of this process from a thread."""

    def __enter__(self):
        self.gb, self._running = resident_gb(), True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._running = False
        self._thread.join()

    def _watch(self):
        while self._running:
            self.gb = max(self.gb, resident_gb())
            time.sleep(0.002)


def resident_gb():
    """Resident memory of this process in GB; Linux only."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e9


if __name__ == "__main__":
    program.run(main)
