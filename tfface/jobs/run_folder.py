"""The folder of a training run: owned by one training at a time, resumed only with the settings of the run."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator

from tfface import files, json_files, ownership
from tfface.config import train_config, train_flags
from tfface.config.build import completed
from tfface.config.train_config import TrainConfig
from tfface.data.dataset_content import DatasetContent
from tfface.jobs.training_data import training_records
from tfface.training.checkpoints.warm_start import read_identities, write_identities

_CONTENT = "train_data.json"  # Checksums of the shards; the identities are those of the class weights.


@contextlib.contextmanager
def owned_run_folder(settings: TrainConfig) -> Iterator[None]:
    """Context that owns the run folder of a training, and has checked what is in it or, to overwrite, removed it.

    Args:
      settings: `TrainConfig`.

    Raises:
      ValueError: another training owns the folder, or it holds a run that these settings do not continue.
      OSError: the folder cannot be read or written.
    """
    run_dir = pathlib.Path(settings.run_dir)
    with ownership.owned(run_dir, steal=settings.steal_lock, remedy="--steal_lock takes it over"):
        flagfile = run_dir / train_flags.FLAGFILE
        if settings.overwrite and not settings.resume and flagfile.is_file():
            _empty(run_dir)
        if flagfile.is_file():
            if not settings.resume:
                raise ValueError(f"{run_dir} already holds a run: --resume continues it, --overwrite starts again.")
            _check_settings(settings, flagfile)
            _check_content(settings, run_dir)
        yield


def write_run(settings: TrainConfig, content: DatasetContent) -> None:
    """Writes what makes a folder a run that can be resumed: its settings and the content of its training data.

    Args:
      settings: `TrainConfig`.
      content: that of the training data; its identities are those of the rows of the class weights.
    """
    run_dir = pathlib.Path(settings.run_dir)
    write_identities(run_dir, content.identities)
    files.write_atomically(run_dir / _CONTENT, json.dumps({"shards": content.shards}).encode())
    train_flags.write_flagfile(settings, run_dir / train_flags.FLAGFILE)


def _empty(run_dir):
    for path in run_dir.iterdir():
        if path.name != ownership.FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_settings(settings, flagfile):
    """Raises ValueError if a setting differs from that of the run and is not free to."""
    old, settings = completed(train_flags.read_flagfile(flagfile)), completed(settings)
    free = train_config.marked("free")
    changed = [
        f"--{field.name} (was {getattr(old, field.name)!r}, now {getattr(settings, field.name)!r})"
        for field in dataclasses.fields(settings)
        if field.name not in free and getattr(old, field.name) != getattr(settings, field.name)
    ]
    # A run of release 0.1 did not keep checksums, so only the same spelling can mean the same records.
    if old.train_data != settings.train_data and not (flagfile.parent / _CONTENT).is_file():
        changed.append(f"--train_data (was {old.train_data!r}, now {settings.train_data!r})")
    if changed:
        raise ValueError(
            f"{flagfile.parent} cannot be resumed with other settings: {'; '.join(changed)}. "
            f"{_start_from(flagfile.parent)} with other settings, also to train for more epochs."
        )


def _check_content(settings, run_dir):
    """Raises ValueError if the training data do not hold what the run was trained on."""
    shards = None
    if (run_dir / _CONTENT).is_file():
        shards = tuple(json_files.read(run_dir / _CONTENT, {"shards": [str]})["shards"])
    records = training_records(settings)
    now = DatasetContent.load(records)
    if difference := DatasetContent(tuple(read_identities(run_dir)), shards).difference(now):
        raise ValueError(
            f"{run_dir} cannot be resumed with other training data: {records} holds {difference}. "
            f"{_start_from(run_dir)} on other data."
        )


def _start_from(run_dir):
    return f"--init_from={run_dir} with a new --run_dir begins with the weights of this run"
