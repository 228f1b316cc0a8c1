"""Renders pages in headless Chromium and measures what they show."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Runs in a copy of the page without its policy, which forbids scripts.
_INSPECT = """
<script>
const blocked = [];
document.addEventListener("securitypolicyviolation", event => blocked.push(event.blockedURI));
window.addEventListener("load", () => {
  const found = {
    title: document.title,
    images: [...document.images].map(image => [image.alt, image.complete ? image.naturalWidth : 0]),
    headings: [...document.querySelectorAll("h1, h2, h3")].map(heading => heading.textContent),
    tables: [...document.querySelectorAll("table")].map(
      table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent))),
    align: [...new Set([...document.querySelectorAll("td")].map(cell => getComputedStyle(cell).textAlign))],
    worst: [...document.querySelectorAll("tr.worst")].map(row => row.cells[0].textContent),
    scripts: document.scripts.length,
    wider: document.documentElement.scrollWidth - window.innerWidth,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !/^data:/.test(name)),
    blocked: blocked,
    text: document.body.innerText,
  };
  document.body.replaceChildren(document.createTextNode("FOUND" + JSON.stringify(found) + "END"));
});
</script>
"""


def look(path, width=1280):
    """Opens a page in Chromium; returns what its document holds, and the messages on its console.

    `fetched` names everything that was requested beside the page itself.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install the package chromium to test pages in a browser")
    text = path.read_text(encoding="utf-8")
    allowed = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    copy = path.with_name(f"inspected-{path.name}")
    copy.write_text(allowed.replace("<style>", _INSPECT + "<style>", 1), encoding="utf-8")
    # Without the sandbox, because tests in containers run as root, where Chromium refuses it.
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    profile = path.parent / "profile"
    run = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={profile}", f"--window-size={width},1000", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<body>FOUND(.*)END</body>", run.stdout, re.DOTALL)
    assert found, run.stdout[:2000] + run.stderr[-2000:]
    console = [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console
