"""Keras finds the library's classes after `import tfface`, in a process that has imported nothing else."""

import ast
import subprocess
import sys

import keras
import numpy as np
import pytest
from test_floors import LIBRARY, run_without_tensorflow

import tfface
from tfface import backbones, heads, registration


def test_every_registered_class_is_in_a_table():
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            decorators = getattr(node, "decorator_list", ())
            if any("register_keras_serializable" in ast.unparse(decorator) for decorator in decorators):
                module = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
                found.setdefault(module, set()).add(node.name)
    assert found == {module: set(names) for module, names in registration.classes().items() if names}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model = tfface.FaceModel(
        keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.Flatten(), backbones.batch_norm.FusedBatchNormalization()]
        ),
        heads.BroadFace(heads.ArcFace(5), queue_size=4),
    )
    model.compile(tfface.optimizers.RowSGD(0.1, momentum=0.9))
    model.save(folder / "model.keras")
    model.encoder.save(folder / "encoder.keras")
    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    np.save(folder / "embeddings.npy", model(images))
    return folder


@pytest.mark.parametrize(
    "imports",
    [
        "keras, tfface",
        pytest.param("tfface, keras", marks=pytest.mark.slow),
        pytest.param("tfface, tensorflow, keras", marks=pytest.mark.slow),
    ],
)
def test_a_fresh_process_loads_files(saved, imports):
    code = f"""
import {imports}
import numpy as np
for name in ("encoder", "model"):
    model = keras.models.load_model(f"{saved}/{{name}}.keras")
    found = model.predict(np.load({str(saved / "images.npy")!r}), verbose=0)
    np.testing.assert_allclose(found, np.load({str(saved / "embeddings.npy")!r}), atol=1e-6)
    print(type(model).__name__, type(getattr(model, "optimizer", None)).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-4:] == ["Sequential", "NoneType", "FaceModel", "RowSGD"]


def test_the_import_of_the_package_imports_no_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, tfface; print({'keras', 'tensorflow', 'numpy'} & sys.modules.keys())"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "set()\n"


def test_keras_may_be_missing():
    code = """
import tfface
for _ in range(2):
    try:
        import keras
    except ModuleNotFoundError as error:
        print(error)
"""
    assert run_without_tensorflow(code) == 2 * "No module named 'keras'\n"
