"""Plans a training run before it starts: steps, weights, memory, messages, and what would make it fit.

tfface plan --flagfile=quickstart.flags
tfface plan --flagfile=my.flags --classes=100000000 --replicas=64 --memory=80G

It takes the flags of `tfface train`. Nothing of the size of the classes is made, and no step is run.
"""

from absl import flags

from tfface.cli import help, program
from tfface.config import migrations, train_flags

_CLASSES = flags.DEFINE_integer(
    "classes", None, "Identities. Default: those of the training data.", lower_bound=2, upper_bound=10**12
)
_IMAGES = flags.DEFINE_integer("images", None, "Training images. Default: those of the training data.", lower_bound=1)
_MEMORY = flags.DEFINE_string(
    "memory", None, "Memory of the device of a replica, such as 80G. Default: that of this machine, if it has no GPU."
)
_STEP_SECONDS = flags.DEFINE_float("step_seconds", 1.0, "Seconds per step that reads must keep up with.", 1e-6)
train_flags.define_flags()
for title, names in train_flags.topics().items():
    help.topic(title, names)
help.hide(migrations.REPLACED)


def main() -> None:
    from tfface.jobs.planning import inputs, report
    from tfface.jobs.planning.plan import plan_training

    limit = None if _MEMORY.value is None else inputs.parse_bytes(_MEMORY.value)
    given = flags.FLAGS
    stated = {"run_dir": given.run_dir or "unused", "train_data": given.train_data or "unused"}
    settings = train_flags.from_flags(given, **stated)
    data = inputs.training_data(settings, given.train_data, _CLASSES.value, _IMAGES.value)
    replicas = inputs.replicas(settings)
    found = plan_training(settings, data.classes, replicas, data.images, data.record_bytes)
    for line in report.summary(found):
        print(line)
    print(report.reads(found, _STEP_SECONDS.value))
    print()
    print(report.table(found))
    print()
    for line in report.fit(found, limit or inputs.device_bytes(replicas)):
        print(line)


if __name__ == "__main__":
    program.run(main)
