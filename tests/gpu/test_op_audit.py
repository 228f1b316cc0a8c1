"""No operation of a step fails on a GPU, or waits for it without a reason; no GPU is needed to see that.

Most of it needs the package `tensorflow`, because `tensorflow-cpu` registers no kernels for GPUs. docs/gpu.md has the
commands.
"""

import gc
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest
import step_graphs
import tensorflow as tf
from op_audit import audit, has_gpu_kernels, operations, raising_operations

from tfface import backbones, heads

# What raises in TensorFlow 2.21, for tests with `tensorflow-cpu`, whose library lacks the messages.
RAISING = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "FakeQuantWithMinMaxVarsGradient",
    "FakeQuantWithMinMaxVarsPerChannelGradient",
    "FusedBatchNormGrad",
    "FusedBatchNormGradV2",
    "FusedBatchNormGradV3",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SparseTensorDenseMatMul",
    *(f"Scatter{kind}" for kind in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Update")),
}

# Findings that stay: the name of the graph and "problem operation", as patterns, and the reason, as in docs/gpu.md.
_SMALL = "AddV2|ConcatV2|Equal|FloorDiv|FloorMod|GreaterEqual|Less|Minimum|Mul|Neg|Pack|PadV2|Range|Reshape|Select(V2)?"
_SMALL += "|StatelessRandomGetKeyCounter|StridedSlice|Sub|Sum|TopKV2"
STAYS = [
    (".*", "waits (If|StatelessIf|Assert)", "labels, embeddings and the weights of losses are checked"),
    (".*", "waits StatelessRandomGetKeyCounter", "random numbers, those of dropout too, have a seed from a variable"),
    (
        r"(Rand|DSoftmaxK).*|.*, (sampled|forest), .*",
        f"no kernel RandomIndexShuffle|waits ({_SMALL})",
        "classes are drawn on the host, from vectors of labels and seeds",
    ),
    (
        "SubCenterArcFace, (sampled|forest), .*",
        "on host (AddV2|Mul|Reshape|StridedSlice)",
        "drawn classes become numbers of rows, those of the sub-centers of each",
    ),
    (
        r".*(partitioned|in BroadFace|with losses).*",
        f"waits ({_SMALL}|Where)",
        "small vectors of indices: queues, sub-centers, and rows that other replicas have",
    ),
    (".*with losses.*", "on host (AddV2|Equal|Slice|StridedSlice)", "examples or classes compared with each other"),
    (".*", "through host .*", "with op determinism only"),
    ("aligned", "waits Pack", "the shape of the image that stands in for an empty batch"),
    (
        "serving_default|compare|detect_free_align",
        "(no kernel|waits|on host) .*",
        "files are decoded on the host",
    ),
]


@pytest.fixture(scope="module")
def raising():
    if not has_gpu_kernels():
        pytest.skip("tensorflow-cpu registers no kernels for GPUs: install `tensorflow` in an environment of its own")
    return raising_operations()


@pytest.fixture(autouse=True)
def forgotten():
    """Graphs refer to themselves: each would stay with its functions, and hundreds need many GB."""
    yield
    keras.backend.clear_session()
    gc.collect()


def unexpected(name, graph, raising):
    """The findings in a graph that have no reason to stay."""
    findings = sorted(f"{finding.problem} {finding.op}" for finding in audit(graph, raising))
    return [
        finding
        for finding in findings
        if not any(re.fullmatch(graphs, name) and re.fullmatch(stays, finding) for graphs, stays, _ in STAYS)
    ]


def over(cases):
    """Parametrises a test over dict or list of cases by their names."""
    cases = list(cases.items() if isinstance(cases, dict) else cases)
    return pytest.mark.parametrize("name, case", cases, ids=[name for name, _ in cases])


@pytest.mark.slow
@over([(name, (make, partitioned)) for name, make, partitioned in step_graphs.head_cases()])
def test_training_steps_of_heads(name, case, raising, mirrored):
    make, partitioned = case
    graph = step_graphs.training_graph(make, strategy=mirrored(2) if partitioned else None)
    assert unexpected(name, graph, raising) == []


def head():
    return heads.ArcFace(step_graphs.CLASSES)


@pytest.mark.slow
@over(step_graphs.OPTIMIZERS)
@pytest.mark.parametrize("partition", [None, "replicas"])
def test_training_steps_of_optimizers(name, case, partition, raising, mirrored):
    graph = step_graphs.training_graph(
        lambda: heads.ArcFace(step_graphs.CLASSES, partition=partition),
        case,
        strategy=mirrored(2) if partition else None,
    )
    assert unexpected(name, graph, raising) == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", backbones.COMPONENTS)
