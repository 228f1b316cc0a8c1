"""Words and tables of a plan."""

from tfface.jobs.planning.advice import advise
from tfface.jobs.planning.plan import Plan


def summary(plan: Plan) -> list[str]:
    """Returns three lines: images and steps, memory of a replica, messages and reads per step."""
    setup, memory = plan.setup, plan.memory
    images = "images" if plan.images is None else f"{plan.images:,} images"
    steps = "steps" if plan.steps is None else f"{plan.steps:,} steps"
    replicas = f" on {setup.replicas:,} replicas" if setup.replicas > 1 else ""
    of_classes = plan.sizes.per_class * setup.classes / 4e6
    held = f" and {gigabytes(memory.host)} of host memory" if memory.host else ""
    items = ", ".join(f"{name} {gigabytes(size)}" for name, size in memory.moments[memory.peak_moment].items() if size)
    read = f" ({_megabytes(plan.record_bytes * setup.batch_size)})" if plan.record_bytes else ""
    sent = f"{_megabytes(plan.sent_bytes)} sent per replica" if setup.replicas > 1 else "nothing sent"
    return [
        f"Plan: {images} of {setup.classes:,} identities, {steps} of {setup.batch_size:,} images{replicas}; "
        f"{plan.weights / 1e6:,.1f} million weights, {of_classes:,.1f} of them of classes.",
        f"Memory per replica: {gigabytes(memory.peak)}{held}, at its peak ({memory.peak_moment}): {items}.",
        f"Per step: {sent}, {setup.batch_size:,} images read{read}.",
    ]


def reads(plan: Plan, step_seconds: float) -> str:
    """Returns a line: what the input must read to keep up with steps of some seconds."""
    images = plan.setup.batch_size / step_seconds
    read = f" ({_megabytes(plan.record_bytes * images)})" if plan.record_bytes else ""
    return f"Reads: {images:,.0f} images per second{read} at {step_seconds:g} s per step (--step_seconds)."


def table(plan: Plan) -> str:
    """Returns the memory of each moment, with a line per moment and a column per item."""
    moments = plan.memory.moments
    names = list(dict.fromkeys(name for items in moments.values() for name in items))
    lines = [f"{'GB per replica':16}" + "".join(f"{name:>13}" for name in [*names, "sum"])]
    for moment, items in moments.items():
        sizes = [*(items.get(name, 0) for name in names), sum(items.values())]
        lines.append(f"{moment:16}" + "".join(f"{size / 1e9:13,.3f}" for size in sizes))
    return "\n".join(lines)


def fit(plan: Plan, limit: float | None) -> list[str]:
    """Says whether a plan fits a device of some bytes, and what would make it fit; None: the size is unknown."""
    if limit is None:
        return ["--memory=80G, or whatever a GPU has, says whether it fits."]
    if plan.memory.peak <= limit:
        return [f"It fits {gigabytes(limit)} per replica."]
    found = advise(plan, limit)
    lines = [f"It does not fit {gigabytes(limit)} per replica."]
    if not found:
        return [*lines, "No setting that is tried here makes it fit: a smaller backbone, batch or image size may."]
    return lines + [f"  {flags} would take {gigabytes(changed.memory.peak)}." for flags, changed in found]


def gigabytes(size: float) -> str:
    """Returns a number of bytes in GB."""
    return f"{size / 1e9:,.2f} GB"


def _megabytes(size):
    return f"{size / 1e6:,.1f} MB"
