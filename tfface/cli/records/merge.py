"""Merges several datasets into one.

    tfface records merge --inputs=records/casia,records/vggface2 --persons=apart --output=records/both

--persons says what the same identity name in two datasets means. With `same` it is one person, and files are renamed:
0001/1.jpg of the dataset casia becomes 0001/casia_1.jpg. With `apart` it is two persons, and identities are renamed:
0001 becomes casia_0001, and its file casia_0001/1.jpg.
"""

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import dataset_output

_INPUTS = flags.DEFINE_list("inputs", None, "Datasets: directories or globs of shards.", required=True)
_PERSONS = flags.DEFINE_enum(
    "persons", None, ["same", "apart"], "Whether the same name in two datasets is the same person.", required=True
)
_PREFIXES = flags.DEFINE_list("prefixes", None, "One prefix per dataset. Default: the datasets' names.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.data.sources.combined_sources import merged_source

    dataset_output.write(merged_source(_INPUTS.value, _PREFIXES.value, same_persons=_PERSONS.value == "same"))


if __name__ == "__main__":
    program.run(main)
