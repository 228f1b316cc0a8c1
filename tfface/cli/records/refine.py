"""Refines a noisy dataset: proposes which images to drop or move, and which identities to divide or join.

    tfface records refine --input=records/web --model=runs/web --output=refinement
    tfface records refine --input=records/web --output=refinement --decisions=decisions.csv
    tfface records relabel --input=records/web --table=refinement/decided.csv --output=records/web_refined

The first writes proposals.csv, which relabel applies too, and index.html, where people decide the hardest cases and
save decisions.csv. A model defends the labels that it was trained on. So that none judges what it has seen, --folds=2
writes fold-0.csv and fold-1.csv; train a model without each (drop-low-shot --exclude), and give both, in this order:

    tfface records refine --input=records/web --output=refinement --folds=2
    tfface records refine --input=records/web --output=refinement --model=runs/without_0,runs/without_1
"""

import pathlib
import shlex

from absl import flags

from tfface.cli import program

_INPUT = flags.DEFINE_string("input", None, "Dataset: a directory, or a glob of shards.", required=True)
_OUTPUT = flags.DEFINE_string("output", "refinement", "Folder for proposals, report and page.")
_MODEL = flags.DEFINE_list("model", [], "Export, run folder or .keras file; several: one per fold, in their order.")
_EMBEDDINGS = flags.DEFINE_list("embeddings", [], "Files of `tfface embed` of all images, in place of --model.")
_ERROR_RATE = flags.DEFINE_float(
    "error_rate", 0.05, "Apply proposals that are wrong with at most this probability.", 1e-6, 0.5
)
_MIN_IMAGES = flags.DEFINE_integer("min_images", 3, "Fewest images that make a second person.", lower_bound=2)
_SHEETS = flags.DEFINE_integer("sheets", 100, "Cases on the page, those nearest to --error_rate.", lower_bound=0)
_FOLDS = flags.DEFINE_integer("folds", 0, "Only write this number of lists of identities to leave out of training.")
_DECISIONS = flags.DEFINE_string("decisions", None, "Only apply this CSV, saved by the page, to the proposals.")


def main() -> None:
    # Imported here, so that wrong flags are reported without waiting for TensorFlow.
    from tfface.jobs import refinement

    if sum(map(bool, (_MODEL.value or _EMBEDDINGS.value, _FOLDS.value, _DECISIONS.value))) != 1:
        raise ValueError("one of --model or --embeddings, --folds and --decisions is needed.")
    records, output = _INPUT.value, pathlib.Path(_OUTPUT.value)
    if _FOLDS.value:
        for path in refinement.write_folds(records, output, _FOLDS.value):
            print(f"next: tfface records drop-low-shot --input={shlex.quote(records)} --exclude={path} --output=...")
        return
    if _DECISIONS.value:
        decided, changed = refinement.apply_decisions(records, output, _DECISIONS.value)
        print(f"{decided} decisions, {changed} images change")
        table = output / refinement.DECIDED
    else:
        refined = refinement.refine_records(
            records,
            output,
            embeddings=_EMBEDDINGS.value,
            models=_MODEL.value,
            error_rate=_ERROR_RATE.value,
            sheets=_SHEETS.value,
            min_images=_MIN_IMAGES.value,
        )
        wrong = refined.found.shares["others"] + refined.found.shares["nobody"]
        print(f"{records}: {wrong:.1%} of the images seem to have a wrong label")
        print(f"proposals: {len(refined.cases)}, those within the error rate change {refined.changed} images")
        print(f"report  {output / refinement.REPORT}")
        print(f"page    {output / refinement.PAGE}, {refined.shown} cases")
        table, changed = output / refinement.PROPOSALS, refined.changed
    print(f"table   {table}")
    if changed:
        print(f"next: tfface records relabel --input={shlex.quote(records)} --table={table} --output=...")
    else:
        print("nothing is to change")


if __name__ == "__main__":
    program.run(main)
