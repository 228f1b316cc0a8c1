"""README.md: its Python runs exactly as printed, its two lines are those of the guide, and it stays short."""

import pathlib
import re

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_trains_a_model_that_recognises_people_it_has_not_seen(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 13
    keras.utils.set_random_seed(0)
    names = {}
    exec(code, names)
    *_, last = capsys.readouterr().out.strip().splitlines()
    stated = re.fullmatch(
        r"VerificationResult\('verification': accuracy (\S+) ± \S+ %, AUC (\S+), EER \S+ %, "
        r"200 genuine and 200 impostor pairs\)",
        last,
    )
    # The same AUC from the encoder, by another library.
    keys, pairs, unseen = names["keys"], names["pairs"], names["images"][~names["known"]]
    vectors = names["encoder"].predict(unseen, verbose=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    row = dict(zip(keys, vectors, strict=True))
    cosines = [row[left] @ row[right] for left, right in zip(pairs.left, pairs.right, strict=True)]
    assert abs(float(stated[2]) - roc_auc_score(pairs.same, cosines)) < 1e-3
    # Guessing has 50 %.
    assert float(stated[1]) > 55


def test_its_lines_are_those_of_the_guide():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    lines = re.search(r"```bash\n(.*?)```", README, re.DOTALL)[1].strip().splitlines()
    assert len(lines) == 2 and " && ".join(lines) in guide


def test_it_is_one_screen_and_a_half():
    assert len(README.splitlines()) <= 90


def test_the_list_of_pages_has_every_page():
    docs = ROOT / "docs"
    text = (docs / "README.md").read_text(encoding="utf-8")
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)}
    pages = {path.name for path in docs.glob("*.md")} | {
        f"{path.parent.name}/README.md" for path in docs.glob("*/README.md")
    }
    assert pages - linked == {"README.md"}
