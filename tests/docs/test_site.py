"""The pages of the documentation: links between them, the tree of contents, the whole build."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        other = page.parent / target
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), f"{target}#{anchor}"


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    howto = (DOCS / "howto/index.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.stem in ("README", "index"):
            continue
        listed = howto if page.parent.name == "howto" else index
        assert re.search(rf"^{page.stem}$", listed, re.MULTILINE), page.stem


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("sphinx", "myst_parser", "sphinx_gallery")),
    reason="Sphinx is not installed (extra docs)",
)
def test_the_site_builds_without_warnings(tmp_path):
    # Examples are run by scripts/docs.sh; here the pages only are built.
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html",
             "-D", "plot_gallery=0", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*words, str(DOCS), str(tmp_path / "html")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html/reference.html").is_file()
