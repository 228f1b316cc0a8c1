"""The components that tests go through are those that the library names: a new one is in every battery at once."""

from tfface import heads

# Heads by name; BroadFace wraps another one.
HEADS = [name for name in sorted(heads.COMPONENTS) if name != "BroadFace"]
