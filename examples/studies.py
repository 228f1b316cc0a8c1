"""The studies on Omniglot: the trainings that each compares. Heads and losses are those of `tfface train`."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a study: a training, with several seeds.

    Attributes:
      name: that of the paper's row where it has one.
      head: as `--head` of `tfface train`.
      candidates: other heads; the row is the one of all with the highest mean recall.
      losses: beside the head, as `--loss`.
      noise: share of the training labels that are shuffled.
      classes: number of training characters with labels; None: all.
      strangers: images of the other training characters in each step, beside its batch, as faces of no class.
      warmup: whether the learning rate rises within the first ninth of the steps.
      updated: whether the queue of BroadFace keeps the class weights from after the step of its embeddings.
    """

    name: str
    head: str
    candidates: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    noise: float = 0.0
    classes: int | None = None
    strangers: int = 0
    warmup: bool = True
    updated: bool = False

    def trainings(self) -> dict[str, "Row"]:
        """Returns the trainings of the row by their settings, in words: rows of several studies may share one."""
        rows = [dataclasses.replace(self, head=head, candidates=()) for head in (self.head, *self.candidates)]
        return {row._settings(): row for row in rows}

    def _settings(self):
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        values = {name: getattr(self, name) for name in ("noise", "classes", "strangers", "warmup", "updated")}
        changed = [f"{name}={value}" for name, value in values.items() if value != fields[name]]
        return " ".join([self.head, *self.losses, *changed])


@dataclasses.dataclass(frozen=True)
class Study:
    """Rows that are compared with each other.

    Attributes:
      name: of the study, and of its picture.
      page: name of its page.
      about: what it compares.
      rows: list of `Row`.
      table: the paper's table, as `tfface reproduce` names it; "" if the paper prints no numbers.
      angles: whether its table has angles beside recall.
    """

    name: str
    page: str
    about: str
    rows: list[Row]
    table: str = ""
    angles: bool = False


_PAPERS = {
    "softmax": "Softmax",
    "ns": "NormSoftmax",
    "coco": "CoCo",
    "sphereface": "SphereFace(margin=1.35)",
    "cosface": "CosFace(margin=0.35)",
    "arcface": "ArcFace(margin=0.5)",
    "cm1": "CombinedMargin(m1=1, m2=0.3, m3=0.2)",
    "circle": "CircleLoss(scale=256, margin=0.25)",
    "curricularface": "CurricularFace(margin=0.5)",
    "adaface": "AdaFace(margin=0.4)",
    "magface": "MagFace",
    "subcenter": "SubCenterArcFace(margin=0.5, sub_centers=3)",
    "dsoftmax": "DSoftmax(termination=0.9)",
    "sphereface2": "SphereFace2(loss_weight=10)",
}

# Two further settings for each head: an equal budget.
_CANDIDATES = {
    "softmax": ("Softmax(use_bias=False)", "Softmax(class_weights_initializer=HeNormal)"),
    "ns": ("NormSoftmax(scale=32)", "NormSoftmax(scale=16)"),
    "coco": ("CoCo(scale=12)", "CoCo(scale=24)"),
    "sphereface": ("SphereFace(scale=32, margin=1.35)", "SphereFace(scale=16, margin=1.35)"),
    "cosface": ("CosFace(scale=32, margin=0.2)", "CosFace(scale=16, margin=0.2)"),
    "arcface": ("ArcFace(scale=32, margin=0.3)", "ArcFace(scale=16, margin=0.3)"),
    "cm1": (
        "CombinedMargin(scale=32, m1=1, m2=0.2, m3=0.1)",
        "CombinedMargin(scale=16, m1=1, m2=0.2, m3=0.1)",
    ),
    "circle": ("CircleLoss(scale=128, margin=0.25)", "CircleLoss(scale=64, margin=0.4)"),
    "curricularface": ("CurricularFace(scale=32, margin=0.3)", "CurricularFace(scale=16, margin=0.3)"),
    "adaface": ("AdaFace(scale=32, margin=0.3)", "AdaFace(scale=16, margin=0.3)"),
    "magface": (
        "MagFace(scale=32, lower_margin=0.2, upper_margin=0.5, lower_norm=1, upper_norm=20)",
        "MagFace(scale=16, lower_margin=0.2, upper_margin=0.5, lower_norm=1, upper_norm=20)",
    ),
    "subcenter": (
        "SubCenterArcFace(scale=32, margin=0.3, sub_centers=3)",
        "SubCenterArcFace(scale=16, margin=0.3, sub_centers=3)",
    ),
    "dsoftmax": ("DSoftmax(scale=32, termination=0.9)", "DSoftmax(scale=16, termination=0.9)"),
    "sphereface2": ("SphereFace2(margin=0.2, loss_weight=10)", "SphereFace2(margin=0.2, loss_weight=50)"),
}


