"""The flag of all programs whose work Apache Beam can spread over processes and machines."""

from collections.abc import Callable
from typing import TypeVar

from absl import flags

_Made = TypeVar("_Made")

BEAM = flags.DEFINE_multi_string(
    "beam",
    None,
    "Work with Apache Beam and this option of its pipeline; may be repeated: --beam=--runner=FlinkRunner.",
)


def made_for_pipeline(make: "Callable[..., _Made]") -> _Made | None:
    """Makes what does the work of a program with the pipeline of --beam.

    Args:
      make: function of the options of the pipeline, such as `tfface.data.conversion.beam.shard_writer`.

    Returns:
      The result of `make`; None without --beam.

    Raises:
      ValueError: Apache Beam is not installed.
    """
    if not BEAM.value:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError:
        raise ValueError("--beam needs Apache Beam: install `tfface[beam]`.") from None
    return make(PipelineOptions(BEAM.value))
