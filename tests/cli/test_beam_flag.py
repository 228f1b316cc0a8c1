"""The flag --beam of conversion and embedding where Apache Beam is absent, as in the basic installation."""

import subprocess
import sys

import pytest

# As if it were not installed, also where it is.
WITHOUT_BEAM = """
import sys
sys.modules["apache_beam"] = sys.modules["apache_beam.options.pipeline_options"] = None
from tfface.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words",
    [
        ("embed", "--model=m", "--data=d", "--output=o.npz"),
        # All programs ask the same function.
        pytest.param(("records", "from-list", "--input=d", "--output=o"), marks=pytest.mark.slow),
        pytest.param(("records", "overlap", "--train=d", "--test=e", "--output=o"), marks=pytest.mark.slow),
    ],
)
def test_a_sentence_names_the_extra(words, tmp_path):
    command = [sys.executable, "-c", WITHOUT_BEAM, *words, "--beam=--runner=DirectRunner"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert done.stderr.splitlines()[-1] == "Error: --beam needs Apache Beam: install `tfface[beam]`."
