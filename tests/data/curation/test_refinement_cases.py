"""Cases of a refinement, decisions on them, and the table that comes of both."""

import numpy as np
import pytest

from tfface.data.curation import cleaning, refinement, refinement_cases, score_ratio
from tfface.data.curation.refinement_cases import Case, decided_table, read_decisions
from tfface.data.sources.base import Item

IDENTITY_OF = {f"{name}/{shot}": name for name in "abcd" for shot in range(3)}
CASES = [
    Case("outlier", "a/0", "a", "", 0.01, ("a/0",)),
    Case("moved", "b/1", "b", "c", 0.02, ("b/1",)),
    Case("moved", "c/2", "c", "a", 0.4, ("c/2",)),
    Case("second", "d", "d", "d_2", 0.03, ("d/0", "d/1")),
    Case("same", "c", "c", "a", 0.04, ()),
]


def table(decisions=None):
    return {key: new for key, new, *_ in decided_table(CASES, IDENTITY_OF, 0.05, decisions)}


def test_sure_cases_are_applied_and_others_left():
    # b/1 moves to c, and with c to a.
    expected = {"a/0": "", "b/1": "a", "c/0": "a", "c/1": "a", "c/2": "a", "d/0": "d_2", "d/1": "d_2"}
    assert table() == expected


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("outlier,a/0,keep,", {"a/0": None}),
        ("outlier,a/0,move,d", {"a/0": "d"}),
        ("second,d,drop,", {"d/0": "", "d/1": ""}),
        ('second,d,move,"new, one"', {"d/0": "new, one", "d/1": "new, one"}),
        ("same,c,keep,", {"b/1": "c", "c/0": None, "c/1": None, "c/2": None}),
        ("same,c,keep,\nmoved,c/2,accept,", {"b/1": "c", "c/0": None, "c/1": None, "c/2": "a"}),
        ("same,c,move,c", {"b/1": "c", "c/0": None, "c/1": None, "c/2": None}),
    ],
)
def test_decisions_come_before_probabilities(tmp_path, text, changes):
    path = tmp_path / "decisions.csv"
    path.write_text(f"kind,name,decision,new_identity\n{text}\n", encoding="utf-8")
    expected = {key: new for key, new in (table() | changes).items() if new is not None}
    assert table(read_decisions(path, CASES)) == expected


def test_relabel_applies_the_table(tmp_path):
    refinement_cases.write_table(tmp_path / "table.csv", decided_table(CASES, IDENTITY_OF, 0.05))
    items = [Item(key, identity) for key, identity in IDENTITY_OF.items()]
    found = {item.key: item.identity for item in cleaning.relabel(items, tmp_path / "table.csv")}
    assert found == {key: new for key, new in (IDENTITY_OF | table()).items() if new}


def test_cases_are_read_as_they_were_written(tmp_path):
    refinement_cases.write_cases(tmp_path / "cases.json", CASES, 0.05)
    assert refinement_cases.read_cases(tmp_path / "cases.json") == (CASES, 0.05)
    (tmp_path / "cases.json").write_text('{"cases": [1], "error_rate": 0.1}')
    with pytest.raises(ValueError, match=r"cases\.json"):
        refinement_cases.read_cases(tmp_path / "cases.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,name,new_identity\n", "column 'decision' is missing; it has kind, name, new_identity"),
        ("kind,name,decision,new_identity\nmoved,b/1,yes,\n", "row 2: a decision is accept, .* or drop, got 'yes'"),
        ("kind,name,decision,new_identity\nmoved,a/0,keep,\n", "row 2: there is no case 'moved' of 'a/0'"),
        ("kind,name,decision,new_identity\nmoved,b/1,move,\n", "row 2: to move needs a new identity, got ''"),
        (
            "kind,name,decision,new_identity\nmoved,b/1,keep,\nmoved,b/1,drop,\n",
            "row 3: the case 'moved' of 'b/1' is decided twice",
        ),
        ("kind,name,decision,new_identity\nmoved,b/1,keep,,,\n", "not a valid CSV table"),
        ("<html>", "column 'kind' is missing"),
    ],
)
def test_bad_decisions_are_one_sentence(tmp_path, text, message):
    path = tmp_path / "decisions.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read_decisions(path, CASES)


def test_cases_are_the_probabilities_in_words():
    labels = np.repeat(np.arange(4), 3)
    own, second = np.full(12, 0.99), np.zeros(12)
    other, moved = np.zeros(12, int), np.zeros(12)
    own[0] = 0.01  # a/0 is nobody.
    own[4], other[4], moved[4] = 0.01, 2, 0.98
    own[8], other[8], moved[8] = 0.4, 0, 0.6
    own[9:11], second[9:11] = 0.0, 1.0
    found = refinement.Refinement(
        own, second, other, moved, own, np.array([0, 0, 0, 0.97]), np.array([[0, 2], [0, 1]]), np.array([0.96, 0.01]),
        own > 0.5, {}, np.ones(score_ratio.BINS), np.ones(score_ratio.BINS), 1,
    )  # fmt: skip
    cases = refinement_cases.find_cases(found, list(IDENTITY_OF), labels, list("abcd"), 0.05)
    assert [case._replace(error=round(case.error, 2)) for case in cases] == CASES


def test_a_new_name_is_new():
    labels = np.repeat(np.arange(2), 4)
    second = np.where(labels == 0, 0.9, 0.0)
    found = refinement.Refinement(
        1 - second, second, labels, 0 * second, second, np.array([1.0, 0]), np.zeros([0, 2], int), np.zeros(0),
        second < 1, {}, np.ones(score_ratio.BINS), np.ones(score_ratio.BINS), 1,
    )  # fmt: skip
    (case,) = refinement_cases.find_cases(found, [str(key) for key in range(8)], labels, ["x", "x_2"], 0.05)
    assert (case.name, case.proposal, case.images) == ("x", "x_3", ("0", "1", "2", "3"))
