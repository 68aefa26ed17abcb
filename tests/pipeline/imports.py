"""Which files of the package a stage's script uses, by following imports through the syntax tree."""

import ast
from pathlib import Path


def imported_files(script: Path, source: Path) -> set[str]:
    """Files below `source` that `script` imports, directly or through others, relative to the project's root.

    Packages' own `__init__.py` files hold nothing but a docstring, and are left out.
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in _imports(waiting.pop()):
            file = source / f"{module.replace('.', '/')}.py"
            if file.is_file() and file not in found:
                found.add(file)
                waiting.append(file)
    return {file.relative_to(source.parent).as_posix() for file in found}


def _imports(script: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
