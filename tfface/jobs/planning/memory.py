"""Memory and messages of a training step: arithmetic on the sizes of a model, for any number of classes and replicas.

A step has its largest memory in one of three moments. Each holds the weights and, after the first, the slots of the
optimizer:

  initial values   the numbers of all class weights are drawn at once, unless they are partitioned
  head             the feature maps, the matrices of examples times classes, and the gradient of the class weights
  update           all gradients and the temporary arrays of the optimizer; the feature maps too, because the class
                   weights may be updated while the backward pass of the backbone runs, unless gradients are clipped
"""

import dataclasses

from tfface.classifier.samplers.uniform import drawn_classes
from tfface.jobs.planning.sizes import Sizes

# Matrices [examples, classes at once] of the engine beside each other: the products, and what XLA makes of them. With
# this and the next number, steps of a million classes in docs/benchmarks.md take what is computed here within 8 %.
_MATRICES = 5
# Workspaces of convolutions, and gaps that the allocator leaves, as a share of the feature maps: on a CPU, a step of
# MobileFaceNet and of a small SFNet took 1.16 and 1.22 times their feature maps.
_WORKSPACE = 0.2
# Sampled rows in an update of `RowSGD`: those of the head, rows of weights and of momentum, and the change of each.
_ROW_COPIES = 5
# Arrays of the size of a variable in its update. `RowSGD` changes large variables in place.
_UPDATE_COPIES = {"SGD": 0, "AdamW": 2, "LAMB": 3}


@dataclasses.dataclass(frozen=True)
class Setup:
    """The settings that memory and messages depend on.

    Attributes:
      classes: K.
      replicas: R.
      partition: "none", "replicas" or "host".
      batch_size: images per step of all replicas.
      micro_batches: parts of a replica's batch.
      rate: share of the classes that are sampled; None: all classes.
      chunk_size: classes at a time; None: all at once.
      optimizer: its name.
      clips: whether gradients are clipped.
      sync_batch_norm: whether replicas take statistics of batch normalisation together.
      forest: bytes of the sampler of one shard.
    """

    classes: int
    replicas: int = 1
    partition: str = "none"
    batch_size: int = 128
    micro_batches: int = 1
    rate: float | None = None
    chunk_size: int | None = None
    optimizer: str = "SGD"
    clips: bool = False
    sync_batch_norm: bool = True
    forest: int = 0

    @property
    def shards(self) -> int:
        """Replicas among which the classes are divided."""
        return 1 if self.partition == "none" else self.replicas

    @property
    def part(self) -> int:
        """Images of a replica that pass through the network at once."""
        return -(-self.batch_size // (self.replicas * self.micro_batches))

    @property
    def shard(self) -> int:
        """Classes of the largest shard."""
        return -(-self.classes // self.shards)

    @property
    def places(self) -> int:
        """Classes of a shard that an example meets: all, or those drawn and those of the batch."""
        if self.rate is None:
            return self.shard
        return drawn_classes(self.rate, self.shard) + self.part * self.replicas


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one replica.

    Attributes:
      moments: dict from the name of a moment to a dict from what takes memory to its bytes, on the device.
      host: rows that `partition="host"` keeps in host memory.
    """

    moments: dict[str, dict[str, int]]
    host: int

    @property
    def peak(self) -> int:
        """Bytes of the largest moment."""
        return max(sum(items.values()) for items in self.moments.values())

    @property
    def peak_moment(self) -> str:
        """Name of the largest moment."""
        return max(self.moments, key=lambda name: sum(self.moments[name].values()))


def memory_of(sizes: Sizes, setup: Setup) -> Memory:
    """Computes the memory of a replica.

    Args:
      sizes: of the model.
      setup: the settings.
    """
    slots, on_host = sizes.slots, setup.partition == "host"
    rows = sizes.per_class * setup.shard
    held = 0 if on_host else rows  # On the device.
    others = sizes.others + sizes.others_per_class * setup.classes + setup.forest
    weights = sizes.trained + held + others
    state = {"weights": weights, "slots": slots * (sizes.trained + held)}

    sampled = setup.rate is not None
    row_gradient = sizes.per_class * setup.places
    # Gradients of earlier micro-batches: sampled rows stay rows, one after the other.
    parts = setup.micro_batches
    earlier = (row_gradient * (parts - 1) if sampled else rows * min(1, parts - 1)) if rows else 0
    earlier_backbone = sizes.trained * min(1, parts - 1)
    examples = (setup.part + sizes.queue) * setup.shards
    at_once = min(setup.chunk_size or setup.places, setup.places)
    matrices = _MATRICES * 4 * examples * at_once * sizes.sub_centers if rows else 0
    # Gathered, of unit length, and the gradient of both.
    embeddings = 4 * sizes.embedding * examples
    feature_maps = sizes.kept * setup.part

    gradients = earlier + row_gradient + (row_gradient if sampled and parts > 1 else 0)
    summed = _summed_over_replicas(sizes, setup, row_gradient * parts)
    copies = _UPDATE_COPIES.get(setup.optimizer, 2)
    update = _ROW_COPIES * row_gradient * parts if sampled else copies * max(rows, sizes.trained)
    moments = {
        "initial values": {"weights": weights, "temporary": 2 * rows if setup.shards == 1 and not on_host else 0},
        "head": {
            **state,
            "gradients": earlier + earlier_backbone + row_gradient,
            "activations": feature_maps,
            "workspace": int(_WORKSPACE * feature_maps),
            "logits": matrices + (row_gradient if sampled else 0),
            "messages": embeddings,
        },
        "update": {
            **state,
            "gradients": gradients + earlier_backbone + sizes.trained,
            "activations": 0 if setup.clips else feature_maps,
            "workspace": 0 if setup.clips else int(_WORKSPACE * feature_maps),
            "messages": summed,
            "temporary": update,
        },
    }
    return Memory(moments, (1 + slots) * rows if on_host else 0)


def _summed_over_replicas(sizes, setup, row_gradient):
    """Bytes of the gradients that replicas sum: each receives what all have sent."""
    if setup.replicas == 1:
        return 0
    mirrored = setup.shards == 1
    if mirrored and setup.rate is not None:
        return sizes.trained + row_gradient * setup.replicas
    return sizes.trained + (row_gradient // setup.micro_batches if mirrored else 0)


def sent_bytes(sizes: Sizes, setup: Setup) -> int:
    """Computes the bytes that a replica brings to the messages of a step; without a partner there are none.

    A message that sums counts once, whatever the algorithm that sums it sends over the wire.
    """
    if setup.replicas == 1:
        return 0
    own = setup.part * setup.micro_batches
    # Forward, each replica sends its moments beside places for those of the others.
    moments = 2 * 4 * sizes.batch_norm * (setup.replicas + 1) if setup.sync_batch_norm else 0
    shared = sizes.trained + moments * setup.micro_batches
    if setup.shards == 1:
        rows = sizes.per_class * (setup.classes if setup.rate is None else setup.places * setup.micro_batches)
        return shared + rows
    whole = own * setup.replicas
    # The batch is gathered with labels, replicas and weights; two float64 per example, and the gradient are summed.
    return shared + own * (sizes.embedding + 12) + 16 * whole + whole * sizes.embedding
