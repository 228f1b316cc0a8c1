"""The flag of all programs that read folders of images: which folders name a person."""

from absl import flags

DEPTH = flags.DEFINE_integer(
    "depth",
    1,
    "Number of folders below the root of a folder or archive that name an identity.",
    lower_bound=1,
)
