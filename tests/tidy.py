"""The house rules that a machine can measure: sizes of modules, functions and rooms, module heads,
names, that something names what there is, and what kinds of files there are.

    python tests/tidy.py        prints what breaks a rule; part of `make check`, and a test (tests/test_tidy.py)

A thought cut in two to fit a limit is worse than a long module: such a file is named in RAISED with one line of reason,
at most five in the tree. Layers are import-linter's work and layout is ruff's.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40  # the docstring is not counted
ROOM_FILES_MAX = 12  # __init__.py is not counted
RAISED_MAX = 5
FORBIDDEN_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
GENERATED = {"tables"}
KINDS = {
    "", ".py", ".typed", ".md", ".toml", ".lock", ".sh", ".sql", ".csv", ".html", ".css", ".js", ".svg", ".png", ".ttf",
}  # fmt: skip

# path or room -> (limit, reason)
RAISED: dict[str, tuple[int, str]] = {}


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not GENERATED & set(path.parts):
                yield path


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def limit_of(name: str, usual: int) -> int:
    return RAISED[name][0] if name in RAISED else usual


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, past expressions: no function is defined in one, and they are most of a tree."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.expr):
            yield node
            yield from statements(node)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, decorators and docstring left out."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def module_findings(name: str, text: str, tree: ast.Module) -> Iterator[str]:
    lines = text.count("\n")
    if lines > limit_of(name, MODULE_LINES_MAX):
        yield f"{name}: {lines} lines, at most {limit_of(name, MODULE_LINES_MAX)}"
    if FORBIDDEN_WORDS & set(Path(name).stem.lower().split("_")):
        yield f"{name}: a name that says nothing; name what it holds"
    if tree.body and not ast.get_docstring(tree):
        yield f"{name}: no head saying what the module is"
    for node in statements(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > FUNCTION_LINES_MAX:
            yield f"{name}:{node.lineno}: {node.name}() has {body_lines(node)} lines, at most {FUNCTION_LINES_MAX}"


def room_findings() -> Iterator[str]:
    rooms: dict[Path, int] = {}
    for path in modules("src/sagittal"):
        if path.stem != "__init__":
            rooms[path.parent] = rooms.get(path.parent, 0) + 1
        if FORBIDDEN_WORDS & {path.parent.name}:
            yield f"{named(path.parent)}: a room needs a name that says what it holds"
    for room, count in rooms.items():
        if count > limit_of(named(room), ROOM_FILES_MAX):
            yield f"{named(room)}: {count} files, at most {limit_of(named(room), ROOM_FILES_MAX)}"


def definitions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Functions, classes and values of a module and fields of its classes, with their lines.

    What is decorated is registered somewhere, a method may be another class's, and the language calls `__enter__`.
    """
    bodies = [(tree.body, False)]
    bodies += [(node.body, bool(node.bases)) for node in tree.body if isinstance(node, ast.ClassDef)]
    for body, derived in bodies:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if not (derived or node.decorator_list or node.name.startswith("__")):
                    yield node.name, node.lineno
            elif isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Assign) and not derived):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                yield from ((name, node.lineno) for name in names if not name.startswith("__"))


def strays() -> Iterator[str]:
    """No object, index or package that a trial left in the folder is committed."""
    held = subprocess.run(("git", "ls-files"), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    yield from (f"{name}: of no kind that is kept here" for name in held.split("\n") if Path(name).suffix not in KINDS)


def findings() -> list[str]:
    """Every broken rule, one line each."""
    found: list[str] = []
    times: Counter[str] = Counter()
    defined: list[tuple[str, str, int]] = []
    for path in modules("src", "tests", "bench", "tools"):
        text, module = path.read_text(), named(path)
        tree = ast.parse(text)
        found += module_findings(module, text, tree)
        times.update(re.findall(r"\w+", text))
        if module.startswith("src/"):
            defined += [(module, *each) for each in definitions(tree)]
    found += [f"{module}:{line}: nobody names {name}" for module, name, line in defined if times[name] == 1]
    found += [*room_findings(), *strays()]
    if len(RAISED) > RAISED_MAX:
        found.append(f"tests/tidy.py: {len(RAISED)} raised limits, at most {RAISED_MAX}")
    found += [f"tests/tidy.py: {name} is raised but not there" for name in RAISED if not (ROOT / name).exists()]
    return found


if __name__ == "__main__":
    broken = findings()
    print("\n".join(broken) or "tidy")
    raise SystemExit(bool(broken))
