"""Makes the golden artefacts of a release: files that it wrote and numbers that it gave, for every later release.

Run it once for each release, with the code of that release:

  git worktree add /tmp/release v0.1
  PYTHONPATH=/tmp/release python tests/golden/make.py

It takes some minutes and writes `tests/golden/VERSION/`, less than 2 MB:

  records/train, records/heldout   rendered people
  pairs.csv                        verification pairs of the held-out people
  runs/NAME                        runs as a kill at step 9 of 12 leaves them, with the checkpoint of step 6
  expected/NAME.csv                log of the same run, uninterrupted
  expected/NAME.npz                its embeddings of the held-out people, and its class weights
  embeddings.npz, .tfrecord        held-out people embedded by the interrupted run `plain`
  evaluation/results.json          verification of `plain`
  face_model.keras                 a FaceModel that was compiled and trained for two steps
  expected/face_model.npz          its embeddings of the held-out people, and the losses of its next two steps
  encoder.keras, exported/1        a small network and its SavedModel
  expected/encoder.npz             its embeddings of the held-out people
  quickstart_30.csv                log of 30 steps of the quickstart
  commands.txt                     the commands that made these files

All commands run inside that folder with relative paths, so that no file names the machine that made it. The
quickstart runs in a folder of its own, of which only the log is kept.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
from PIL import Image

import tfface
from tfface import data, jobs, training

STEPS, SAVED, LOGGED = 12, 6, 9
COMMON = [
    "--train_data=records/train",
    "--heldout_data=records/heldout",
    "--heldout_pairs=60",
    "--backbone=MobileFaceNet(width=0.05)",
    "--image_size=56",
    "--embedding_dim=32",
    "--batch_size=16",
    "--learning_rate=0.01",
    "--epochs=2",
    "--log_every=1",
    "--verify_every=6",
    "--save_every=6",
]
# Each head, optimizer and wrapper here keeps other variables in a checkpoint.
RUNS = {
    "plain": ["--head=ArcFace(scale=16, margin=0.2)"],
    "broadface": ["--head=BroadFace(ArcFace(scale=16, margin=0.2), queue_size=32)"],
    "average": ["--head=CurricularFace(scale=16)", "--ema=0.5", "--optimizer=AdamW", "--learning_rate=0.001"],
    "replicas": ["--head=ArcFace(scale=16, margin=0.2)", "--partition=replicas", "--strategy=mirrored", "--replicas=2"],
}
QUICKSTART = ["--log_every=1", "--verify_every=1000", "--save_every=1000", "--epochs=0.4", "--warmup_epochs=0.1"]
RELEASE = pathlib.Path(tfface.__file__).resolve().parents[1]


def main():
    version = ".".join(tfface.__version__.split(".")[:2])
    folder = pathlib.Path(__file__).resolve().parent / version
    folder.mkdir()
    os.chdir(folder)
    os.mkdir("expected")
    os.symlink(RELEASE / "scripts", "scripts")
    make_records()
    for name, flags in RUNS.items():
        program("train", f"--run_dir=runs/{name}", *COMMON, *flags)
        keep_expected(name)
        interrupt(pathlib.Path("runs", name))
    for kind in ("npz", "tfrecord"):
        program("embed", "--model=runs/plain", "--data=records/heldout", f"--output=embeddings.{kind}")
    evaluate = ["--model=runs/plain", "--data=records/heldout", "--protocol=pairs.csv", "--output=evaluation"]
    program("evaluate", *evaluate)
    for file in pathlib.Path("evaluation").iterdir():
        if file.name != "results.json":
            file.unlink()
    make_face_model()
    make_export()
    run_quickstart()
    os.unlink("scripts")


def program(name, *arguments, **options):
    command = [f"scripts/{name}.py", *arguments]
    with open("commands.txt", "a") as file:
        file.write(shlex.join(["python", *command]) + "\n")
    # The path of a script is part of what it writes: it must not be absolute.
    environment = {**os.environ, "PYTHONPATH": str(RELEASE)}
    subprocess.run([sys.executable, *command], check=True, env=environment, **options)


def make_records():
    for identity in range(20):
        os.makedirs(f"faces/id_{identity:02d}")
        for index in range(6):
            image, _ = data.render_face(0, identity, index, 56)
            Image.fromarray(image).save(f"faces/id_{identity:02d}/{index}.jpg", quality=90)
    data.convert_folder("faces", "records", name="faces", holdout_identities=4)
    shutil.rmtree("faces")
    (heldout,) = data.eval_dataset("records/heldout", 24, 56).as_numpy_iterator()
    keys = [key.decode() for key in heldout["key"]]
    data.write_pairs("pairs.csv", data.sample_pairs(keys, heldout["label"], 40, seed=0, folds=2))


def keep_expected(name):
    run = pathlib.Path("runs", name)
    shutil.copy(run / "log.csv", f"expected/{name}.csv")
    found = jobs.embed_images(run, "records/heldout")
    names, class_weights = training.read_class_weights(run)
    np.savez(f"expected/{name}.npz", embeddings=found.vectors, class_weights=class_weights)


def interrupt(run):
    """Removes what a run writes after step LOGGED: its end is then that of a killed process."""
    for file in run.iterdir():
        if file.name not in ("flags.txt", "identities.json", "log.csv", "verification.csv", "checkpoints"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    shutil.rmtree(run / f"checkpoints/step-{STEPS}")
    for log in (run / "log.csv", run / "verification.csv"):
        header, *rows = log.read_text().splitlines(keepends=True)
        log.write_text(header + "".join(row for row in rows if int(row.split(",")[0]) <= LOGGED))


def make_face_model():
    keras.utils.set_random_seed(0)
    encoder = tfface.backbones.MobileFaceNet(32, 56, width=0.05)
    model = tfface.FaceModel(encoder, tfface.heads.SphereFace2(16))
    model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9))
    batches = data.eval_dataset("records/train", 16, 56).take(4).as_numpy_iterator()
    batches = [(batch["image"], batch["label"]) for batch in batches]
    for batch in batches[:2]:
        model.train_on_batch(*batch)
    model.save("face_model.keras")
    embeddings = jobs.embed_images("face_model.keras", "records/heldout").vectors
    losses = []
    for batch in batches[2:]:
        model.reset_metrics()
        losses.append(model.train_on_batch(*batch))
    np.savez("expected/face_model.npz", embeddings=embeddings, losses=losses)


def make_export():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(16, 7, strides=4), keras.layers.PReLU(shared_axes=[1, 2])]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(32)]
    keras.Sequential([keras.Input([56, 56, 3]), *layers]).save("encoder.keras")
    np.savez("expected/encoder.npz", embeddings=jobs.embed_images("encoder.keras", "records/heldout").vectors)
    program("export", "--model=encoder.keras", "--output=exported/1", "--flip")
    # The largest file, which only a server reads.
    pathlib.Path("exported/1/assets.extra/tf_serving_warmup_requests").unlink(missing_ok=True)


def run_quickstart():
    with tempfile.TemporaryDirectory() as elsewhere:
        os.symlink(RELEASE / "scripts", f"{elsewhere}/scripts")
        program("train", "--flagfile=scripts/flagfiles/quickstart.flags", *QUICKSTART, cwd=elsewhere)
        shutil.move(f"{elsewhere}/runs/quickstart/log.csv", "quickstart_30.csv")


if __name__ == "__main__":
    main()
