"""A page on which people decide cases of a refinement; it saves their decisions as CSV, without a server."""

import hashlib
import os
from collections.abc import Mapping, Sequence

from tfface.data.curation.refinement_cases import DECISION_COLUMNS, DECISIONS, Case
from tfface.evaluation.reports import html_page
from tfface.evaluation.reports.html_page import escape

# Per kind: what is asked, what the proposal does, and what the two rows of pictures show.
_TEXTS = {
    "outlier": ("Not {identity}?", "drop the image", "the image, then {identity}", ""),
    "moved": ("{proposal}, not {identity}?", "move it to {proposal}", "the image, then {identity}", "{proposal}"),
    "second": ("Is {identity} two people?", "make {proposal} of the second row", "{identity}", "to be {proposal}"),
    "same": ("Are {identity} and {proposal} one?", "join them as {proposal}", "{identity}", "{proposal}"),
}

_STYLE = """
.bar { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: center;
  background: var(--page); padding: .6rem 0; border-bottom: 1px solid var(--line); }
.bar output { font-variant-numeric: tabular-nums; font-weight: 600; margin-right: auto; }
button, .file, input[type=text] { font: inherit; font-size: .9rem; color: var(--text); background: var(--card);
  border: 1px solid var(--line); border-radius: .4rem; padding: .35rem .7rem; }
button, .file { cursor: pointer; }
.file input { position: absolute; opacity: 0; width: 0; }
.file:focus-within, button:focus-visible, input:focus-visible { outline: 2px solid #3b6fd4; outline-offset: 2px; }
.case { scroll-margin-top: 5rem; }
.case.decided { border-left: .35rem solid #2e8b57; }
.case h2 { margin-bottom: .1rem; overflow-wrap: anywhere; }
.rows { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: .6rem 1.5rem; }
.faces { display: grid; grid-template-columns: repeat(5, minmax(0, 6rem)); gap: .35rem; }
.faces img { display: block; width: 100%; aspect-ratio: 1; border-radius: .25rem; background: var(--head); }
.asked img:first-child { outline: 3px solid #d55e00; outline-offset: -1px; }
.choices { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center; border: 0; margin: .8rem 0 0;
  padding: 0; min-width: 0; }
.choices label { display: inline-flex; gap: .35rem; align-items: center; overflow-wrap: anywhere; }
.choices input[type=text] { width: 11rem; max-width: 100%; }
.undecided-only .case.decided { display: none; }
"""

# `csvText` and `takeCsv` are functions of the page, so that tests can call what the buttons do.
_SCRIPT = """
"use strict";
const COLUMNS = %(columns)s, DECISIONS = %(decisions)s;
const main = document.querySelector("main"), cases = [...document.querySelectorAll(".case")];
const store = "tfface-refine-" + document.querySelector(".bar").dataset.run;
const say = text => { document.getElementById("message").textContent = text; };
const id = one => one.dataset.kind + "\\n" + one.dataset.name;
const byId = new Map(cases.map(one => [id(one), one]));

function decision(one) {
  const chosen = one.querySelector("input[type=radio]:checked")?.value;
  const target = chosen === "move" ? one.querySelector("input[type=text]").value.trim() : "";
  // A move without a name is not a decision yet.
  return chosen && (chosen !== "move" || target) ? [chosen, target] : null;
}
function rows() {
  return cases.filter(decision).map(one => [one.dataset.kind, one.dataset.name, ...decision(one)]);
}
function csvText() {
  const cell = text => /[",\\r\\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  return [COLUMNS, ...rows()].map(row => row.map(cell).join(",") + "\\n").join("");
}
function parseCsv(text) {
  const found = [];
  let row = [], cell = "", quoted = false;
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at < text.length; at++) {
    const one = text[at];
    if (quoted) {
      if (one !== '"') cell += one;
      else if (text[at + 1] === '"') { cell += '"'; at++; }
      else quoted = false;
    } else if (one === '"') quoted = true;
    else if (one === ",") { row.push(cell); cell = ""; }
    else if (one === "\\n") { row.push(cell); found.push(row); row = []; cell = ""; }
    else if (one !== "\\r") cell += one;
  }
  if (cell || row.length) found.push([...row, cell]);
  return found.filter(row => row.some(Boolean));
}
function decide(one, choice, target) {
  one.querySelector(`input[value=${choice}]`).checked = true;
  if (choice === "move") one.querySelector("input[type=text]").value = target;
}
function takeCsv(text) {
  const [header = [], ...lines] = parseCsv(text), at = COLUMNS.map(name => header.indexOf(name));
  if (at.includes(-1)) {
    say(`This is not a file of decisions: it has no column ${COLUMNS[at.indexOf(-1)]}.`);
    return;
  }
  let taken = 0;
  for (const line of lines) {
    const [kind, name, choice, target] = at.map(column => line[column] ?? ""), one = byId.get(kind + "\\n" + name);
    if (one && DECISIONS.includes(choice)) { decide(one, choice, target); taken++; }
  }
  update();
  const left = lines.length - taken;
  if (lines.length) say(`${taken} decisions read` + (left ? `, ${left} of other cases left out.` : "."));
}
function update() {
  for (const one of cases) one.classList.toggle("decided", decision(one) !== null);
  document.getElementById("count").textContent = `${rows().length} of ${cases.length} decided`;
  try { localStorage.setItem(store, csvText()); }
  catch { say("This browser keeps nothing: save the CSV before you close the page."); }
}
main.addEventListener("change", event => {
  if (event.target.closest(".case")) update();
});
main.addEventListener("input", event => {
  if (event.target.type === "text") decide(event.target.closest(".case"), "move", event.target.value);
});
document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a"), url = URL.createObjectURL(new Blob([csvText()], {type: "text/csv"}));
  link.href = url;
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  const open = cases.filter(one => one.querySelector("input[value=move]").checked && !decision(one)).length;
  say(open ? `${open} moves without a name are not saved.` : "");
});
document.getElementById("load").addEventListener("change", async event => {
  if (event.target.files.length) takeCsv(await event.target.files[0].text());
  event.target.value = "";
});
document.getElementById("open").addEventListener("change", event => {
  main.classList.toggle("undecided-only", event.target.checked);
});
try {
  const kept = localStorage.getItem(store);
  if (kept) takeCsv(kept);
} catch { }
update();
"""


