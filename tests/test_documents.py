"""Documents: their Python runs, and the commands, options, files, names and links in them exist."""

import fnmatch
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

import jadce_fast as jf
from jadce_fast import cli
from jadce_fast.cuda.device import devices

ROOT = Path(__file__).parents[1]
GUIDES = [
    ROOT / "README.md",
    *ROOT.glob("CONTRIBUTING.md"),
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "tests/data/README.md",
]
CARDS = sorted(ROOT.glob("python/jadce_fast/priors/weights/*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NATIVE = {"_core", "_cuda", "_emulated"}  # modules of C++, as far as they are built
SOURCE = re.compile(r"[\w./*-]+\.(?:py|sh|[ch]pp|cu|h)\b")
FOLDERS = ("benchmarks", "cmake", "csrc", "docs", "examples", "include", "python", "scripts", "tests")
FILES = [str(path.relative_to(ROOT)) for folder in FOLDERS for path in [ROOT / folder, *(ROOT / folder).rglob("*")]]


def named(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


def spans(path):
    """Pieces of inline code, on one line each."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", read(path)))]


def commands(path):
    """Command lines of the shell blocks and of inline code, as lists of words without variables before them."""
    lines = [
        line.removeprefix("$ ") for kind, text in FENCE.findall(read(path)) if not kind for line in text.split("\n")
    ]
    for line in [*lines, *spans(path)]:
        words = [word for word in line.split("#")[0].split() if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words and words[0] in ("jadce", "python", "make", "bash", "torchrun"):
            yield words


def options(words):
    return [word.split("=")[0] for word in words if word.startswith("-")]


def check_jadce(words):
    command = typer.main.get_command(cli.app.app)
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        if words[0].isupper():  # a placeholder such as NAME
            return
        command = command.get_command(None, words.pop(0))
        assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(options(words)) <= known | {"--help"}


def check_python(words):
    if words[0] == "-m":
        assert find_spec(words[1])
        if words[1] == "jadce_fast.cli":
            check_jadce(words[2:])
        return
    if (ROOT / words[0]).suffix == ".py":
        source = read(ROOT / words[0])
        assert all(f'"{option}"' in source for option in options(words))


def check_torchrun(words):
    check_python(words[words.index("-m") :])


def check_bash(words):
    assert (ROOT / words[0]).is_file()


def check_make(words):
    assert words[0] in re.search(r"^\.PHONY:(.*)$", read(ROOT / "Makefile"), re.MULTILINE)[1].split()


COMMANDS = [pytest.param(words, id=f"{named(path)}: {' '.join(words)}") for path in GUIDES for words in commands(path)]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_exist_with_their_options(words):
    globals()[f"check_{words[0]}"](words[1:])


@pytest.mark.parametrize("path", [path for path in GUIDES if "```python" in read(path)], ids=named)
def test_python_blocks_run_in_order(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    text, names = read(path), {}
    for block in FENCE.finditer(text):
        if block[1] != "python":
            continue
        if "cuda" in block[2] and devices()[0] == 0:
            pytest.skip("needs a GPU")
        above = "\n" * text.count("\n", 0, block.start(2))
        exec(compile(above + block[2], str(path), "exec"), names)


@pytest.mark.parametrize("path", [*GUIDES, ROOT / "CHANGELOG.md", *CARDS], ids=named)
def test_local_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(path))):
        if target.startswith(("http://", "https://")):
            continue
        file, _, section = target.partition("#")
        other = path.parent / file if file else path
        assert other.exists(), target
        if section:
            heads = re.findall(r"^#+ (.*)$", FENCE.sub("", read(other)), re.MULTILINE)
            assert section in [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads], target


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_files_and_names_of_the_library_exist(path):
    for code in [*spans(path), *(text for kind, text in FENCE.findall(read(path)) if not kind)]:
        for name in SOURCE.findall(code) + re.findall(r"^([\w/]+)/$", code):
            file = re.sub(r"[A-Z]{2,}", "*", name)  # NAME and the like stand for any
            assert fnmatch.filter(FILES, file) or fnmatch.filter(FILES, f"*/{file}"), f"no file {name}"
        for name in re.findall(r"\b(?:jf|jadce_fast)\.([A-Za-z_]\w*)", code):
            assert name in NATIVE or hasattr(jf, name) or find_spec(f"jadce_fast.{name}"), f"no name {name}"


def test_every_document_is_linked():
    texts = "".join(read(path) for path in GUIDES)
    assert [
        path.name for path in ROOT.glob("docs/*.md") if f"{path.name})" not in texts and f"{path.name}#" not in texts
    ] == []


def test_mathematics_states_the_constants_of_the_loop():
    text, rules = read(ROOT / "docs/math.md"), jf.Rules()
    for phrase in (
        f"probability above {rules.threshold:g} ",
        f"below ${rules.idle:g}$, if there are more than {rules.enough_idle},",
        f"{rules.smallest_power:g}\\,\\bar v",
        f"10^{{-9}},\\;{rules.largest_alpha:g}",
        f"$c={rules.caution:g}$",
        f"third iteration, $\\gamma={rules.damping:g}$",
    ):
        assert phrase in text.replace("\n", " ")
    assert (rules.smallest_alpha, rules.smallest_variance, rules.damp_from) == pytest.approx((1e-9, 1e-3, 2))
