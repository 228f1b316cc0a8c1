"""Measures training steps of the backbones beside the same networks in PyTorch, on the same cores in the same process.

    python benchmarks/training.py                       # the whole table, some minutes
    python benchmarks/training.py --only=MobileFaceNet
    python benchmarks/training.py --cpu_time            # where other programs run beside it

A step is forward, backward and SGD with momentum, on a batch of random images in float32; its loss is the mean square
of the embeddings. The steps of TensorFlow, of PyTorch, and of PyTorch with its channels last (TensorFlow's own layout)
take turns, and the fastest step of each counts. With --cpu_time each has one thread, and what counts is the processor
time of a step, which other programs hardly disturb.
"""

import pathlib
import sys
import time

from absl import flags

from tfface.cli import program

_ONLY = flags.DEFINE_list("only", ["MobileFaceNet", "IResNet18", "SFNet20"], "Backbones.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images a step.", lower_bound=2)
_STEPS = flags.DEFINE_integer("steps", 7, "Steps measured of each.", lower_bound=1)
_CPU_TIME = flags.DEFINE_bool("cpu_time", False, "Measure processor time on one thread.")

IMAGE_SIZE, EMBEDDING_DIM = 112, 512
# PyTorch's side: network of tests/backbones/torch_networks.py and its options.
NETWORKS = {
    "MobileFaceNet": ("MobileFaceNet", {}),
    "IResNet18": ("IResNet", {"units": (2, 2, 2, 2)}),
    "SFNet20": ("SFNet", {"units": (1, 2, 4, 1)}),
}


def main():
    import numpy as np
    import tensorflow as tf
    import torch

    unknown = set(_ONLY.value) - set(NETWORKS)
    if unknown:
        raise ValueError(f"--only must name {', '.join(NETWORKS)}; got {', '.join(sorted(unknown))}.")
    if _CPU_TIME.value:
        torch.set_num_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"TensorFlow {tf.__version__}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'images/s':14} {'TensorFlow':>10} {'PyTorch':>8} {'channels last':>14} {'ratio':>6} {'to the better':>14}")
    images = np.random.default_rng(0).uniform(-1, 1, (_BATCH.value, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    for name in _ONLY.value:
        steps = [keras_step(name, images), torch_step(name, images, False), torch_step(name, images, True)]
        ours, theirs, channels_last = (len(images) / seconds for seconds in measure(steps, _STEPS.value))
        ratio, to_better = ours / theirs, ours / max(theirs, channels_last)
        print(f"{name:14} {ours:10.1f} {theirs:8.1f} {channels_last:14.1f} {ratio:6.2f} {to_better:14.2f}", flush=True)


def measure(steps, repeats):
    """Returns the seconds of the fastest of each step; they take turns."""
    import numpy as np

    clock = time.process_time if _CPU_TIME.value else time.perf_counter
    seconds = []
    for _ in range(2 + repeats):  # The first two trace, allocate and warm up.
        seconds.append([])
        for step in steps:
            start = clock()
            step()
            seconds[-1].append(clock() - start)
    return np.min(seconds[2:], axis=0)


def keras_step(name, images):
    """Returns a function that trains our backbone by one step."""
    import keras
    import steps
    import tensorflow as tf

    from tfface import backbones

    options = {"dropout": 0} if name.startswith("IResNet") else {}
    model = getattr(backbones, name)(EMBEDDING_DIM, IMAGE_SIZE, **options)
    step = steps.network_step(model, keras.optimizers.SGD(0.01, momentum=0.9), tf.constant(images))
    return lambda: step().numpy()


def torch_step(name, images, channels_last):
    """Returns a function that trains the same network in PyTorch by one step."""
    import torch

    # The tests hold our backbones against these.
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "backbones"))
    import torch_networks

    network, options = NETWORKS[name]
    model = getattr(torch_networks, network)(
        embedding_dim=EMBEDDING_DIM, final_pixels=(IMAGE_SIZE // 16) ** 2, **options
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, 0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    program.run(main)
