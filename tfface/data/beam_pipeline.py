"""Files made by Apache Beam on several processes or machines: one work item each, and one sentence for what fails."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.utils.shared import Shared

from tfface import files

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner

Work = Callable[[pathlib.Path], object]


def make_files(make_work: Callable[[], Work], paths: Sequence[pathlib.Path], options: PipelineOptions | None) -> None:
    """Makes files with the machines of a Beam runner, which must all see them under the same paths.

    Args:
      make_work: function that returns the function which makes the file at a path; pickled, and called once by every
        process.
      paths: of the files.
      options: options of the pipeline; None: those of the command line.

    Raises:
      ValueError: a machine could not make a file, for one of the reasons `ValueError`, `OSError` and
        `tf.errors.OpError`; the first of them.
      OSError: a file is not there although the pipeline succeeded.
    """
    for path in paths:
        _reason_path(path).unlink(missing_ok=True)
    options = PipelineOptions() if options is None else options
    try:
        with beam.Pipeline(runner=_runner(options), options=options) as pipeline:
            # The graph of a pipeline cannot hold what each file is made of, so it gets paths only.
            items = pipeline | beam.Create([str(path) for path in paths]) | beam.Reshuffle()
            _ = items | beam.ParDo(_MakeFile(make_work))
    except Exception as error:
        _raise_reason(paths, error)
        raise
    _raise_reason(paths, None)
    for path in paths:
        if not path.is_file():
            raise OSError(f"{path} was not written: all machines of the pipeline must see it under this path.")


class _MakeFile(beam.DoFn):
    """Makes the file at a path; the threads of a process share what `make_work` returns."""

    def __init__(self, make_work):
        self._make_work, self._shared, self._folder = make_work, Shared(), os.getcwd()

    def setup(self):
        # Relative paths mean here what they mean to the program. A machine without its folder knows absolute ones only.
        with contextlib.suppress(OSError):
            os.chdir(self._folder)

    def process(self, name):
        path = pathlib.Path(name)
        try:
            # Not in `setup`, whose errors no file could tell. The attribute keeps it for the next path.
            self._work = self._shared.acquire(self._make_work)
            self._work(path)
        except Exception as error:
            if (reason := _reason(error)) is None:
                raise
            files.write_atomically(_reason_path(path), reason.encode("utf-8", "replace"))
            # A runner may try again what a file system refused; bad input stays bad.
            if not isinstance(error, ValueError):
                raise
        else:
            _reason_path(path).unlink(missing_ok=True)


def _runner(options) -> "PipelineRunner | None":
    """Returns the runner that takes the place of Beam's own on this machine, or None where another one is asked for."""
    name = options.view_as(StandardOptions).runner or StandardOptions.DEFAULT_RUNNER
    if name.lower().removesuffix("runner") not in ("direct", "switchingdirect"):
        return None
    # DirectRunner first tries to download Prism, which knows neither --direct_num_workers nor --direct_running_mode and
    # fails after minutes where there is no network. Its second choice is this one.
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    information = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(information))


def _reason(error):
    """Returns the sentence of an expected failure, or None for any other one, which is a bug."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ValueError | OSError):
        return str(error)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    from tfface import keras_private  # Imported here, because it imports TensorFlow.

    return keras_private.reason_of(error)


def _reason_path(path):
    return path.with_name(f"{path.name}.failed")


def _raise_reason(paths, error):
    """Raises the first reason that a machine left, if there is one, and removes all of them."""
    reasons = [found for path in paths if (found := _reason_path(path)).is_file()]
    if reasons:
        first = reasons[0].read_text(encoding="utf-8")
        for path in reasons:
            path.unlink()
        raise ValueError(first) from error
