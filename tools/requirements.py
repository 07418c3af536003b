"""Print what an extra of pyproject.toml asks for beyond the package's own extras, line by line."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for requirement in project["optional-dependencies"][sys.argv[1]]:
    if not requirement.startswith(f"{project['name']}["):
        print(requirement)
