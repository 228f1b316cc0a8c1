"""Measures a model by protocols of the field and writes a report: an HTML page, a picture, JSON and CSV.

Examples:
  tfface evaluate --model=runs/quickstart/export/1 --data=runs/quickstart/records/heldout
  tfface evaluate --model=runs/cfp --data=cfp/Data/Images --protocol=cfp/Protocol/Split/FF --report=ff.html
  tfface evaluate --model=exported/1 --protocol='CFP(root="cfp", split="FP")' --protocol='Bin(file="lfw.bin")'
  tfface evaluate --model=exported/1 --suite=suite.flags

`tfface list protocols` lists the protocols, which name their own images. Several may be given, also as the lines of a
file (--suite); each image is embedded once. An interrupted run leaves its work in OUTPUT/embeddings.partial, and the
same command continues from there.
"""

import os

from absl import flags

from tfface import flagfiles
from tfface.cli import program
from tfface.cli.flag_groups import folder_flags

_MODEL = flags.DEFINE_string(
    "model", None, "SavedModel folder, run folder, .keras file, or .npz or .tfrecord file of embeddings.", required=True
)
_DATA = flags.DEFINE_string("data", None, "Records (dataset folder or glob), or a folder root/identity/image.jpg.")
_PROTOCOL = flags.DEFINE_multi_string(
    "protocol",
    [],
    "Protocol such as CFP(root='cfp', split='FP'), or path of official pairs for --data: LFW pairs.txt, CFP Split/FF. "
    "Default: random pairs.",
)
_SUITE = flags.DEFINE_string("suite", None, "File of protocols: a line --protocol=... for each.")
_PAIRS = flags.DEFINE_integer("pairs", 6000, "Largest number of random pairs, without --protocol.", lower_bound=4)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the random pairs.", lower_bound=0)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the flipped image.")
_GROUPS = flags.DEFINE_string("groups", None, "CSV file: keys of images, then columns to group by (age, pose, ...).")
_HARDEST = flags.DEFINE_integer("hardest", 8, "Number of hardest pairs of each kind on the page.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "Leave out damaged records and files; the report names them.")
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing", False, "Measure the rest if images of --protocol are missing; the report says how many are."
)
_REPORT = flags.DEFINE_string(
    "report", None, "HTML page to write; the other files go beside it. Default: OUTPUT/report.html."
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for report.html, report.png, results.json and results.csv. Default: that of --report, else 'evaluation'.",
)


def main() -> None:
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import evaluation, jobs

    output = _OUTPUT.value or (os.path.dirname(_REPORT.value) or "." if _REPORT.value else "evaluation")
    page = _REPORT.value or os.path.join(output, "report.html")
    options = {
        "flip": _FLIP.value,
        "output": output,
        "report": page,
        "groups": _GROUPS.value,
        "hardest": _HARDEST.value,
        "skip_bad": _SKIP_BAD.value,
        "allow_missing": _ALLOW_MISSING.value,
        "command": program.command(),
        "batch_size": _BATCH_SIZE.value,
    }
    protocols, lists = jobs.split_protocols([*_PROTOCOL.value, *_of_suite(_SUITE.value)])
    if protocols:
        found = jobs.evaluate_protocols(_MODEL.value, [*protocols, *_lists_as_protocols(lists)], **options)
    else:
        options["depth"] = folder_flags.DEPTH.value
        found = jobs.verify_model(_MODEL.value, _DATA.value, lists, _PAIRS.value, _SEED.value, **options)
    results = [result for result in found if isinstance(result, evaluation.VerificationResult)]
    others = [result for result in found if not isinstance(result, evaluation.VerificationResult)]
    tables = [evaluation.to_table(results)] * bool(results) + [evaluation.measures_table(others)] * bool(others)
    print("\n\n".join(tables))
    print()
    print(f"report   {page}")
    print(f"numbers  {os.path.join(output, 'results.json')}, results.csv{', report.png' if results else ''}")


def _of_suite(path):
    """Returns the values of --protocol in a file; None names no file."""
    found = []
    for line in flagfiles.flags_of(flagfiles.read_lines(path)) if path else []:
        name, _, value = line.partition("=")
        if flagfiles.flag_name(name) != "protocol" or not value:
            raise ValueError(f"{path}: expected --protocol=NAME(...) in each line, got {line[:200]!r}.")
        found.append(value)
    return found


def _lists_as_protocols(lists):
    """Makes protocols of paths of lists beside others; their images are those of --data."""
    from tfface.jobs.verification import protocol_names
    from tfface.protocols import PairList

    if lists and not _DATA.value:
        raise ValueError(f"--data is needed: it names the images of {lists[0]}.")
    return [PairList(_DATA.value, path, name) for path, name in zip(lists, protocol_names(lists), strict=True)]


if __name__ == "__main__":
    program.run(main)
