"""The documents point at things that exist."""

import re

import pytest

from tests.house.tree import ROOT, name_of

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "jobs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def anchors(text):
    """The anchors that a document's headings give, the way code hosts spell them; repeated ones get a number."""
    seen = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}-{count}" if count else anchor


def broken(document):
    text = document.read_text(encoding="utf-8")
    for inline, reference in LINK.findall(FENCE.sub("", text)):
        link = inline or reference
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue  # another site's pages are not ours to check
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.is_relative_to(ROOT) or not target.exists():
            yield f"{link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document):
    assert list(broken(document)) == []


@pytest.mark.parametrize("name", ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY"])
def test_the_document_is_there(name):
    assert (ROOT / f"{name}.md").is_file()


def make_targets_named_in(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    code = "\n".join(block.group() for block in FENCE.finditer(text))
    return set(re.findall(r"`make ([a-z]+)", text) + re.findall(r"^\s*(?:\$ )?make ([a-z]+)", code, re.MULTILINE))


def test_the_documents_name_commands_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"setup", "test"} <= make_targets_named_in("README.md")
    assert make_targets_named_in("README.md") | make_targets_named_in("CONTRIBUTING.md") <= targets
