"""Logs of a run that is interrupted are those of one that is not."""

from tfface.training.callbacks.steps import CsvLog


def test_a_run_that_begins_again_has_one_row_of_step_0(tmp_path):
    for _ in range(2):
        CsvLog(tmp_path / "a.csv", ("step", "accuracy"), 0).append(0, 0.5)
    CsvLog(tmp_path / "a.csv", ("step", "accuracy"), 5).append(6, 0.6)
    assert (tmp_path / "a.csv").read_text() == "step,accuracy\n0,0.5\n6,0.6\n"