def write_refinement_page(
    path: str | os.PathLike,
    records: str,
    cases: Sequence[Case],
    examples: Sequence[tuple[Sequence[str], Sequence[str]]],
    pictures: Mapping[str, bytes],
    total: int,
) -> None:
    """Writes a page with a sheet per case.

    Args:
      path: HTML file to write.
      records: name of the dataset.
      cases: the `Case`s to show.
      examples: for each, keys of images in question and of images of the proposed identity.
      pictures: dict from key to the bytes of a JPEG or PNG file; absent ones are left out.
      total: number of all cases.
    """
    # Decisions that a browser keeps belong to these cases of this dataset.
    run = hashlib.sha256(repr((records, [case[:3] for case in cases])).encode("utf-8", "replace")).hexdigest()[:16]
    bar = (
        f'<div class="bar" data-run="{run}"><output id="count"></output>'
        '<label><input type="checkbox" id="open"> undecided only</label>'
        '<label class="file">Load CSV<input type="file" id="load" accept=".csv"></label>'
        '<button type="button" id="save">Save CSV</button></div>\n<p class="quiet" id="message" role="status"></p>\n'
    )
    intro = html_page.paragraph(
        f"{len(cases)} of {total:,} cases, those nearest to the error rate. Accept does what the line says, Keep "
        "changes nothing, Move and Drop concern the same images. The browser keeps decisions until they are saved; "
        "cases without a decision follow the error rate."
    )
    sheets = [_sheet(number, *one, pictures) for number, one in enumerate(zip(cases, examples, strict=True))]
    script = _SCRIPT % {"columns": list(DECISION_COLUMNS), "decisions": list(DECISIONS)}
    html_page.write_page(path, f"Refinement of {records}", [intro, bar, *sheets], _STYLE, script)


def _sheet(number, case, examples, pictures):
    identity = case.name if case.kind in ("second", "same") else case.identity
    names = {"identity": identity, "proposal": case.proposal}
    question, proposal, left, right = (text.format(**names) for text in _TEXTS[case.kind])
    single = case.kind in ("outlier", "moved")
    rows = "".join(
        f'<figure><figcaption>{escape(caption)}</figcaption><div class="faces{" asked" if asked else ""}">'
        f"{''.join(html_page.image(pictures[key], key) for key in keys if key in pictures)}</div></figure>\n"
        for caption, keys, asked in ((left, examples[0], single), (right, examples[1], False))
        if keys
    )
    choices = "".join(
        f'<label><input type="radio" name="case-{number}" value="{value}"> {escape(text)}</label>'
        for value, text in (("accept", f"Accept: {proposal}"), ("keep", "Keep"), ("drop", "Drop"), ("move", "Move to"))
    )
    target = '<input type="text" aria-label="New identity" placeholder="identity" maxlength="500">'
    name = f"{case.name} · " if single else ""
    return (
        f'<section class="case" data-kind="{case.kind}" data-name="{escape(case.name)}">\n<h2>{escape(question)}</h2>\n'
        f'<p class="quiet">{escape(name)}proposal wrong with probability {case.error:.2f}</p>\n'
        f'<div class="rows">{rows}</div>\n'
        f'<fieldset class="choices"><legend class="quiet">Decision</legend>{choices}{target}</fieldset>\n</section>\n'
    )
