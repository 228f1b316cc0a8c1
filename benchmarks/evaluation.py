"""Measures the large evaluation protocols beside the bare products they need.

    python benchmarks/evaluation.py                    # some minutes, 5 GB of memory
    python benchmarks/evaluation.py --only=megaface    # rows whose name contains it

Every row runs on random embeddings of 512 numbers, in a process of its own. The bare products are measured there too,
half of them before and half after each repetition, since machines differ and are noisy. Times and ratios are medians,
with half of the range from the smallest to the largest. Memory is the peak of the process less the embeddings.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_string("only", "", "Rows whose name contains this.")
_SCALE = flags.DEFINE_float("scale", 1.0, "Fraction of the full sizes, for a quick look.", 0.001, 1.0)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Repetitions of each row.", lower_bound=1)
_ROW = flags.DEFINE_string("row", None, "Measure this row in this process and print JSON; used by the script itself.")

DIM = 512


def main():
    if _ROW.value:
        print(json.dumps(ROWS[_ROW.value](_SCALE.value)))
        return
    header = ("pairs", 13), ("s", 14), ("bare s", 8), ("ratio", 13), ("s per 1e9", 10), ("GB beyond", 10)
    print(f"{'row':11} {' '.join(f'{title:>{width}}' for title, width in header)}  bare products")
    for name in ROWS:
        if _ONLY.value in name:
            options = f"--row={name}", f"--scale={_SCALE.value}", f"--repeats={_REPEATS.value}"
            child = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=False)
            if child.returncode:
                raise ValueError(f"row {name} ended with status {child.returncode}.")
            for row in json.loads(child.stdout):
                seconds, ratio = (_median(row[key]) for key in ("seconds", "ratios"))
                print(
                    f"{row['name']:11} {row['pairs']:13,} {seconds:>14} {np.median(row['bare']):8.2f} {ratio:>13} "
                    f"{np.median(row['seconds']) / row['pairs'] * 1e9:10.1f} {row['memory']:10.2f}  {row['what']}",
                    flush=True,
                )


def _median(values):
    return f"{np.median(values):.2f} ± {np.ptp(values) / 2:.2f}"


def measure_templates(scale):
    """IJB-C 1:1: 15.6 million pairs of 3,531 gallery and 19,593 probe templates."""
    from tfface import evaluation

    rng = np.random.default_rng(0)
    gallery, probes, pairs = 3531, 19_593, int(15_658_489 * scale)
    embeddings = _embeddings(rng, gallery + probes)
    left, right = rng.integers(gallery, size=pairs), gallery + rng.integers(probes, size=pairs)
    same = rng.random(pairs) < 19_557 / 15_658_489
    fars = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

    def gathered(part):
        for start in range(*part, 4096):
            rows = slice(start, min(start + 4096, part[1]))
            np.einsum("pd,pd->p", embeddings[left[rows]], embeddings[right[rows]])

    def dense(part):
        for start in range(gallery + part[0], gallery + part[1], 1024):
            embeddings[:gallery].astype(np.float64) @ embeddings[start : start + 1024].astype(np.float64).T

    def score():
        scores = evaluation.pair_scores(embeddings, left, right)
        evaluation.tar_at_far(scores[same], scores[~same], fars)

    rows = []
    for what, bare, size in (("listed pairs, float32", gathered, pairs), ("whole matrix, float64", dense, probes)):
        seconds, bare_seconds = _timed(score, bare, size)
        rows.append(_row("templates", pairs, seconds, bare_seconds, embeddings.nbytes, what))
    return rows


def measure_megaface(scale):
    """MegaFace: 3,530 probes of 80 people and a million distractors, rank 1 to 10 and TAR at FAR 1e-6."""
    from tfface import evaluation

    rng = np.random.default_rng(0)
    probes, distractors = _embeddings(rng, 3530), _embeddings(rng, int(1_000_000 * scale))

    def bare(part):
        for start in range(*part, 2048):
            probes @ distractors[start : min(start + 2048, part[1])].T

    def challenge():
        evaluation.megaface_challenge(probes, np.arange(3530) % 80, distractors, range(1, 11))

    seconds, bare_seconds = _timed(challenge, bare, len(distractors))
    size = len(probes) * len(distractors)
    return [_row("megaface", size, seconds, bare_seconds, probes.nbytes + distractors.nbytes, "float32 blocks")]


def measure_exhaustive(scale):
    """10^9 pairs of 44,722 images of 11,181 people."""
    from tfface import evaluation

    rng = np.random.default_rng(0)
    count = int(44_722 * scale**0.5)
    embeddings, block = _embeddings(rng, count), 4096

    def bare(part):
        for row in range(0, count, block):
            for column in range(row, count, block):
                # Every other block in each half.
                if (row + column) // block % 2 == (part[0] > 0):
                    embeddings[row : row + block] @ embeddings[column : column + block].T

    rows = []
    for what, fars in (("FAR 1e-8, 1e-7, 1e-6", (1e-8, 1e-7, 1e-6)), ("FAR 1e-6 to 1e-3", (1e-6, 1e-5, 1e-4, 1e-3))):
        seconds, bare_seconds = _timed(
            lambda fars=fars: evaluation.exhaustive_tar_at_far(embeddings, np.arange(count) // 4, fars), bare, count
        )
        pairs = count * (count - 1) // 2
        rows.append(_row("exhaustive", pairs, seconds, bare_seconds, embeddings.nbytes, f"float32 blocks; {what}"))
    return rows


ROWS = {"templates": measure_templates, "megaface": measure_megaface, "exhaustive": measure_exhaustive}


def _embeddings(rng, count):
    rows = rng.standard_normal((count, DIM), np.float32)
    # In place: a copy would count as memory of the measurement.
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def _timed(function, bare, size):
    """Seconds of a function, and of bare products over [0, size), of which half run before and half after it."""
    times = []
    bare((0, min(size, 4096)))
    for _ in range(_REPEATS.value):
        times.append([])
        for call in (lambda: bare((0, size // 2)), function, lambda: bare((size // 2, size))):
            start = time.perf_counter()
            call()
            times[-1].append(time.perf_counter() - start)
    first, taken, second = np.transpose(times)
    return taken, first + second


def _row(name, pairs, seconds, bare, arrays, what):
    # Linux counts in KiB.
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - arrays) / 1e9
    times = {"seconds": seconds.tolist(), "bare": bare.tolist(), "ratios": (seconds / bare).tolist()}
    return {"name": name, "pairs": pairs, **times, "memory": memory, "what": what}


if __name__ == "__main__":
    program.run(main)
