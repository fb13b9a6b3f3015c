"""Words that must not be in the sources: things that are dangerous, and things that are nobody else's business."""

import re

import pytest

from tests.house.tree import name_of, our_texts, package_modules

# Spelled in parts, so that this file doesn't hold them either.
FOREIGN = {
    "the host of a package registry": r"py" r"pi\.org|python" r"hosted\.org|npm" r"js\.(org|com)|deb" r"ian\.org",
    "a path of somebody's machine": r"(?<![\w.])/(ho" r"me/\w|ro" r"ot/|Us" r"ers/\w|wo" r"rk/\w)",
    "something that looks like a key": r"\b(sk|tgp|tok)[-_](?!canary)[A-Za-z0-9_-]{24,}",
}
DANGEROUS = {
    "eval or exec": r"(?<![\w.])(eval|exec)\(",
    "pickle or its relatives": r"^\s*(import|from) (pickle|shelve|marshal|dill)\b",
    "a shell": r"shell\s*=\s*True|\bos\.(system|popen)\(",
    "TLS without a check": r"verify\s*=\s*False|ssl\s*=\s*False|CERT_NONE|_create_unverified_context",
    "yaml that runs code": r"yaml\.(unsafe_)?load\(",
}

TEXTS = dict(our_texts())


def findings(pattern, text):
    found = re.compile(pattern, re.MULTILINE)
    return [f"line {number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1) if found.search(line)]


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_holds(what):
    found = {name: lines for name, text in TEXTS.items() if (lines := findings(FOREIGN[what], text))}
    assert found == {}


@pytest.mark.parametrize("what", DANGEROUS)
def test_the_package_does_not_use(what):
    found = {
        name_of(path): lines
        for path in package_modules()
        if (lines := findings(DANGEROUS[what], path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_module_says_what_it_is_for():
    texts = {name_of(path): path.read_text(encoding="utf-8").lstrip() for path in package_modules()}
    assert [name for name, text in texts.items() if text and not text.startswith(('"""', "#"))] == []


@pytest.mark.parametrize("name", ["requirements/run.txt", "requirements/build.txt", "requirements/dev.txt"])
def test_a_lock_file_holds_pins_and_hashes_only(name):
    assert [
        line
        for line in TEXTS[name].splitlines()
        if line and not re.fullmatch(r"[a-z0-9._-]+==[\w.!+]+( ; .+)? \\| +--hash=sha256:[0-9a-f]{64}( \\)?", line)
    ] == []
