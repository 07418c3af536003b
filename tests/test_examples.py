"""The examples run."""

import ast
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

if not EXAMPLES.is_dir():
    pytest.skip("the source tree is not beside these tests", allow_module_level=True)


def libraries(path):
    """Return the first names of what a program imports, besides the standard library."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return sorted(names - sys.stdlib_module_names - {"fastmlp"})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(path, run_python, tmp_path, monkeypatch):
    for name in libraries(path):
        pytest.importorskip(name, reason=f"the example {path.stem} uses {name}")
    monkeypatch.chdir(tmp_path)
    program = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    assert run_python(program, path, timeout=60)
