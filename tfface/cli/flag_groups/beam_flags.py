"""The flag of all programs whose work Apache Beam can spread over processes and machines."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

BEAM = flags.DEFINE_multi_string(
    "beam",
    None,
    "Work with Apache Beam and this option of its pipeline; may be repeated: --beam=--runner=FlinkRunner.",
)


def pipeline_options() -> "PipelineOptions":
    """Makes the options of the pipeline of --beam.

    Raises:
      ValueError: Apache Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError:
        raise ValueError("--beam needs Apache Beam: install `tfface[beam]`.") from None
    return PipelineOptions(BEAM.value)
