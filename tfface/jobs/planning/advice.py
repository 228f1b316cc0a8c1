"""Settings that make a training run fit."""

import dataclasses

from tfface.classifier.samplers.uniform import drawn_classes
from tfface.jobs.planning.plan import Plan

_MOST_REPLICAS = 1024
_CHUNK = 8192
_RATES = (0.1, 0.01)


def advise(plan: Plan, limit: float) -> list[tuple[str, Plan]]:
    """Looks for settings with which a plan fits a device.

    Args:
      plan: `Plan`.
      limit: bytes of the device.

    Returns:
      list of (flags, plan with them): each single change that is enough or, if none is, the shortest series of changes
      that is, as one entry. Empty if the plan fits as it is, or nothing that is known here would make it fit.
    """
    if plan.memory.peak <= limit:
        return []
    singles = []
    for _, changes in _changes(plan):
        fitting = [(flag, changed) for flag, changed in changes if changed.memory.peak <= limit]
        singles += fitting[:1]  # The mildest of its kind.
    if singles:
        return singles
    flags, now = [], plan
    for kind in [kind for kind, _ in _changes(plan)]:
        # Made again, because each builds on those before it.
        changes = dict(_changes(now)).get(kind, [])
        for flag, changed in changes:
            if changed.memory.peak <= limit:
                return [(" ".join([*flags, flag]), changed)]
        if changes and changes[-1][1].memory.peak < now.memory.peak:
            flags.append(changes[-1][0])
            now = changes[-1][1]
    return []


def _changes(plan):
    """Pairs (kind, changes) in the order in which they are tried; changes are pairs (flag, plan), mildest first.

    The first ones leave what is computed as it is, up to rounding; sampling changes it.
    """
    setup, sizes, found = plan.setup, plan.sizes, []

    def changed(**changes):
        return dataclasses.replace(plan, setup=dataclasses.replace(setup, **changes))

    if setup.replicas > 1 and setup.partition == "none" and sizes.per_class:
        found.append(("partition", [("--partition=replicas", changed(partition="replicas"))]))
    if plan.parts_allowed:
        numbers = _powers(setup.micro_batches, setup.batch_size // setup.replicas)
        found.append(("parts", [(f"--micro_batches={each}", changed(micro_batches=each)) for each in numbers]))
    if sizes.per_class and (setup.chunk_size or setup.places) > _CHUNK:
        found.append(("chunks", [(f"chunk_size={_CHUNK} of the head", changed(chunk_size=_CHUNK))]))
    if plan.precision == "float32":
        half = dataclasses.replace(sizes, kept=sizes.kept // 2)
        halved = dataclasses.replace(plan, sizes=half, precision="mixed_bfloat16")
        found.append(("precision", [("--precision=mixed_bfloat16", halved)]))
    if sizes.per_class:
        rates = [rate for rate in _RATES if rate < (setup.rate or 1) and drawn_classes(rate, setup.shard) > 1]
        found.append(("rate", [(f"--sampler=Uniform(rate={rate})", changed(rate=rate)) for rate in rates]))
    if sizes.per_class and setup.rate and setup.partition != "host" and setup.optimizer == "SGD":
        found.append(("host", [("--partition=host", changed(partition="host"))]))
    partition = setup.partition if setup.partition != "none" or not sizes.per_class else "replicas"
    more = [each for each in _powers(setup.replicas, min(_MOST_REPLICAS, setup.batch_size)) if each <= setup.classes]
    flag = "" if partition == setup.partition else f" --partition={partition}"
    found.append(
        ("replicas", [(f"--replicas={each}{flag}", changed(replicas=each, partition=partition)) for each in more])
    )
    return found


def _powers(above, largest):
    return [2**power for power in range(1, largest.bit_length()) if above < 2**power <= largest]
