"""What is declared of the native modules is what they have."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import jadce_fast
from jadce_fast import _core
from jadce_fast.cuda.native import Native


def documented(function):
    """Parameters of a pybind11 function by its signature, and which may be left out."""
    text = function.__doc__.split("\n")[0]
    found = re.findall(r"[(,] ?(\w+): (?:[^,=]|, (?!\w+:|\*))*?( = .*?)?(?=, \w+:|, \*|\) ->)", text)
    return {name: bool(default) for name, default in found if name != "self"}


def declared(arguments):
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    last = [None] * (len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults))
    defaults = [*last, *arguments.defaults, *arguments.kw_defaults]
    return {a.arg: d is not None for a, d in zip(names, defaults, strict=True) if a.arg != "self"}


def definitions(path):
    """Functions and methods of a stub, ("", name) or (class, name)."""
    for node in ast.parse(Path(path).read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for f in inside:
            if isinstance(f, ast.FunctionDef) and not f.decorator_list:
                yield node.name if f is not node else "", f


def check(path, find):
    for owner, f in definitions(path):
        found = find(owner, f.name)
        if f.args.kwarg is None:
            assert documented(found.__init__ if isinstance(found, type) else found) == declared(f.args), f.name


def test_stub_of_the_cpu_module():
    stub = Path(jadce_fast.__file__).with_name("_core.pyi")
    check(stub, lambda owner, name: getattr(getattr(_core, owner) if owner else _core, name))


@pytest.mark.parametrize("module", ["_emulated", "_cuda"])
def test_protocol_of_the_cuda_modules(module):
    native = pytest.importorskip(f"jadce_fast.{module}", exc_type=ImportError)
    check(
        inspect.getsourcefile(Native),
        lambda owner, name: getattr(native if owner == "Native" else getattr(native, owner), name),
    )
    emulators = ("check_", "set_reversed", "graph_of")
    public = {name for name in dir(native) if not name.startswith(("_", *emulators))}
    methods = {name for name in dir(Native) if not name.startswith(("_", "check_"))}
    assert public == methods | set(Native.__annotations__)
