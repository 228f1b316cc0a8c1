"""Every setting of a training run, once: fields here are the flags of `tfface train`."""

import dataclasses
import math

from tfface.config import components, specs

NO_HEAD = "None"  # In the place of a head: the losses alone.


def setting(
    default, help, choices=None, *, component=None, repeated=False, once=False, free=False, local=False, **bounds
):
    """Makes a field that is also a flag.

    Args:
      default: its value without the flag.
      help: str, help text of the flag.
      choices: the allowed values, or None.
      component: the kind of `components.KINDS` whose calls are its values; a list is a flag that may be repeated.
      repeated: bool, whether a list is a flag that may be repeated, instead of one with commas.
      once: bool, whether it belongs to one call, not to the run; such a setting is free and local too.
      free: bool, whether it may change when a run is resumed: the curve of the loss does not depend on it.
      local: bool, whether workers of one training may differ in it: a path, or what only the chief uses.
      **bounds: lower_bound and upper_bound of a number.
    """
    marks = {mark for mark, given in (("once", once), ("free", free or once), ("local", local or once)) if given}
    metadata = {
        "help": help,
        "choices": choices,
        "component": component,
        "repeated": repeated or component is not None,
        "bounds": bounds,
        "marks": frozenset(marks),
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class TrainConfig:
    """Settings of `tfface.jobs.train`; the help text of each field is its documentation."""

    run_dir: str = setting(
        None, "Folder of the run, for checkpoints, logs, report and export. Required.", free=True, local=True
    )
    resume: bool = setting(False, "Continue the run in run_dir from its newest checkpoint.", once=True)
    overwrite: bool = setting(False, "Start again if run_dir already holds a run, and delete its files.", once=True)
    strict_resume: bool = setting(
        False, "Stop if the newest checkpoint is damaged, instead of continuing from the one before it.", once=True
    )
    steal_lock: bool = setting(
        False, "Take over a run_dir that a training on another machine owned when it died.", once=True
    )

    train_data: str = setting(
        None,
        "Training records: dataset folder or glob, or 'synthetic' for rendered faces. Required.",
        free=True,  # A run is resumed on the same content; its path does not matter.
        local=True,
    )
    skip_bad: bool = setting(False, "Leave out damaged records, and list them in RUN_DIR/skipped.txt.", free=True)
    heldout_data: str = setting(
        None, "Records of held-out identities for verification; not used with 'synthetic'.", free=True, local=True
    )
    heldout_pairs: int = setting(2000, "Verification pairs drawn from the held-out records.", lower_bound=20, free=True)
    protocol: list = setting(
        (),
        "List of pairs of the held-out records, such as LFW's pairs.txt, to verify on instead of drawn pairs; or a "
        "protocol with images of its own, such as CFP(root='cfp', split='FP'). May be repeated.",
        repeated=True,
        free=True,
        local=True,
    )
    allow_missing: bool = setting(
        False, "Verify on the other pairs if images of --protocol are missing; reports say how many are.", free=True
    )
    synthetic_identities: int = setting(400, "Identities rendered for training.", lower_bound=2)
    synthetic_heldout: int = setting(100, "Identities rendered for verification.", lower_bound=2)
    synthetic_images: int = setting(12, "Images rendered per identity.", lower_bound=2)

    backbone: str = setting("MobileFaceNet", "Backbone, such as IResNet50(dropout=0.0).", component="backbone")
    image_size: int = setting(112, "Side of the input images, in pixels.", lower_bound=56, upper_bound=1024)
    embedding_dim: int = setting(512, "Dimensions of the embedding.", lower_bound=1, upper_bound=65536)
    precision: str = setting(
        "float32",
        "Precision of the backbone in training; weights, the last layers and the head stay in float32.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )

    head: str = setting(
        "ArcFace",
        "Classification head, such as SphereFace2(balance=0.8, radius=40) or BroadFace(ArcFace(margin=0.5)); None: the "
        "losses alone.",
        component="head",
    )
    loss: list = setting(
        (), "Loss beside the head, such as IntraLoss(weight=0.1); may be given several times.", component="loss"
    )
    sampler: str = setting(
        None,
        "Sampler of the classes of a step, such as Uniform(rate=0.1) or HashForest(rate=0.01). Default: all classes, "
        "or those that the head samples.",
        component="sampler",
    )
    rebuild_every: int = setting(1000, "Steps between two rebuilds of a forest that samples classes.", lower_bound=1)
    partition: str = setting(
        "none",
        "Class weights: all on every replica; partitioned among the replicas; or partitioned, in host memory.",
        choices=("none", "replicas", "host"),
        free=True,
    )
    init_from: str = setting(
        None,
        "Initial weights: a .keras file of a backbone, or a run folder for its backbone and its class weights of the "
        "identities that both trainings have.",
        free=True,
        local=True,
    )
    init_head: bool = setting(
        True, "Take class weights from --init_from too; otherwise the head starts from random weights.", free=True
    )
    freeze: list = setting(
        (), "Layers of the backbone that are not trained: regular expressions that match whole names."
    )

    batch_size: int = setting(128, "Global batch size: images per step on all replicas together.", lower_bound=2)
    batches: str = setting(
        None,
        "Composition of the batches: PK(identities=32, images=4) for losses that compare images, with identities * "
        "images as the batch size. Default: images in random order.",
        component="batches",
    )
    micro_batches: int = setting(
        1, "Parts into which each replica's batch is split, one after the other, to save memory.", lower_bound=1
    )
    epochs: float = setting(20.0, "Epochs: passes over the training data.", lower_bound=0.0)
    steps: int = setting(None, "Training steps, in place of epochs.", lower_bound=1)
    optimizer: str = setting(
        "SGD", "Optimizer, such as SGD(momentum=0.9) or AdamW(beta_2=0.98).", component="optimizer"
    )
    learning_rate: float = setting(0.1, "Learning rate after warm-up.", lower_bound=0.0)
    weight_decay: float = setting(5e-4, "Weight decay; its form is an argument of SGD.", lower_bound=0.0)
    exclude_from_decay: list = setting((), "Kinds of backbone weights without weight decay: bias, norm, prelu.")
    clip_norm: float = setting(None, "Largest global norm of the gradients. Default: no clipping.", lower_bound=0.0)
    ema: float = setting(
        0.0,
        "Momentum of a moving average of the backbone's weights; the average is verified and exported. 0: none.",
        lower_bound=0.0,
        upper_bound=0.999999,
    )
    schedule: str = setting(
        "Cosine", "Learning-rate schedule, such as Steps(epochs=[8, 14]) or Steps(steps=[20000]).", component="schedule"
    )
    warmup_epochs: float = setting(0.0, "Epochs of linear warm-up.", lower_bound=0.0)
    warmup_steps: int = setting(None, "Steps of linear warm-up, in place of warmup_epochs.", lower_bound=0)
    mirror: bool = setting(True, "Flip half of the training images left to right.")
    augment: list = setting(
        (), "Augmentation, such as Crop(probability=0.2); may be given several times.", component="augmentation"
    )
    shuffle: str = setting(
        "Blocks",
        "Order of the images: Blocks(size=64), of which every worker reads only its own, or Buffer(size=10000), as in "
        "release 0.1; not used with --batches.",
        component="shuffle",
    )

    strategy: str = setting(
        "none",
        "Devices: one; several of this machine; or those of the machines in TF_CONFIG.",
        choices=("none", "mirrored", "multiworker"),
        free=True,
    )
    replicas: int = setting(
        0,
        "Replicas of strategy 'mirrored': GPUs, or parts of the CPU if there are fewer GPUs. 0: all GPUs.",
        lower_bound=0,
        free=True,
    )
    wait_for_workers: float = setting(
        600.0,
        "Seconds for which workers of strategy 'multiworker' wait for each other at the start.",
        lower_bound=0.0,
        free=True,
        local=True,
    )
    sync_batch_norm: bool = setting(True, "Compute the statistics of batch normalisation over all replicas.")

    seed: int = setting(0, "Seed of initial weights, rendering, shuffling and augmentation.", lower_bound=0)
    deterministic: bool = setting(
        True, "The same flags and seed give the same loss at every step (on the same kind of machine)."
    )
    log_every: int = setting(20, "Steps between two lines of the log.", lower_bound=1, free=True)
    verify_every: int = setting(500, "Steps between two verifications on the held-out pairs.", lower_bound=1, free=True)
    save_every: int = setting(500, "Steps between two checkpoints.", lower_bound=1, free=True)
    keep: int = setting(2, "Checkpoints to keep.", lower_bound=1, free=True)
    callback: list = setting(
        (),
        "Callback that follows some training images for a figure, such as AngleHistograms(every=1000) or "
        "EmbeddingDrift(every=1000); may be given several times.",
        component="callback",
        free=True,
    )
    callback_images: int = setting(
        512, "Training images that each --callback follows, drawn by --seed.", lower_bound=1, free=True
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type is list:
                setattr(self, field.name, list(getattr(self, field.name)))
            self._check(field.name, getattr(self, field.name), field.metadata)
        if self.head == NO_HEAD and not self.loss:
            raise ValueError("head=None needs a loss, such as loss=['TripletLoss()'].")
        if self.callback and self.strategy == "multiworker":
            raise ValueError(
                f"callback={self.callback} follows a training in one process, got strategy='multiworker'; use mirrored."
            )
        if self.save_every % self.log_every:
            raise ValueError(
                f"save_every must be a multiple of log_every, so that a resumed run logs the same means; "
                f"got {self.save_every} and {self.log_every}."
            )

    def _check(self, name, value, metadata):
        choices, bounds, kind = metadata["choices"], metadata["bounds"], metadata["component"]
        # Arguments are checked later, by `components.complete`, because signatures need TensorFlow.
        for text in (value if isinstance(value, list) else [value]) if kind and value and value != NO_HEAD else []:
            components.check_name(kind, specs.parse(text).name)
        if choices and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
        lowest, highest = bounds.get("lower_bound", -math.inf), bounds.get("upper_bound", math.inf)
        if bounds and value is not None and not lowest <= value <= highest:
            raise ValueError(f"{name} must be in [{lowest}, {highest}]; got {value!r}.")
        if name in ("run_dir", "train_data") and not value:
            raise ValueError(f"--{name} is required: {metadata['help']}")


def marked(mark: str) -> frozenset[str]:
    """Returns the names of the settings with a mark of `setting`: "once", "free" or "local"."""
    return frozenset(field.name for field in dataclasses.fields(TrainConfig) if mark in field.metadata["marks"])
