"""Hostile input of every kind but TFRecord: mutated files are read, or end in a ValueError or OSError that names them.

A child process reads them, under a limit of memory and of time for each, so that a reader that takes either ends the
child and not the test. Formats of pictures and lists, and what is asserted of an input, are those of data/test_fuzz.py.
"""

import functools
import importlib.util
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile

import numpy as np
import programs
import pytest

SECONDS, MEMORY = 30, 1 << 30  # For one input, beyond what the libraries take.
SLOW = {"keras", "keras members"}  # Keras builds a network for each that is read.
COUNT, COUNT_SLOW = 100_000, 600


def _fuzz():
    path = pathlib.Path(__file__).parent / "data" / "test_fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz_of_sources", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def json_documents(folder):
    (folder / "run").mkdir()
    shards = [{"file": f"a-0000{n}-of-00002.tfrecord", "images": n + 1, "sha256": "0" * 64} for n in range(2)]
    dataset = {"schema_version": 1, "name": "a", "images": 3, "identities": 2, "image_size": [112, 112]}
    dataset |= {"landmarks": 1, "label_map": ["Ann", "Bob é"], "shards": shards}
    point = {"far": 0.001, "tar": 0.5, "threshold": 0.25, "measured_far": 0.001, "genuine": 1}
    result = {"name": "lfw", "genuine_pairs": 3, "impostor_pairs": 3, "accuracy": {"mean": 0.9, "std": 0.1}}
    result |= {"auc": 0.9, "eer": 0.1, "tar_at_far": [point], "threshold": None}
    angles = {"w_ec": None, "w_inter": None, "intra": 38.45, "inter": 65.83}
    for name, content in {
        "dataset.json": dataset,
        "run/identities.json": ["Ann", "Bob \\ \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "[{"],
        "results.json": {"context": {"flip": True}, "results": [result], "angles": angles},
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1))


def flagfiles_of(folder):
    (folder / "flags.txt").write_text("--run_dir=r\n--train_data=t\n# why\n--epochs=2.5\n--freeze=a,b\n--nomirror\n")
    (folder / "a.flags").write_text("--name=x\n--flagfile=b.flags\n--count=3\n")
    (folder / "b.flags").write_text("--many=1,2\n")


def arrays(folder):
    vectors, labels = np.ones([6, 8], np.float32), np.arange(6)
    keys = np.array([f"person/{n}.jpg" for n in range(6)])
    np.savez(folder / "a.npz", vectors=vectors, keys=keys, labels=labels)
    np.savez_compressed(folder / "b.npz", vectors=vectors, keys=keys, labels=labels)
    np.save(folder / "a.npy", vectors)


def tables(folder):
    (folder / "groups.csv").write_text("key,age,tone\n" + "".join(f'"a/{n}.jpg",{n},"t,{n}"\n' for n in range(9)))
    lines = "".join(f"SphereFace,{n},CASIA,A,LFW accuracy,99.{n}\n" for n in range(9))
    (folder / "papers.csv").write_text("paper,table,training,method,measure,value\n" + lines)
    columns = ",".join(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
    (folder / "landmarks.csv").write_text(f"path,{columns}\n" + "".join(f"{n}.jpg{',1.5' * 10}\n" for n in range(9)))


@functools.cache
def _small_network():
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.keras")
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu")]).save(path)
        return path.read_bytes()


KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")


def keras_files_of(folder):
    (folder / "a.keras").write_bytes(_small_network())


def keras_members(folder):
    with zipfile.ZipFile(io.BytesIO(_small_network())) as archive:
        archive.extractall(folder)


def load_packed(path):
    """Packs the members again, because the checksums of an archive would show any change of them."""
    from tfface.training import keras_files

    packed = path.with_name("packed.keras")
    with zipfile.ZipFile(packed, "w") as archive:
        for name in KERAS_MEMBERS:
            archive.write(path.with_name(name), name)
    return keras_files.load_model(packed)


def expand(path):
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        from tfface import flagfiles

        return flagfiles.expand(["program", f"--flagfile={path.parent / 'a.flags'}"])
    finally:
        os.chdir(before)


def formats():
    from tfface import npz_files
    from tfface.config import train_flags
    from tfface.data import DatasetInfo, read_landmarks
    from tfface.evaluation.metrics import groups
    from tfface.evaluation.protocols.resume import Checkpoint
    from tfface.evaluation.reports import comparison
    from tfface.export import load_embeddings
    from tfface.training import keras_files
    from tfface.training.checkpoints import warm_start

    return {
        "json": (
            json_documents,
            {
                "dataset.json": lambda path: DatasetInfo.load(path.parent),
                "run/identities.json": lambda path: warm_start.read_identities(path.parent),
                "results.json": comparison.read_run,
            },
        ),
        "flagfiles": (flagfiles_of, {"flags.txt": train_flags.read_flagfile, "a.flags": expand, "b.flags": expand}),
        "arrays": (
            arrays,
            {
                "a.npz": lambda path: (load_embeddings(path), Checkpoint(path, 1, [b""]).load()),
                "b.npz": load_embeddings,
                "a.npy": npz_files.read_npy,
            },
        ),
        "tables": (
            tables,
            {
                "groups.csv": groups.read_groups,
                "papers.csv": comparison.read_papers,
                "landmarks.csv": read_landmarks,
            },
        ),
        "keras": (keras_files_of, {"a.keras": keras_files.load_model}),
        "keras members": (keras_members, dict.fromkeys(KERAS_MEMBERS, load_packed)),
    }


NEW = {
    "json": ("dataset.json", "run/identities.json", "results.json"),
    "flagfiles": ("flags.txt", "a.flags", "b.flags"),
    "arrays": ("a.npz", "b.npz", "a.npy"),
    "tables": ("groups.csv", "papers.csv", "landmarks.csv"),
    "keras": ("a.keras",),
    "keras members": KERAS_MEMBERS,
}


def child(form, names, first, count, folder):
    """Reads `count` mutations of each file and prints what became of them, JSON."""
    fuzz = _fuzz()
    fuzz.FORMATS.update(formats())
    folder = pathlib.Path(folder)
    os.chdir(folder)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found, started = {"read": 0, "refused": 0}, time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(first, first + count):
        for name in names:
            print(form, name, seed, file=sys.stderr, flush=True)
            signal.alarm(SECONDS)
            found[fuzz.run(folder / "input", form, name, seed)] += 1
            signal.alarm(0)
            shutil.rmtree(folder / "input")
    found["MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    found["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(found))


def campaign(form, names, first, count, folder):
    no_gpu = {"CUDA_VISIBLE_DEVICES": "-1"}
    done = programs.run(__file__, form, ",".join(names), first, count, folder, variables=no_gpu, timeout=None)
    assert done.returncode == 0, f"{form} ended with {done.returncode}: {done.stderr[-3000:]}"
    assert {one.name for one in folder.iterdir()} == set()
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["read"] + found["refused"] == count * len(names)
    return found


def _kinds():
    old = {form: tuple(files) for form, (_, files) in _fuzz().FORMATS.items() if form != "tfrecord"}
    return {**old, **NEW}


@pytest.mark.parametrize("form", NEW)
def test_some_mutations(tmp_path, form):
    found = campaign(form, NEW[form], 0, 20 if form in SLOW else 40, tmp_path)
    assert found["refused"]


@pytest.mark.slow
def test_a_hundred_thousand_mutations(tmp_path):
    kinds = _kinds()
    count = -(-(COUNT - COUNT_SLOW) // sum(len(names) for form, names in kinds.items() if form not in SLOW))
    total = {"read": 0, "refused": 0, "MB": 0, "seconds": 0}
    for form, names in kinds.items():
        found = campaign(form, names, 10_000, COUNT_SLOW if form in SLOW else count, tmp_path)
        print(form, found, flush=True)
        total = {key: max(total[key], one) if key == "MB" else total[key] + one for key, one in found.items()}
    print(total)
    assert total["read"] + total["refused"] >= COUNT


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
