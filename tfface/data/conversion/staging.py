"""The folder in which datasets grow, and from which they take their places all at once.

A conversion that was cut off at any moment, by SIGKILL or a full disk, leaves in `OUTPUT/.NAME.partial`:

* the finished shards with their notes (see `tfface.data.conversion.writer`), and parts of others;
* `growing.json`: a digest of what is converted, and the bad images once all have been looked at;
* the same as `publishing.json`, once the datasets are complete and on the way to their places. From then on that is
  only ever gone on with.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil

from tfface import json_files
from tfface.data.records import DATASET_FILE, DatasetInfo
from tfface.files import replacing

_STATE = {"inputs": json_files.Either(None, str), "bad": {str: str}}


class Stage:
    """Folder of an unfinished conversion.

    Args:
      output_dir: directory of the conversion's output.
      name: name of its datasets.

    Raises:
      ValueError: if the name is none for a file.
    """

    def __init__(self, output_dir, name):
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"`name` must be of letters, digits, '_', '-' and '.', got {name!r}.")
        self.output = pathlib.Path(output_dir)
        self.name = name
        self.folder = self.output / f".{name}.partial"
        self._growing = self.folder / "growing.json"
        self._publishing = self.folder / "publishing.json"

    @property
    def publishing(self):
        """Whether datasets are on the way to their places."""
        return self._publishing.exists()

    @property
    def bad(self):
        """The bad images that were found, a dict from key to reason; to be set only when all have been looked at."""
        return self._load()["bad"]

    @bad.setter
    def bad(self, found):
        self._save(self._load()["inputs"], found)

    def holds(self, inputs):
        """Whether the folder is of these inputs."""
        return self._load()["inputs"] == inputs

    def place(self, target):
        """Returns the folder in which the dataset of the directory `target` grows."""
        return self.folder / pathlib.Path(target).relative_to(self.output)

    def begin(self, inputs, targets):
        """Makes the folder; keeps in it what is finished of the same inputs.

        Args:
          inputs: string, a digest.
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

    def complete(self, datasets):
        """Begins the publication of finished datasets; from here on it is only gone on with.

        Args:
          datasets: dict from directory to `DatasetInfo`; older datasets of the name are removed there.
        """
        for target, info in datasets.items():
            _write(self.place(target) / DATASET_FILE, info.to_json())
        for target in datasets:
            (target / DATASET_FILE).unlink(missing_ok=True)
            for old in _shards(target, self.name):
                old.unlink()
        self._growing.replace(self._publishing)

    def finish(self, targets):
        """Puts all files into their places that are not there yet.

        Args:
          targets: directories of the datasets.
        """
        descriptions = {target: self.place(target) / DATASET_FILE for target in targets}
        waiting = {target: path for target, path in descriptions.items() if path.exists()}
        for target, path in waiting.items():
            target.mkdir(parents=True, exist_ok=True)
            for shard in DatasetInfo.load(path).shards:
                if (path.parent / shard.file).exists():
                    (path.parent / shard.file).replace(target / shard.file)
        # Descriptions go last: they say that a dataset is complete.
        for target, path in waiting.items():
            path.replace(target / DATASET_FILE)
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._publishing:
                path.unlink()
        self._publishing.unlink()
        self.folder.rmdir()

    def discard(self):
        """Removes the folder, and the output directory where that is empty."""
        if self.publishing:
            self._publishing.replace(self._growing)  # What is being removed must never be published.
        if self.folder.exists():
            shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):
            self.output.rmdir()

    def _load(self):
        state = self._publishing if self.publishing else self._growing
        return json_files.read(state, _STATE) if state.exists() else {"inputs": None, "bad": {}}

    def _save(self, inputs, bad):
        _write(self._growing, json.dumps({"inputs": inputs, "bad": bad}))


def check_output(directory, name, overwrite):
    """Raises ValueError unless a dataset `name` may be written into `directory`; touches nothing."""
    directory = pathlib.Path(directory)
    for old in [directory / DATASET_FILE, *_shards(directory, name)]:
        if old.exists() and not overwrite:
            raise ValueError(f"{old} exists already: choose another output, or overwrite it.")


def _shards(directory, name):
    return sorted(directory.glob(f"{name}-{'[0-9]' * 5}-of-{'[0-9]' * 5}.tfrecord"))


def _write(path, text):
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
