"""The folder of a training run: owned by one training at a time, resumed only with the settings of the run."""

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator

from tfface import ownership
from tfface.config import train_config
from tfface.config.build import completed
from tfface.config.train_config import TrainConfig


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
        flagfile = run_dir / train_config.FLAGFILE
        if settings.overwrite and not settings.resume and flagfile.is_file():
            _empty(run_dir)
        if flagfile.is_file():
            if not settings.resume:
                raise ValueError(f"{run_dir} already holds a run: --resume continues it, --overwrite starts again.")
            _check_settings(settings, flagfile)
        yield


def _empty(run_dir):
    for path in run_dir.iterdir():
        if path.name != ownership.FILE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_settings(settings, flagfile):
    """Raises ValueError if a setting differs from that of the run and is not free to."""
    old, free = completed(train_config.read_flagfile(flagfile)), train_config.marked("free")
    changed = [
        f"--{field.name} (was {getattr(old, field.name)!r}, now {getattr(settings, field.name)!r})"
        for field in dataclasses.fields(settings)
        if field.name not in free and getattr(old, field.name) != getattr(settings, field.name)
    ]
    if changed:
        raise ValueError(f"{flagfile.parent} cannot be resumed with other settings: {'; '.join(changed)}.")
