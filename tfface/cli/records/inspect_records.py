"""Summarises a dataset or a folder of images: counts, a contact sheet, and an HTML page.

    tfface records inspect-records --input=records/casia --output=inspection

It is not called inspect.py, because Python would then import it instead of its own module `inspect`.
"""

import pathlib

from absl import flags

from tfface.cli import program
from tfface.cli.flag_groups import folder_flags

_INPUT = flags.DEFINE_string(
    "input", None, "Dataset (directory or glob), or folder root/identity/image.", required=True
)
_OUTPUT = flags.DEFINE_string("output", "inspection", "Folder for contact_sheet.png and index.html.")
_IDENTITIES = flags.DEFINE_integer("identities", 12, "Identities on the contact sheet.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 8, "Images per identity on the contact sheet.", lower_bound=1)


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    import tensorflow as tf

    from tfface.data.curation.inspection import contact_sheet, summarise
    from tfface.data.curation.inspection_page import write_inspection
    from tfface.data.formats import left_out
    from tfface.data.sources.records_source import open_source

    tf.config.set_visible_devices([], "GPU")  # Training may need the GPU's memory.
    source = open_source(_INPUT.value, folder_flags.DEPTH.value)
    summary = summarise(source, identities=_IDENTITIES.value, images=_IMAGES.value, progress=True)
    write_inspection(_OUTPUT.value, summary, contact_sheet(source, summary.samples))
    print(f"{summary.location}: {summary.images} images of {len(summary.images_of)} identities")
    print(left_out.summary(summary.images, summary.bad, source.passed_over))
    print(f"page   {pathlib.Path(_OUTPUT.value) / 'index.html'}")
    print(f"sheet  {pathlib.Path(_OUTPUT.value) / 'contact_sheet.png'}")


if __name__ == "__main__":
    program.run(main)
