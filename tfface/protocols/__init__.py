"""Benchmarks by name, such as `LFW(root="lfw", pairs="pairs.txt")`: the images of each, and what it measures on them.

A protocol reads its lists when it is made. `images()` says which images have to be embedded, and `evaluate` measures
their embeddings; both are the same for all protocols, so one program runs them all.
"""

from tfface import lazy

_HOMES = {
    "base": ("Protocol",),
    "images": ("Embedded", "Images"),
    "pair_protocol": ("PairList", "PairProtocol"),
    "pooled": (),
    "cross_lfw": ("AgeDB30", "CALFW", "CPLFW"),
    "bin_file": ("Bin",),
    "cfp": ("CFP",),
    "combined": ("Combined",),
    "ijb": ("IJB",),
    "in_shop": ("InShop",),
    "lfw": ("LFW",),
    "megaface": ("MegaFace",),
    "retrieval": ("Retrieval",),
    "sop": ("SOP",),
    "trillion_pairs": ("TrillionPairs",),
    "ytf": ("YTF",),
}

# What `--protocol` and the list of components name.
COMPONENTS = (
    *(name for module, names in _HOMES.items() if module not in ("base", "images", "pair_protocol") for name in names),
    "PairList",
)

__getattr__, __dir__ = lazy.exports(__name__, _HOMES)
