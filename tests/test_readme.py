"""What the README shows, runs."""

import doctest
import re
from pathlib import Path

from smalgos.algorithms import MODULES, algorithm

ROOT = Path(__file__).resolve().parent.parent


def test_its_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # they write files
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried > 8
    assert not failed


def test_its_table_names_every_algorithm():
    text = (ROOT / "README.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(MODULES)


def test_links_lead_somewhere():
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_every_algorithm_says_what_it_is():
    for name in MODULES:
        assert algorithm(name).summary
