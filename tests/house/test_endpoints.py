"""Adding an endpoint is one file and its line in the registry: nothing else in the house knows one by its name."""

import ast
import json
from pathlib import Path

import pytest

from batchrunner.endpoints.registry import ENDPOINTS
from tests.house.tree import ROOT, name_of, package_modules

ROOM = ROOT / "batchrunner" / "endpoints"
CASES = ROOT / "tests" / "endpoints" / "cases"
OF_ENDPOINTS = {type(endpoint).__module__ for endpoint in ENDPOINTS}
"""The modules that hold one endpoint each (or one at several paths)."""
OUTSIDE = [path for path in package_modules() if ROOM not in path.parents and "simulator" not in path.parts]


def imported(path: Path) -> set[str]:
    """The modules that a module names in its imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    froms = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return froms | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


def test_an_endpoint_is_a_file_of_its_own():
    assert all(name.startswith("batchrunner.endpoints.") for name in OF_ENDPOINTS)
    assert {"batchrunner.endpoints.chat", "batchrunner.endpoints.score"} <= OF_ENDPOINTS


def test_beyond_their_room_endpoints_are_known_by_the_registry_alone():
    found = {name_of(path): known for path in OUTSIDE if (known := imported(path) & OF_ENDPOINTS)}
    assert found == {}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_an_endpoint_describes_the_fields_of_its_golden_bodies(endpoint):
    bodies = [json.loads(path.read_bytes()) for path in (CASES / endpoint.name).glob("*/body.json")]
    assert bodies
    assert {field for body in bodies for field in body} - endpoint.rules.keys() == set()
