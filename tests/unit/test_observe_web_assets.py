"""The files of the page: whole, vendored as released, small, and without anything from elsewhere."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from timesync.observe.web import assets

STATIC = Path(str(files("timesync.observe.web") / "static"))
LIMIT = 150_000
UPLOT = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
"""Of dist/uPlot.iife.min.js in uplot-1.6.32.tgz as the npm registry has it."""


def test_what_is_vendored_is_as_it_was_released() -> None:
    folder = STATIC / "vendor"
    said = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert {path.name for path in folder.iterdir()} - {"SHA256SUMS"} == set(said)
    for name, digest in said.items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest(), name
    assert UPLOT == said["uPlot.iife.min.js"]
    assert b"uPlot (v1.6.32)" in (folder / "uPlot.iife.min.js").read_bytes()[:100]
    assert "The MIT License" in (folder / "LICENSE-uPlot.txt").read_text()


def test_the_whole_page_is_small() -> None:
    total = sum(len(asset.packed) for asset in assets.load().values())
    assert 20_000 < total < LIMIT


def test_all_that_the_page_names_is_there_and_nothing_else_is_served() -> None:
    served = assets.load()
    named = {"/"}
    for name in ("index.html", "style.css", *(f"js/{path.name}" for path in (STATIC / "js").iterdir())):
        text = (STATIC / name).read_text()
        named |= set(re.findall(r'(?:src|href)="(/[^"]*\.[a-z]+)"', text))
        named |= {f"/js/{found}" for found in re.findall(r'from "\./([^"]+)"', text)}
    assert named == set(served)


def test_nothing_comes_from_elsewhere_and_nothing_is_made_of_text() -> None:
    """Strict CSP would forbid most of it; this says so before a browser does."""
    ours = [
        path for path in STATIC.rglob("*") if path.suffix in {".html", ".css", ".js"} and path.parent.name != "vendor"
    ]
    for path in ours:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), path
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page)


def test_each_explained_term_has_an_explanation() -> None:
    words = (STATIC / "js" / "words.js").read_text()
    known = set(re.findall(r'^  "([^"]+)": "', words, re.MULTILINE))
    used = set(re.findall(r'data-term="([^"]+)"', (STATIC / "index.html").read_text()))
    for path in (STATIC / "js").iterdir():
        text = path.read_text()
        used |= set(re.findall(r'\bterm\("([^"]+)"', text)) | set(re.findall(r'\b(?:term|word): "([^"]+)"', text))
        used |= set(re.findall(r'^\s+\["([a-zA-Z][^"]*)", "[A-Z]', text, re.MULTILINE))
    assert len(used) > 20
    assert used <= known
