"""What is declared of the native modules is what they have."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import jadce_fast
from jadce_fast import _core
from jadce_fast.cuda.native import Native

CSRC = Path(__file__).parents[1] / "csrc"
HEADERS = sorted([*CSRC.glob("kernels/**/*.hpp"), *CSRC.glob("receiver/*_cuda.hpp")])


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


def members(struct, text):
    """Names of a struct's members in a header."""
    body = re.search(rf"struct {struct} (?:: \w+ )?{{\n(.*?)\n}};", text, re.DOTALL).group(1)
    statements = re.sub(r"//[^\n]*", "", body).split(";")
    return {name for x in statements for name in re.findall(r"(\w+)(?: = [^,]+)?(?=,|$)", x.strip())}


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
    structs = {name for name in public if isinstance(getattr(native, name), type)}
    launchers = {name for name in native.fields if not name.startswith("check_")}
    assert public == methods | set(Native.__annotations__) | structs | launchers


@pytest.mark.skipif(not HEADERS, reason="needs the sources")
@pytest.mark.parametrize("module", ["_emulated", "_cuda"])
def test_launchers_take_every_field_of_their_structs(module):
    """A field that the bindings forgot would be zero, and no caller would know."""
    native = pytest.importorskip(f"jadce_fast.{module}", exc_type=ImportError)
    text = "\n".join(header.read_text() for header in HEADERS)
    launchers = dict(re.findall(r"void (\w+)\(const (\w+)&, void\* stream\);", text))
    assert {name for name in native.fields if not name.startswith("check_")} == set(launchers)
    for name, struct in launchers.items():
        assert set(native.fields[name]) == members(struct, text), name
        assert set(documented(getattr(native, name))) == {*native.fields[name], "stream"}, name
    structs = {name for name in dir(native) if isinstance(getattr(native, name), type)} - {"Graph", "Rules"}
    # Those with functions are left out, and one that takes all addresses of its members at once.
    for name in structs - {"ActivityView", "DetectionShape", "DetectionMemory"}:
        assert set(documented(getattr(native, name).__init__)) == members(name, text), name
