"""Rules of the house that a parser can check: imports, private members, long lists of arguments."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python/jadce_fast"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
NATIVE = {path.stem for path in PACKAGE.glob("*.pyi")}
GUESTS = sorted(
    path for folder in ("benchmarks", "scripts", "tests", "examples") for path in (ROOT / folder).rglob("*.py")
)
MOST = 6  # positional parameters of a function, and positional arguments of a call


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path):
    return str(path.relative_to(ROOT))


def places(path, nodes):
    return [f"{named(path)}:{node.lineno}: {text}" for node, text in nodes]


def imported(module, path):
    """Modules of the package that one imports by name, anywhere in it; "" is the package itself."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name.removeprefix("jadce_fast.") for name in node.names if "jadce_fast." in name.name)
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [part for part in package if part][: len(package) - node.level + 1]
        elif (node.module or "").split(".")[0] == "jadce_fast":
            base = []
        else:
            continue
        tail = (node.module or "").split(".")
        base += [part for part in (tail if node.level else tail[1:]) if part]
        for name in node.names:
            inner = ".".join([*base, name.name])
            yield inner if inner in MODULES or inner in NATIVE else ".".join(base)


def test_imports_form_no_circle():
    """Imports inside functions and under TYPE_CHECKING count: whoever reads one module has to read the other."""
    targets = {module: set(imported(module, path)) - {module} for module, path in MODULES.items()}
    assert sum(map(len, targets.values())) > len(MODULES)
    TopologicalSorter(targets).prepare()  # raises CycleError, which shows the circle


def floors(head):
    """Rooms of a table of CONTRIBUTING.md, from the ground up."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"| `{head}` |")[1].split("\n\n")[0]
    cells = "".join(line.split("|")[1] for line in table.split("\n")[2:])
    return {room: floor for floor, room in enumerate(re.findall(r"`(\w+)/?`", cells))}


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_go_down(module):
    rooms, own = floors("python/jadce_fast/"), module.split(".")[0]
    others = {target.split(".")[0] for target in imported(module, MODULES[module])} - {"", own}
    assert [room for room in others if rooms[room] > rooms[own]] == []


OF_NAMED_TUPLES = ("_asdict", "_fields", "_make", "_replace")  # public, by Python's documentation


def private(name):
    return name.startswith("_") and not name.startswith("__") and name.strip("_") and name not in OF_NAMED_TUPLES


def owned(path):
    """Private names that a module defines: functions, classes, variables, attributes of its objects."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.attr if isinstance(node, ast.Attribute) else node.id


OWNED = {path: {name for name in owned(path) if private(name)} for path in MODULES.values()}


def guests_of(path):
    """Names that a file gives to what it imports from the package."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module):
            inside = isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "jadce_fast"
            yield from (x.asname or x.name for x in node.names if inside or x.name.split(".")[0] == "jadce_fast")


def taken(path, foreign):
    """Uses of private names of other modules, even of those that are there no more."""
    imports = set(guests_of(path))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = ast.unparse(node.value)
            if owner in imports or (node.attr in foreign and owner not in ("self", "cls")):
                yield node, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("jadce_fast")):
            yield from ((node, f"import {name.name}") for name in node.names if name.name in foreign)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("getattr", "setattr", "delattr"):
            words = [
                a.value.split(".")[-1] for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
            yield from ((node, ast.unparse(node)) for word in words if word in foreign)


@pytest.mark.parametrize("path", [*GUESTS, *MODULES.values()], ids=named)
def test_private_members_stay_in_their_module(path):
    foreign = set().union(*OWNED.values()) - OWNED.get(path, set())
    assert places(path, taken(path, foreign)) == []


def positional(function):
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("path", MODULES.values(), ids=named)
def test_functions_have_few_positional_parameters(path):
    """Mathematics in the paper's symbols, as of `reference`, is read beside the paper and keeps its order."""
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [(node, f"{node.name} has {positional(node)}") for node in functions if positional(node) > MOST]
    assert places(path, long if path.parent.name != "reference" else []) == []


@pytest.mark.parametrize("path", [*GUESTS, *MODULES.values()], ids=named)
def test_calls_name_their_arguments(path):
    """A literal unpacked into a call hides which argument is which, and so does a long row of arguments."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    bad = [
        (a, ast.unparse(a))
        for c in calls
        for a in c.args
        if isinstance(a, ast.Starred) and isinstance(a.value, ast.Tuple)
    ]
    if not {"reference", "tests"} & set(path.relative_to(ROOT).parts):
        bad += [
            (call, f"{ast.unparse(call.func)} is given {len(call.args)}") for call in calls if len(call.args) > MOST
        ]
    assert places(path, bad) == []


SOURCES = sorted(path for path in (ROOT / "csrc").rglob("*.*") if path.suffix in (".hpp", ".cpp", ".cu", ".h"))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_includes_go_down(path):
    rooms, own = floors("csrc/"), path.relative_to(ROOT / "csrc").parts[0]
    others = re.findall(r'^#include "(\w+)/', path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [room for room in others if room != own and rooms[room] > rooms[own]] == []


@cache
def included(path):
    """Headers of the standard library that a source includes, also by our headers."""
    lines = re.findall(r'^#include ([<"])([^>"]+)', path.read_text(encoding="utf-8"), re.MULTILINE)
    ours = [ROOT / "csrc" / name for kind, name in lines if kind == '"']
    return {name for kind, name in lines if kind == "<"}.union(*(included(x) for x in ours if x.exists()))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_types_come_with_their_headers(path):
    """The standard library of GCC 12 brings them along by chance, that of GCC 13 does not."""
    types = {r"std::u?int(8|16|32|64)_t": "cstdint", r"std::size_t": "cstddef"}
    needed = {header for name, header in types.items() if re.search(name, path.read_text(encoding="utf-8"))}
    assert needed <= included(path)