def _rows(heads):
    return [Row(name, head) for name, head in heads.items()]


STUDIES = [
    Study("losses", "losses", "losses at the settings of their papers", _rows(_PAPERS), "sphereface2/6"),
    Study(
        "sphereface2-principles",
        "sphereface2",
        "the four principles of SphereFace2",
        # K is 864 here and 8,631 in the paper: without any principle, balance is (K - 1) / K; with PN alone, the
        # share of the negatives grows as K falls.
        _rows(
            {
                "none": "SphereFace2(balance=0.998843, radius=1, margin=0, adjustment=1, use_bias=False)",
                "pn": "SphereFace2(balance=0.99, radius=1, margin=0, adjustment=1, use_bias=False)",
                "pn-eh": "SphereFace2(balance=0.7, margin=0, adjustment=1, use_bias=False, loss_weight=10)",
                "pn-eh-am": "SphereFace2(balance=0.8, adjustment=1, loss_weight=10)",
                "pn-eh-am-sa": "SphereFace2(loss_weight=10)",
            }
        ),
        "sphereface2/3",
    ),
    Study(
        "dsoftmax",
        "dsoftmax",
        "the termination point of D-Softmax, and other inter-class objectives",
        _rows(
            {
                "softmax": "NormSoftmax",
                "sphereface": "SphereFace(margin=1.35)",
                "arcface": "ArcFace(margin=0.5)",
                "dsoftmax-0.5": "DSoftmax(termination=0.5)",
                "dsoftmax-0.7": "DSoftmax(termination=0.7)",
                "dsoftmax-0.9": "DSoftmax(termination=0.9)",
                "dsoftmax-1.0": "DSoftmax(termination=1.0)",
                "inter-softmax": 'DSoftmax(inter="softmax")',
                "inter-arcface": 'DSoftmax(inter="arcface", margin=0.5)',
            }
        ),
        "dsoftmax/1",
    ),
    Study(
        "sampling",
        "dsoftmax",
        "losses on a sample of the classes",
        # A batch is 128 here and 256 in the paper.
        _rows(
            {
                "b-1": "DSoftmaxB(rows=128)",
                "b-4": "DSoftmaxB(rows=32)",
                "b-16": "DSoftmaxB(rows=8)",
                "b-64": "DSoftmaxB(rows=2)",
                "k-64": "DSoftmaxK(sampling_rate=0.015625)",
                "rand-softmax": "RandSoftmax(sampling_rate=0.015625)",
                "rand-arcface": "RandArcFace(sampling_rate=0.015625)",
                "hf-softmax": "NormSoftmax(sampler=HashForest(rate=0.015625))",
            }
        ),
        "dsoftmax/2",
    ),
    Study(
        "noise",
        "noise",
        "shuffled labels",
        [
            Row(f"{name}-{share}", head, noise=share / 100)
            for name, head in {"sphereface2": "SphereFace2(loss_weight=10)", "cosface": "CosFace(margin=0.35)"}.items()
            for share in (0, 20, 40, 60, 80)
        ],
    ),
    Study(
        "no-warmup",
        "warmup",
        "losses at the settings of their papers, without a warm-up",
        [
            Row(name, _PAPERS[name], warmup=False)
            for name in ("softmax", "ns", "coco", "sphereface", "cosface", "arcface", "cm1", "circle", "curricularface")
        ],
        "sphereface2/6",
    ),
    Study(
        "strangers",
        "strangers",
        "faces of no class as negatives",
        [
            Row("432 classes", "SphereFace2(loss_weight=10)", classes=432),
            Row("432 classes and strangers", "SphereFace2(loss_weight=10)", classes=432, strangers=64),
            Row("864 classes", "SphereFace2(loss_weight=10)"),
        ],
    ),
    Study(
        "angles",
        "angles",
        "angles within and between classes, and cosines between class weights",
        [
            Row("ns", "NormSoftmax"),
            Row("arcface-0.5", "ArcFace(margin=0.5)"),
            Row("ns-intra", "NormSoftmax", losses=("IntraLoss",)),
            Row("ns-inter", "NormSoftmax", losses=("InterLoss",)),
            Row("dsoftmax-0.9", "DSoftmax(termination=0.9)"),
            Row("sphereface2", "SphereFace2(loss_weight=10)"),
        ],
        "arcface/3",
        angles=True,
    ),
    Study(
        "sphereface2-balance",
        "sphereface2",
        "the balance λ of positives and negatives, at t = 1",
        _rows(
            {
                name: f"SphereFace2(balance={name}, adjustment=1, loss_weight=10)"
                for name in ("0.3", "0.5", "0.7", "0.8", "0.9", "0.99")
            }
        ),
        "sphereface2/4",
    ),
    Study(
        "broadface",
        "broadface",
        "the queue of BroadFace: its size, compensation, and when it is filled",
        [
            Row("0", "ArcFace(scale=32, margin=0.3)"),
            Row("2048", "BroadFace(ArcFace(scale=32, margin=0.3), queue_size=2048)"),
            Row("2048-without", "BroadFace(ArcFace(scale=32, margin=0.3), queue_size=2048, compensate=False)"),
            Row("2048-updated", "BroadFace(ArcFace(scale=32, margin=0.3), queue_size=2048)", updated=True),
            Row("8192", "BroadFace(ArcFace(scale=32, margin=0.3), queue_size=8192)"),
            Row("8192-without", "BroadFace(ArcFace(scale=32, margin=0.3), queue_size=8192, compensate=False)"),
        ],
        "broadface/6a",
    ),
    Study(
        "sphereface2-parameters",
        "sphereface2",
        "the radius r, the margin m and the adjustment t",
        _rows(
            {
                "r20": "SphereFace2(radius=20, loss_weight=10)",
                "r30": "SphereFace2(loss_weight=10)",
                "r40": "SphereFace2(radius=40, loss_weight=10)",
                "r50": "SphereFace2(radius=50, loss_weight=10)",
                "m0.2": "SphereFace2(margin=0.2, loss_weight=10)",
                "m0.3": "SphereFace2(margin=0.3, loss_weight=10)",
                "m0.5": "SphereFace2(margin=0.5, loss_weight=10)",
                "t1": "SphereFace2(adjustment=1, loss_weight=10)",
                "t2": "SphereFace2(adjustment=2, loss_weight=10)",
                "t4": "SphereFace2(adjustment=4, loss_weight=10)",
                "t5": "SphereFace2(adjustment=5, loss_weight=10)",
            }
        ),
        "sphereface2/11",
    ),
    Study(
        "margins",
        "losses",
        "margins, and losses beside a head",
        [
            *_rows(
                {
                    "arcface-0.4": "ArcFace(margin=0.4)",
                    "arcface-0.5": "ArcFace(margin=0.5)",
                    "sphereface-1.35": "SphereFace(margin=1.35)",
                    "cosface-0.35": "CosFace(margin=0.35)",
                    "cm1": "CombinedMargin(m1=1, m2=0.3, m3=0.2)",
                    "cm2": "CombinedMargin(m1=0.9, m2=0.4, m3=0.15)",
                    "softmax": "Softmax",
                    "ns": "NormSoftmax",
                }
            ),
            *(
                Row(
                    f"{name}-{others.lower().replace('loss', '').replace(' ', '-')}", head, losses=tuple(others.split())
                )
                for name, head in {"ns": "NormSoftmax", "arcface": "ArcFace(margin=0.5)"}.items()
                for others in ("IntraLoss", "InterLoss", "IntraLoss InterLoss")
            ),
        ],
        "arcface/2",
    ),
    Study(
        "tuned",
        "losses",
        "the best of three settings of each loss",
        [Row(name, head, _CANDIDATES[name]) for name, head in _PAPERS.items()],
        "sphereface2/6",
    ),
]


def named(names):
    """Returns the studies with these names, in the order of the list; all without a name.

    Raises:
      ValueError: there is none with one of the names.
    """
    known = [study.name for study in STUDIES]
    if strangers := set(names) - set(known):
        raise ValueError(f"there is no study {sorted(strangers)[0]!r}; the studies are {', '.join(known)}.")
    return [study for study in STUDIES if not names or study.name in names]
