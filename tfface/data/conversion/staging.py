"""The staging folder: datasets are written there and published together when all are complete.

A conversion that was interrupted at any moment, by SIGKILL or a full disk, leaves in `OUTPUT/.NAME.partial`:

* the finished shards with their notes (see `tfface.data.conversion.writer`), and parts of unfinished ones;
* `growing.json`: a digest of the inputs and, once all images have been checked, the bad ones;
* the same content as `publishing.json` once the datasets are complete. From then on publication can only be continued.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping

from tfface import json_files
from tfface.data.formats.shard_names import check_name, find_shards
from tfface.data.identity_index import index_dataset
from tfface.data.index_file import INDEX_FILE
from tfface.data.records import DATASET_FILE, DatasetInfo
from tfface.files import replacing

_STATE = {"inputs": json_files.Either(None, str), "bad": {str: str}}


class Stage:
    """The staging folder of a conversion.

    Args:
      output_dir: output directory of the conversion.
      name: name of its datasets.

    Raises:
      ValueError: if the name is not valid in a file name.
    """

    def __init__(self, output_dir: str | os.PathLike, name: str):
        self.output = pathlib.Path(output_dir)
        self.name = check_name(name, "`name`")
        self.folder = self.output / f".{name}.partial"
        self._growing = self.folder / "growing.json"
        self._publishing = self.folder / "publishing.json"

    @property
    def publishing(self) -> bool:
        """Whether publication has begun."""
        return self._publishing.exists()

    @property
    def bad(self) -> dict[str, str]:
        """The bad images, a dict from key to reason; to be set only when all images have been checked."""
        return self._load()["bad"]

    @bad.setter
    def bad(self, found: Mapping[str, str]) -> None:
        self._save(self._load()["inputs"], found)

    def holds(self, inputs: str) -> bool:
        """Returns whether the folder holds work on inputs with this digest."""
        return self._load()["inputs"] == inputs

    def place(self, target: str | os.PathLike) -> pathlib.Path:
        """Returns the folder in which the dataset for the directory `target` is staged."""
        return self.folder / pathlib.Path(target).relative_to(self.output)

    def begin(self, inputs: str, targets: Iterable[pathlib.Path]) -> None:
        """Makes the folder, and keeps finished work on the same inputs.

        Args:
          inputs: digest of the inputs.
          targets: directories of the datasets.
        """
        if not self.holds(inputs):
            self.discard()
        for target in targets:
            self.place(target).mkdir(parents=True, exist_ok=True)
        if not self.publishing:
            self._save(inputs, self.bad)
        for half_written in self.folder.rglob("*.tmp"):
            half_written.unlink()

    def complete(self, datasets: Mapping[pathlib.Path, DatasetInfo]) -> None:
        """Begins the publication of finished datasets; from here on it can only be continued.

        Args:
          datasets: dict from directory to `DatasetInfo`; older datasets of this name are removed there.
        """
        for target, info in datasets.items():
            _write(self.place(target) / DATASET_FILE, info.to_json())
            index_dataset(self.place(target))
        for target in datasets:
            (target / DATASET_FILE).unlink(missing_ok=True)
            (target / INDEX_FILE).unlink(missing_ok=True)
            for old in find_shards(target, self.name):
                old.unlink()
        self._growing.replace(self._publishing)

    def finish(self, targets: Iterable[pathlib.Path]) -> None:
        """Moves all files to the directories of their datasets, unless they are there already.

        Args:
          targets: directories of the datasets.
        """
        descriptions = {target: self.place(target) / DATASET_FILE for target in targets}
        waiting = {target: path for target, path in descriptions.items() if path.exists()}
        for target, path in waiting.items():
            target.mkdir(parents=True, exist_ok=True)
            for file in (*(shard.file for shard in DatasetInfo.load(path).shards), INDEX_FILE):
                if (path.parent / file).exists():
                    (path.parent / file).replace(target / file)
        # Descriptions go last, because they mark a dataset as complete.
        for target, path in waiting.items():
            path.replace(target / DATASET_FILE)
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._publishing:
                path.unlink()
        self._publishing.unlink()
        self.folder.rmdir()

    def discard(self) -> None:
        """Removes the folder, and the output directory if it is empty."""
        if self.publishing:
            self._publishing.replace(self._growing)  # A folder that is being removed must never be published.
        if self.folder.exists():
            shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):
            self.output.rmdir()

    def _load(self):
        state = self._publishing if self.publishing else self._growing
        return json_files.read(state, _STATE) if state.exists() else {"inputs": None, "bad": {}}

    def _save(self, inputs, bad):
        _write(self._growing, json.dumps({"inputs": inputs, "bad": bad}))


def check_output(directory: str | os.PathLike, name: str, overwrite: bool) -> None:
    """Raises ValueError unless a dataset `name` may be written into `directory`; changes nothing."""
    directory = pathlib.Path(directory)
    for old in [directory / DATASET_FILE, *find_shards(directory, name)]:
        if old.exists() and not overwrite:
            raise ValueError(f"{old} exists already: choose another output, or overwrite it.")


def _write(path, text):
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
