"""Which numbers of the papers a program can produce: every protocol measures random vectors, and `compare` reads them.

docs/evaluation.md lists, by paper and table, how many numbers there are and how many have a program.
"""

import csv
import json
import pathlib
import re

import numpy as np
import pytest

from tfface import evaluation, protocols
from tfface.evaluation.reports import comparison, measures, tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAPERS = ROOT / "tfface" / "cli" / "paper_results.csv"
PEOPLE, FOLDS = 4, 10


def embedded(keys, identities=None):
    vectors = np.random.default_rng(len(keys)).normal(size=(len(keys), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return protocols.Embedded(list(keys), vectors, identities=identities)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def of_pairs(root):
    """LFW, CFP-FP, AgeDB-30, CALFW, CPLFW and YTF of one genuine and one impostor pair per fold."""
    lfw = [f"{FOLDS}\t1"] + ["P_0\t1\t2", "P_0\t1\tP_1\t1"] * FOLDS
    flat = ["0_0.jpg 0_1.jpg 1", "0_0.jpg 1_0.jpg 0"] * FOLDS
    cross = ["0_0.jpg 1", "0_1.jpg 1", "0_0.jpg 0", "1_0.jpg 0"] * FOLDS
    videos = [
        line.format(fold + 1) for fold in range(FOLDS) for line in ("{}, 1, P_0/0, P_0/1, 1", "{}, 2, P_0/0, P_1/0, 0")
    ]
    for letter, pose in (("F", "frontal"), ("P", "profile")):
        images = [f"{p + 1} ../Data/Images/{p + 1:03d}/{pose}/01.jpg" for p in range(PEOPLE)]
        write(root / f"cfp/Protocol/image_list_{letter}.txt", images)
    for fold in range(FOLDS):
        write(root / f"cfp/Protocol/Split/FP/{fold + 1:02d}/same.txt", ["1,1"])
        write(root / f"cfp/Protocol/Split/FP/{fold + 1:02d}/diff.txt", ["1,2"])
    four = [
        protocols.LFW("lfw", write(root / "pairs.txt", lfw)),
        protocols.AgeDB30("agedb", write(root / "agedb_30_pair.txt", flat)),
        protocols.CALFW("calfw", write(root / "pairs_CALFW.txt", cross)),
        protocols.CPLFW("cplfw", write(root / "pairs_CPLFW.txt", cross)),
    ]
    yield from four
    yield protocols.Combined(four)
    yield protocols.CFP(root / "cfp")
    header = "split number, pair number, first name, second name, is same?"
    frames = embedded([f"P_{p}/{video}/0.1.jpg" for p in range(PEOPLE) for video in range(2)])
    yield protocols.YTF("ytf", write(root / "splits.txt", [header, *videos])), [frames]


def ijb(root, kind):
    """Person p has the templates 10 p and 10 p + 1, of one face each; the first is in a gallery."""
    faces = [(10 * p + number, p) for p in range(PEOPLE) for number in range(2)]
    start = f"{root}/ijb{kind.lower()}"
    lists = {
        "face_tid_mid.txt": [f"{t}.jpg {t} {t}" for t, _ in faces],
        "name_5pts_score.txt": [f"{t}.jpg {' '.join(['1'] * 10)} 0.9" for t, _ in faces],
        "template_pair_label.txt": [f"{10 * p} {10 * other + 1} {int(p == other)}" for p in (0, 1) for other in (0, 1)],
        "1N_gallery_G1.csv": ["TEMPLATE_ID,SUBJECT_ID", "0,0", "10,1"],
        "1N_gallery_G2.csv": ["TEMPLATE_ID,SUBJECT_ID", "20,2", "30,3"],
        "1N_probe_mixed.csv": ["TEMPLATE_ID,SUBJECT_ID", *(f"{10 * p + 1},{p}" for p in range(PEOPLE))],
    }
    for name, lines in lists.items():
        write(pathlib.Path(f"{start}_{name}"), lines)
    return protocols.IJB("crops", root, kind)


def of_galleries(root):
    yield ijb(root, "B")
    yield ijb(root, "C")
    write(root / "facescrub_lst", [f"P_{p}/P_{p}_{number}.png" for p in range(PEOPLE) for number in range(2)])
    write(root / "megaface_lst", [f"1/2@N00/{number}_0.jpg" for number in range(30)])
    for name in ("facescrub_noises.txt", "megaface_noises.txt"):
        write(root / name, ["# none"])
    for refined in (False, True):
        yield protocols.MegaFace("scrub", "mega", root, refined)
    people = [f"P_{p}" for p in range(PEOPLE) for _ in range(2)]
    places = [embedded([f"{p}/{n}.jpg" for n, p in enumerate(people)], people), embedded([f"x/{n}" for n in range(30)])]
    yield protocols.TrillionPairs("probes", "distractors"), places
    bikes = ["image_id class_id super_class_id path", *(f"{n + 1} {n // 2 + 1} 1 bike/{n}.JPG" for n in range(8))]
    write(root / "Ebay_test.txt", bikes)
    yield protocols.SOP(root)
    parts = ["4", "image_name item_id evaluation_status"]
    parts += [f"img/{n}.jpg id_{n // 2} {('query', 'gallery')[n % 2]}" for n in range(8)]
    parts[0] = str(len(parts) - 2)
    yield protocols.InShop(root, write(root / "list_eval_partition.txt", parts))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Set of all measures that `compare` finds in results of programs."""
    root = tmp_path_factory.mktemp("sets")
    pairs, others = [], []
    for each in [*of_pairs(root), *of_galleries(root)]:
        protocol, found = each if isinstance(each, tuple) else (each, None)
        result = protocol.evaluate(found or [embedded(images.names) for images in protocol.images()], root)
        (others if isinstance(result, evaluation.ProtocolResult) else pairs).append(result)
    labels = np.repeat(np.arange(PEOPLE), 2)
    vectors = embedded([str(n) for n in range(len(labels))]).vectors
    found = set()
    # The angles of LFW, those of a run on its training images, and all protocols at once.
    for results, weights, rest in ((pairs[:1], None, []), (pairs[:1], np.eye(PEOPLE, 6), []), (pairs, None, others)):
        angles = evaluation.angle_statistics(vectors, labels, weights)._asdict()
        sections = {"angles": angles, "protocols": [measures.plain_result(result) for result in rest]}
        tables.to_json(results, root / "results.json", **sections)
        found |= comparison.read_run(root).values.keys()
    return found


def numbers():
    """Dict from (paper, table) to the measures of its numbers."""
    found = {}
    with PAPERS.open() as file:
        for row in csv.DictReader(file):
            found.setdefault((row["paper"], row["table"]), []).append(row["measure"])
    return found


def test_measures_without_a_program(measured):
    absent = {measure for table in numbers().values() for measure in table} - measured
    assert absent == {"iQIYI-VID MAP@100", "loss time (s)", "total time (s)", "GFLOPs"}


def test_the_page_counts_numbers_with_a_program(measured):
    page = (ROOT / "docs" / "evaluation.md").read_text()
    listed = {}
    for paper, names, count, whole in re.findall(r"^\| (\w[\w-]+) \| ([\dab, ]+) \| (\d+) \| (\d+) \|", page, re.M):
        for name in names.split(", "):
            assert (paper, name) not in listed
            listed[paper, name] = (paper, names, int(whole), int(count))
    assert listed.keys() == numbers().keys()
    sums = {line: [0, 0] for line in listed.values()}
    for table, found in numbers().items():
        sums[listed[table]][0] += sum(measure in measured for measure in found)
        sums[listed[table]][1] += len(found)
    assert sums == {line: list(line[2:]) for line in sums}
    total, with_program = (sum(line[place] for line in sums.values()) for place in (1, 0))
    assert f"runs beside {total} numbers of the papers" in page
    assert f"{with_program} of the {total} numbers" in page


def test_angles_are_named_by_their_images(tmp_path):
    """Angles to class weights are those of a run on its training images; others are of the one set of the results."""
    result = {"name": "pairs", "genuine_pairs": 1, "impostor_pairs": 1, "accuracy": {"mean": 1, "std": 0}}
    result |= {"auc": 1, "eer": 0, "tar_at_far": []}
    angles = {"w_ec": 14.291, "w_inter": 71.61, "intra": 38.45, "inter": 65.83}
    lfw = {"protocol": {"lfw/pairs.txt": "0"}}

    def found(results, **changes):
        document = {"context": lfw, "results": results, "angles": {**angles, **changes}}
        (tmp_path / "results.json").write_text(json.dumps(document))
        return [line for line in comparison.read_run(tmp_path).values.items() if "(degrees)" in line[0]]

    of_training = [("W-EC", "14.29"), ("W-Inter", "71.61"), ("training Intra", "38.45"), ("training Inter", "65.83")]
    assert found([result]) == [(f"{name} (degrees)", angle) for name, angle in of_training]
    nothing = {"w_ec": None, "w_inter": None}
    assert found([result], **nothing) == [("LFW Intra (degrees)", "38.45"), ("LFW Inter (degrees)", "65.83")]
    two = [result, {**result, "name": "calfw"}]
    assert found(two, **nothing) == [("Intra (degrees)", "38.45"), ("Inter (degrees)", "65.83")]
    with pytest.raises(ValueError, match=r"results.json: .*angles.*"):
        found([result], intra="wide")
