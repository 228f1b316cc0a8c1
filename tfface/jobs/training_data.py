"""The data of a training: where its records are, rendered first if they are synthetic, and its batches."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfface import data, files, progress
from tfface.config import components, train_flags
from tfface.config.train_config import TrainConfig
from tfface.data.synthetic import rendering
from tfface.distribute import collectives

_SYNTHETIC = "records"  # Folder of rendered records in that of their run.


def prepare_records(settings: TrainConfig, run_dir: pathlib.Path) -> tuple[str, str | None]:
    """Returns the locations of training and held-out records; renders synthetic ones first.

    Args:
      settings: `TrainConfig`.
      run_dir: folder of the run, which holds the synthetic records.

    Raises:
      OSError: the records cannot be written.
    """
    if settings.train_data != "synthetic":
        return settings.train_data, settings.heldout_data
    records = run_dir / _SYNTHETIC
    if collectives.is_chief():
        _render(settings, run_dir, records)
    collectives.barrier()
    return training_records(settings), str(records / "heldout")


def training_records(settings: TrainConfig) -> str:
    """Returns the location of the training records, which `prepare_records` renders if they are synthetic."""
    synthetic = settings.train_data == "synthetic"
    return str(pathlib.Path(settings.run_dir) / _SYNTHETIC / "train") if synthetic else settings.train_data


def sample_images(settings: TrainConfig, records: data.Records) -> tuple[np.ndarray, np.ndarray]:
    """Draws the training images that callbacks follow, by the seed.

    Returns:
      (images, float32 [N, S, S, 3] in [-1, 1]; labels, int64 [N]), at most `callback_images`.
    """
    count = min(settings.callback_images, sum(records.counts))
    shuffle = components.build("shuffle", settings.shuffle)
    options = {"seed": settings.seed, "mirror": False, "shuffle": shuffle}
    dataset = data.train_dataset(records, count, settings.image_size, **options)
    batch = next(dataset.take(1).as_numpy_iterator())
    return batch["image"], batch["label"]


def batch_maker(
    settings: TrainConfig, records: data.Records, start_step: int
) -> Callable[[int, int, int], tf.data.Dataset]:
    """Returns a function that makes the dataset of one worker, for `distribute`.

    Args:
      settings: `TrainConfig`.
      records: training records.
      start_step: int, step that the first batch is for.
    """

    def make(num_workers, worker_index, parts):
        return data.train_dataset(
            records,
            settings.batch_size,
            settings.image_size,
            seed=settings.seed,
            mirror=settings.mirror,
            augmentations=[components.build("augmentation", each) for each in settings.augment],
            batches=components.build("batches", settings.batches) if settings.batches else None,
            shuffle=components.build("shuffle", settings.shuffle),
            start_step=start_step,
            deterministic=settings.deterministic,
            num_workers=num_workers,
            worker_index=worker_index,
            parts=parts,
            as_pixels=True,
        )

    return make


def _render(settings, run_dir, records):
    # Without the settings of a run, records are those of an attempt that failed, perhaps with other settings.
    if (run_dir / train_flags.FLAGFILE).is_file():
        return
    identities, images = settings.synthetic_identities + settings.synthetic_heldout, settings.synthetic_images
    with files.temporary_folder(beside=run_dir / "faces") as temporary:
        faces = os.path.join(temporary, "faces")
        with progress.bar(total=identities * images, desc="render", unit=" images") as bar:
            rendering.write_folder(
                faces, identities, images, settings.image_size, settings.seed, os.cpu_count(), bar.update
            )
        data.convert_folder(
            faces,
            records,
            name="synthetic",
            holdout_identities=settings.synthetic_heldout,
            overwrite=True,
            progress=True,
        )
