"""Work in parts by the machines of an Apache Beam runner, for sets that are too large for one machine:

    with rows_beside("overlap.csv", PipelineOptions(["--runner=FlinkRunner"])) as run:
        shared = find_overlap(train, tests, run=run)

Each part is one work item; the machine that receives it works with one thread, and leaves the rows in a file. So all
machines must see the input and the folder of these files under the same paths. The rows are those of one process.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import tfface
from tfface import files, interrupts, json_files, ownership
from tfface.data.parallel import Run

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_MAX_BYTES = 1 << 34  # A dataset may be one shard.


@contextlib.contextmanager
def rows_beside(output: str | os.PathLike, options: "PipelineOptions | None" = None) -> Iterator[Run]:
    """Lets machines work on parts in a block that writes a file.

    Their rows lie in the folder OUTPUT.partial until the block ends. After an error they stay: the same work continues
    from there.

    Args:
      output: the file that the block writes; only its name is used here.
      options: options of the pipeline; default: those of the command line.

    Yields:
      The `Run`, for `hash_images`, `find_overlap` and `verify_dataset`.

    Raises:
      ValueError: another process works in the folder.
    """
    folder = pathlib.Path(f"{os.path.abspath(output)}.partial")
    with (
        interrupts.remedy(f"the same command continues from {folder}."),
        ownership.owned(folder.parent, name=f".{folder.name}.owner"),
    ):
        yield functools.partial(_rows, folder=folder, options=options)
        if folder.is_dir():
            shutil.rmtree(folder)


def _rows(make_work, parts, form, state, *, folder, options):
    # Imported here, because Apache Beam may be absent.
    from tfface.data.beam_pipeline import make_files

    parts = [json.dumps(part).encode() for part in parts]
    # A file is named after all that its rows depend on, so it is of use to the same work only.
    job = json.dumps([tfface.__version__, *state()]).encode()
    paths = [folder / f"{hashlib.sha256(job + part).hexdigest()}.json" for part in parts]
    waiting = {path: part for path, part in zip(paths, parts, strict=True) if not path.is_file()}
    for path, part in waiting.items():
        files.write_atomically(_part_path(path), part)
    if waiting:
        make_files(functools.partial(_rows_maker, make_work), list(waiting), options)
    return (json_files.read(path, form, _MAX_BYTES) for path in paths)


def _rows_maker(make_work):
    work = make_work()

    def make(path):
        rows = list(work(json_files.read(_part_path(path)), 1))
        files.write_atomically(path, json.dumps(rows).encode())

    return make


def _part_path(path):
    return path.with_suffix(".part")
