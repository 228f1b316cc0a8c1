"""The plan of a training run: what its settings mean in steps, weights, memory and messages."""

import dataclasses

from tfface.config import specs
from tfface.config.build import build_encoder, build_head, build_optimizer, completed
from tfface.config.train_config import TrainConfig
from tfface.distribute.partitioned_variable import class_ranges
from tfface.jobs.planning.memory import Memory, Setup, memory_of, sent_bytes
from tfface.jobs.planning.sizes import Sizes, innermost, sampler_bytes, sizes_of
from tfface.training.face_model import FaceModel

# Classes of the model that sizes are read off, a number that is not the size of anything else.
_FEW_CLASSES = 1009


@dataclasses.dataclass(frozen=True)
class Plan:
    """The needs of a training run.

    Attributes:
      setup: the settings that memory and messages depend on.
      sizes: of the model.
      images: training images; None: unknown.
      record_bytes: mean size of a training record; None: unknown.
      steps: training steps; None: unknown, because the number of images is.
      parts_allowed: whether the head can take its batch in parts.
      precision: of the backbone.
    """

    setup: Setup
    sizes: Sizes
    images: int | None
    record_bytes: float | None
    steps: int | None
    parts_allowed: bool
    precision: str

    @property
    def memory(self) -> Memory:
        """Memory of a replica."""
        return memory_of(self.sizes, self.setup)

    def process_bytes(self, replicas: int) -> int:
        """Returns the memory of a process that has some of the replicas, in tensors."""
        return replicas * (self.memory.peak + self.memory.host)

    @property
    def sent_bytes(self) -> int:
        """Bytes that a replica brings to the messages of a step."""
        return sent_bytes(self.sizes, self.setup)

    @property
    def weights(self) -> int:
        """Number of trained weights, of all classes."""
        return (self.sizes.trained + self.sizes.per_class * self.setup.classes) // 4


def plan_training(
    settings: TrainConfig,
    classes: int,
    replicas: int = 1,
    images: int | None = None,
    record_bytes: float | None = None,
    model: FaceModel | None = None,
) -> Plan:
    """Plans a training run; nothing of the size of its classes is made.

    Args:
      settings: `TrainConfig`.
      classes: identities K.
      replicas: R.
      images: training images; None: unknown.
      record_bytes: mean size of a training record; None: unknown.
      model: the compiled model of the run, if it is made already; None: one with few classes is made.

    Returns:
      `Plan`.

    Raises:
      ValueError: the settings contradict each other, or there are fewer classes, or images per step, than replicas.
    """
    settings = completed(settings)
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}.")
    if settings.batch_size < replicas:
        raise ValueError(f"batch_size {settings.batch_size} cannot be divided among {replicas} replicas.")
    if images is not None and images < settings.batch_size:
        raise ValueError(f"{images} images do not fill one batch of batch_size {settings.batch_size}.")
    if settings.partition != "none":
        class_ranges(classes, replicas)
    model = model or _small_model(settings)
    head = innermost(model.head)
    setup = Setup(
        classes=classes,
        replicas=replicas,
        partition=settings.partition,
        batch_size=settings.batch_size,
        micro_batches=settings.micro_batches,
        rate=getattr(head.sampler, "rate", None),
        chunk_size=getattr(head, "chunk_size", None),
        optimizer=specs.parse(settings.optimizer).name,
        clips=bool(settings.clip_norm),
        sync_batch_norm=settings.sync_batch_norm,
    )
    forest = sampler_bytes(head.sampler, setup.shard, settings.embedding_dim)
    return Plan(
        setup=dataclasses.replace(setup, forest=forest),
        sizes=sizes_of(model),
        images=images,
        record_bytes=record_bytes,
        steps=settings.steps or (images and max(1, round(settings.epochs * (images // settings.batch_size)))),
        parts_allowed=not getattr(model.head, "whole_batch", False),
        precision=settings.precision,
    )


def _small_model(settings):
    """The model of the settings with few classes, on one device."""
    encoder = build_encoder(settings)
    model = FaceModel(encoder, build_head(settings, _FEW_CLASSES), settings.micro_batches, settings.ema)
    model.compile(optimizer=build_optimizer(settings, settings.learning_rate, encoder))
    model.optimizer.build(model.trainable_variables)
    return model
