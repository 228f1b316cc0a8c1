"""Files about the package agree with it: CITATION.cff, the Dockerfile, the list of dependencies."""

import pathlib
import re

from tfface import __version__

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.MULTILINE))
    # Those that version 1.2.0 of the format requires, and more.
    assert {"cff-version", "message", "title", "authors", "version", "license", "type"} <= set(fields)
    assert (fields["cff-version"], fields["version"]) == ("1.2.0", __version__)
    assert f'license="{fields["license"]}"' in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_the_dockerfile_copies_all_that_the_build_reads():
    text = (ROOT / "examples" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    copied = {}
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            copied[source] = target
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    read = re.findall(r'ROOT / "([\w.]+)"', setup) + re.findall(r'": "([\w/]+)"\}', setup)
    assert {"README.md", "tfface", "scripts/flagfiles"} <= set(read) <= set(copied)
    # At their places in the copy.
    assert all(target.removeprefix("/source/") in ("", source) for source, target in copied.items())
    extras = re.findall(r"--build-arg EXTRA=(\w+)", text) + re.findall(r"^ARG EXTRA=(\w+)", text, re.MULTILINE)
    assert set(extras) == {"cpu", "gpu"}
    assert all(f'"{extra}": [' in setup for extra in extras)
    assert re.search(r'^ENTRYPOINT \["tfface"\]$', text, re.MULTILINE)
