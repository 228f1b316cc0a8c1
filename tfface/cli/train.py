"""Trains a face-recognition network.

tfface train --flagfile=quickstart.flags
"""

from absl import flags

from tfface.cli import help, program
from tfface.config import migrations, train_flags

train_flags.define_flags()
for title, names in train_flags.topics().items():
    help.topic(title, names)
help.hide(migrations.REPLACED)


def main() -> None:
    from tfface import evaluation, jobs

    settings = train_flags.from_flags(flags.FLAGS)
    result = jobs.train(settings)
    print()
    if result.after:
        print("Verification on held-out identities, before training:")
        print(evaluation.to_table(result.before))
        print("and after:")
        print(evaluation.to_table(result.after))
        print()
    print(f"checkpoint   {result.checkpoint}")
    if result.report:
        print(f"report       {result.report}")
    print(f"SavedModel   {result.saved_model}")
    print()
    print("Next: evaluate the export, on your own photos too:")
    heldout = settings.heldout_data or "photos"
    if settings.train_data == "synthetic":  # Held-out faces are rendered as well; --heldout_data is not used.
        heldout = f"{settings.run_dir}/records/heldout"
    print(f"  tfface evaluate --model={result.saved_model} --data={heldout}")


if __name__ == "__main__":
    program.run(main)
