"""Every test says in one sentence what it holds the code to, and every public name what it is (STYLE §5)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MODULES = sorted(file for package in ("ledger", "projections", "cli") for file in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_test_has_a_docstring(file):
    """A sentence, so it ends like one."""
    tests = [
        node
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    told = {f"{test.name}:{test.lineno}": (ast.get_docstring(test) or "").split("\n\n")[0].rstrip() for test in tests}

    assert {name: text for name, text in told.items() if text[-1:] not in tuple(".:?!")} == {}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(file):
    """Modules, classes and functions of the packages; an empty __init__.py has nothing to say."""
    tree = ast.parse(file.read_bytes())

    assert [name for name, node in _public(tree, file.stem) if not ast.get_docstring(node)] == []


def _public(tree, name):
    if tree.body:
        yield name, tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from _public(node, node.name) if isinstance(node, ast.ClassDef) else [(node.name, node)]
