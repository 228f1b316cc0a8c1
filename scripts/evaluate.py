"""Verifies a model on pairs of faces.

Examples:
  python scripts/evaluate.py --model=runs/quickstart/export/1 --data=runs/quickstart/records/heldout
  python scripts/evaluate.py --model=runs/cfp --data=cfp/Data/Images --protocol=cfp/Protocol/Split/FF
"""

from absl import flags

from tfface import cli

_MODEL = flags.DEFINE_string(
    "model", None, "SavedModel folder, run folder, .keras file, or .npz file of embeddings.", required=True
)
_DATA = flags.DEFINE_string("data", None, "Records (dataset folder or glob), or a folder root/identity/image.jpg.")
_PROTOCOL = flags.DEFINE_list("protocol", [], "Official pairs: LFW pairs.txt, CFP Split/FF. Default: pairs are drawn.")
_PAIRS = flags.DEFINE_integer("pairs", 6000, "Pairs drawn at most, where there is no protocol.", lower_bound=4)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draw.", lower_bound=0)
_FLIP = flags.DEFINE_bool("flip", False, "Add the embedding of the mirrored image.")
_OUTPUT = flags.DEFINE_string("output", "evaluation", "Folder for results.json and report.png.")


def main():
    # Imported here, so that --help and wrong flags answer at once.
    from tfface import evaluation, training

    results = training.verify_model(
        _MODEL.value, _DATA.value, _PROTOCOL.value, _PAIRS.value, _SEED.value, _FLIP.value, _OUTPUT.value
    )
    print(evaluation.to_table(results))
    print()
    print(f"results  {_OUTPUT.value}/results.json")
    print(f"report   {_OUTPUT.value}/report.png")


if __name__ == "__main__":
    cli.run(main)