def test_training_steps_of_backbones(name, policy, raising):
    if policy != "float32" and re.search("34|50|64|100|200|Small", name):
        pytest.skip("a smaller network of the same operations is judged in this precision")
    graph = step_graphs.training_graph(head, make_encoder=step_graphs.backbone(name, policy), ema_momentum=0.9)
    assert unexpected(f"{name}, {policy}", graph, raising) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["IResNet18", "MobileFaceNet", "SFNet20", "ViTTiny"])
def test_training_steps_with_frozen_layers(name, raising):
    """Frozen layers after others that learn: gradients pass through normalisation that is not trained."""
    make_encoder = step_graphs.backbone(name, "float32", frozen=lambda number: number % 3)
    graph = step_graphs.training_graph(head, make_encoder=make_encoder, micro_batches=2)
    assert unexpected(f"{name}, frozen", graph, raising) == []


@pytest.mark.slow
@pytest.mark.parametrize("partition", [None, "replicas"])
def test_steps_of_evaluation(partition, raising, mirrored):
    graph = step_graphs.evaluation_graph(
        lambda: heads.ArcFace(step_graphs.CLASSES, partition=partition), mirrored(2) if partition else None
    )
    assert unexpected("evaluation", graph, raising) == []


@pytest.mark.slow
def test_embedding_and_exports(raising):
    found = {name: unexpected(name, graph, raising) for name, graph in step_graphs.export_graphs()}
    assert len(found) >= 5
    assert all(findings == [] for findings in found.values()), found


# The audit finds what it looks for


@pytest.mark.slow
@pytest.mark.parametrize(
    "planted, finding",
    [
        (lambda x: tf.math.bincount(tf.cast(x[:, 0], tf.int32), dtype=tf.float32)[0], "raises DenseBincount"),
        (lambda x: tf.cast(tf.strings.length(tf.strings.as_string(x[0, 0])), tf.float32), "no kernel AsString"),
        (lambda x: tf.reduce_sum(tf.boolean_mask(x[:, 0], x[:, 0] > 0)), "waits Where"),
        (lambda x: tf.cast(tf.cast(x[:, :, None], tf.int32) == 1, tf.float32)[0, 0, 0], "on host Equal"),
    ],
)
def test_what_is_planted_is_found(planted, finding, raising):
    class Planted(heads.ArcFace):
        def losses(self, embeddings, *args, **kwargs):
            return super().losses(embeddings, *args, **kwargs) + planted(embeddings)

    graph = step_graphs.training_graph(lambda: Planted(step_graphs.CLASSES))
    assert finding in unexpected("planted", graph, raising)


@pytest.mark.slow
def test_what_raises_is_what_the_library_says(raising):
    """A new TensorFlow may know more operations, or others."""
    assert {*raising} == RAISING


PARTITIONED = {name: make for name, make, partitioned in step_graphs.head_cases() if partitioned}
FAST = ("ArcFace, sampled", "CurricularFace, plain", "DSoftmaxB, plain", "SubCenterArcFace, in BroadFace")


@over({name: make for name, make in PARTITIONED.items() if name.startswith(FAST)})
def test_no_partitioned_step_raises_with_determinism(name, case, mirrored):
    """With any build of TensorFlow; such a step was the first that could not run on GPUs."""
    graph = step_graphs.training_graph(case, strategy=mirrored(2))
    nodes = [each.node_def for each in operations(graph)]
    assert not {node.op for node in nodes if not node.attr["is_training"].b} & RAISING


# In a process of its own: determinism stays on once it is on.
TWICE = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import step_graphs
import tfface

keras.utils.set_random_seed(0)
tf.config.experimental.enable_op_determinism()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
x, y = rng.normal(size=(24, 4, 4, 3)).astype(np.float32), rng.integers(0, step_graphs.CLASSES, 24)
for name in ("ArcFace, sampled", "SphereFace2, in BroadFace"):
    make = next(make for case, make, partitioned in step_graphs.head_cases() if partitioned and case.startswith(name))
    curves = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = tfface.FaceModel(step_graphs.small_encoder(), make())
            model.compile(optimizer=step_graphs.OPTIMIZERS["RowSGD coupled"]())
        curves.append(model.fit(x, y, batch_size=12, epochs=6, verbose=0).history["loss"])
    assert curves[0] == curves[1], curves
    assert np.all(np.isfinite(curves[0])) and curves[0][-1] < curves[0][0], curves
"""


@pytest.mark.slow
def test_two_replicas_train_the_same_twice():
    here = pathlib.Path(__file__).resolve().parent
    path = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", TWICE], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
