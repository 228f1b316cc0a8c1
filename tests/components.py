"""The components that tests go through are those that the library names: a new one is in every battery at once."""

from tfface import heads, losses

# Layers that go around a head, or take its place.
AROUND = ("BroadFace", "HeadWithLosses", "LossesAlone")

# Heads by name.
HEADS = sorted({*heads.COMPONENTS} - {*AROUND})

# Losses by name.
LOSSES = sorted(losses.COMPONENTS)
