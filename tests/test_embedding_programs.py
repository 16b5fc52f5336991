"""Programs that are built against an installed libjadce: the examples, and what only a compiled program can ask."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import libjadce
import numpy as np
import pytest
from libjadce import WEIGHTS
from problems import problem

import jadce_fast as jf

ROOT = Path(__file__).parents[1]
CAPTURE = ROOT / "tests/data/sionna_cdl_c_dft.npz"
TINY = str(WEIGHTS / "cdl-tiny.safetensors")
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
if not (libjadce.HOME / "lib" / "libjadce.so").exists():
    pytest.skip("the C library is not beside the module", allow_module_level=True)


def run(*command, timeout=20, **environment):
    """Standard output of a program, which has to succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PATH": PATH} | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name):
    found = shutil.which(name, path=PATH)
    return found or pytest.skip(f"needs {name}")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Folder of the programs, built against what `--cmake-dir` says."""
    folder = tmp_path_factory.mktemp("programs")
    where = run(sys.executable, "-m", "jadce_fast", "--cmake-dir").strip()
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PATH) else []
    tool("c++")
    run(tool("cmake"), "-S", ROOT / "tests/embedding", "-B", folder, f"-Djadce_DIR={where}", *generator, timeout=60)
    run(tool("cmake"), "--build", folder, "--parallel", "2", timeout=120)
    return folder / "bin"


@pytest.fixture(scope="module")
def counted(programs):
    """Lines of the program that counts allocations, by their first word."""
    return dict(line.split(maxsplit=1) for line in run(programs / "allocations", TINY).splitlines())


def test_a_thread_without_memory_is_a_status(counted):
    """What a thread of a pool throws reaches the caller, where it would have ended the program."""
    assert counted["scarce"] == "4 memory: there is not enough for this plan"


@pytest.mark.parametrize("name", ["rows", "learned", "pilots", "after", "gaussian"])
def test_detections_allocate_nothing(counted, name):
    planned, detected, iterations, found = map(int, counted[name].split())
    assert planned > 50  # it counts
    assert detected == 0
    assert iterations > 10
    assert found == 20


@pytest.mark.parametrize(
    ("files", "machine", "threads"),
    [
        ({}, 3, 3),
        ({}, 1500, 1024),  # more than a cpu_set_t has, and than a plan takes
        ({"cpu.max": "max 100000\n"}, 1100, 1024),
        ({"cpu.max": "250000 100000\n"}, 1100, 3),
        ({"cpu.max": "250000 100000\n"}, 2, 2),
        ({"cpu.max": "50000 100000\n"}, 4, 1),
        ({"cpu.max": "nonsense\n"}, 4, 4),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, 4),
    ],
)
def test_threads_are_what_the_container_grants(programs, files, machine, threads, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert int(run(programs / "processors", tmp_path, machine)) == threads


def test_the_wrapper_of_cpp17(programs):
    lines = run(programs / "wrapper", TINY).splitlines()
    assert lines == ["1 devices: expected 1 to 16777216, found 0", "1 17"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_example_prints_what_python_finds(programs, save, tmp_path):
    with np.load(CAPTURE) as file:
        save(tmp_path / "capture.npz", **file)
    block = jf.load_capture(CAPTURE)
    out = jf.Receiver(block.pilots, block.y.shape[2], TINY, block.activity_rate or 0.05).detect(
        block.y, block.noise_var
    )
    head, _, *lines = run(programs / "detect", tmp_path / "capture.npz", TINY).splitlines()
    assert head.startswith(f"# {len(out.active)} of {block.pilots.devices} devices active, {out.iterations} iterations")
    assert float(re.search(r"ratio (\S+)", head).group(1)) == pytest.approx(out.residual_ratio, rel=1e-8)
    found = np.array([line.split() for line in lines], np.float64)
    assert found[:, 0].tolist() == out.active.tolist()
    assert np.array_equal(found[:, 1].astype(np.float32), out.activity[out.active])
    assert np.array_equal(found[:, 3].astype(np.float32), out.channel_var)
    assert np.allclose(found[:, 2], (np.abs(out.channels) ** 2).mean((1, 2)), rtol=1e-5)


def complaint(programs, path):
    """What the example says of a capture that it refuses."""
    done = subprocess.run([programs / "detect", path, TINY], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    return done.stderr


def test_the_example_names_what_is_wrong(programs, tmp_path):
    (tmp_path / "no.npz").write_bytes(b"PK")
    np.savez(tmp_path / "empty.npz", x=np.zeros(3))
    for name, words in (("nowhere.npz", "no such file"), ("no.npz", "archive"), ("empty.npz", "the key y")):
        assert words in complaint(programs, tmp_path / name)


BLOCK = dict(y=np.zeros((10, 48, 4), "c8"), pilot_rows=np.zeros((10, 48), int), devices=61, noise_var=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(y=np.zeros((2, 10, 48, 4), "c8")), "y: expected one block (T, N, M), found (2, 10, 48, 4)"),
        (dict(y=np.zeros((10, 48), "c8")), "y: expected one block (T, N, M), found (10, 48)"),
        (dict(y=np.zeros((10, 40, 4), "c8")), "pilot_rows: expected (T, N) of y, (10, 40), found (10, 48)"),
        (dict(pilot_rows=np.zeros(480, int)), "pilot_rows: expected (T, N) of y, (10, 48), found (480,)"),
        (dict(pilot_rows=np.full((10, 48), 2**32)), "npz: expected whole numbers, found 4294967296"),
        (
            dict(pilots=np.zeros((48, 10, 61), "c8")),
            "pilots: expected (T, N, K) with (10, 48) of y, found (48, 10, 61)",
        ),
        (dict(pilots=np.zeros((10, 48), "c8")), "pilots: expected (T, N, K) with (10, 48) of y, found (10, 48)"),
        (dict(pilot_phases=np.ones((10, 48), "c8")), "pilot_phases: expected none, but scrambled pilots as pilots"),
        (dict(noise_var=np.ones(4)), "noise_var: expected one number, found (4,)"),
        (dict(devices=np.array([61, 61])), "devices: expected one number, found (2,)"),
    ],
)
def test_the_example_compares_shapes(programs, change, words, tmp_path):
    np.savez(tmp_path / "capture.npz", **(BLOCK | change))
    assert f": {words}" in complaint(programs, tmp_path / "capture.npz")


def test_the_example_finds_arrays_that_are_too_short(programs, tmp_path):
    np.savez(tmp_path / "capture.npz", **BLOCK)
    content = (tmp_path / "capture.npz").read_bytes().replace(b"(10, 48, 4)", b"(90, 48, 4)")
    (tmp_path / "capture.npz").write_bytes(content)
    assert "npz: expected an array of shape (90, 48, 4), found 1920 numbers" in complaint(
        programs, tmp_path / "capture.npz"
    )


def test_the_latency_harness_counts_every_block(programs):
    text = run(programs / "latency", CAPTURE, TINY, 3000, 20)
    assert "20 blocks" in text
    numbers = re.search(r"p50 (\d+) us, p99 (\d+) us, p99.9 (\d+) us, most (\d+) us, missed (\d+), dropped (\d+)", text)
    p50, p99, p999, most, missed, dropped = map(int, numbers.groups())
    assert 0 < p50 <= p99 <= p999 <= most
    assert missed <= 20
    assert dropped >= missed
    assert sum(int(count) for count in re.findall(r" us +(\d+)$", text, re.MULTILINE)) == 20


@pytest.fixture
def slot(tmp_path):
    """A problem, its samples [T, N, M, 2] and noise; grid, rows and configuration for the module in files."""
    p = problem(devices=150, symbols=10, subcarriers=48, antennas=4, active=6, delay_spread=0.02, seed=3)
    scale = 3000 / np.abs(p.y).max()
    samples = np.round(np.stack([p.y.real, p.y.imag], -1) * scale).astype(np.int16)
    grid = np.random.default_rng(0).integers(-9000, 9000, (4, 14, 64, 2), np.int16)
    # The grid's subcarriers wrap around, and more symbols surround the pilots.
    grid[:, 2:12, (40 + np.arange(48)) % 64] = samples.transpose(2, 0, 1, 3)
    grid.tofile(tmp_path / "grid")
    p.pilots.rows.astype(np.int32).tofile(tmp_path / "rows")
    keys = dict(devices=150, symbols=10, subcarriers=48, antennas=4, rows=tmp_path / "rows", prior=TINY)
    (tmp_path / "activity.txt").write_text("".join(f"{key} {value}\n" for key, value in keys.items()))
    return p, samples, float(np.float32(p.noise_var * scale**2))


def test_a_module_of_openairinterface(programs, slot, tmp_path):
    """Two workers of a host that loads it as a gNB does find what Python finds in the same 16-bit samples."""
    p, samples, noise = slot
    words = [programs, "_jadce", tmp_path / "grid", 4, 14, 64, 40, 2, noise]
    loaded, _, *lines = run(programs / "host", *words, JADCE_ACTIVITY=str(tmp_path / "activity.txt")).splitlines()
    assert loaded.endswith("libactivity_jadce.so successfully loaded, version 1")
    y = samples.astype(np.float32).view(np.complex64)[..., 0]
    out = jf.Receiver(p.pilots, 4, TINY).detect(np.ascontiguousarray(y), noise)
    assert len(out.active) == 6
    for worker, line in enumerate(lines):
        own, trusted, *pairs = line.split()
        assert (int(own), int(trusted)) == (worker, out.trusted)
        assert [int(k) for k in pairs[::2]] == out.active.tolist()
        assert np.array_equal(np.array(pairs[1::2], np.float32), out.activity[out.active])
    done = subprocess.run(
        [programs / "host", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, "JADCE_ACTIVITY": str(tmp_path / "nothing")},
    )
    assert done.returncode == 1
    assert "expected the name of a configuration" in done.stderr


def test_the_module_is_started_again(programs, slot, tmp_path):
    p, _, noise = slot
    environment = dict(JADCE_ACTIVITY=str(tmp_path / "activity.txt"))
    lines = run(programs / "restart", tmp_path / "grid", noise, **environment).splitlines()
    found = [line for line in lines if not line.startswith("[")]
    assert found == [" ".join(map(str, p.active)) + " "] * 70


@pytest.mark.parametrize(("compiler", "standard"), [("cc", "c11"), ("c++", "c++17"), ("c++", "c++20")])
def test_headers_compile_alone(compiler, standard, tmp_path):
    include = run(sys.executable, "-m", "jadce_fast", "--include-dir").strip()
    header = "jadce.h" if compiler == "cc" else "jadce.hpp"
    source = tmp_path / ("x.c" if compiler == "cc" else "x.cpp")
    source.write_text(f"#include <jadce/{header}>\nint main(void) {{ return jadce_version() == 0; }}\n")
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    run(tool(compiler), f"-std={standard}", *warnings, "-fsyntax-only", f"-I{include}", source)


def test_pkg_config(tmp_path):
    folder = run(sys.executable, "-m", "jadce_fast", "--library-dir").strip()
    environment = {"PKG_CONFIG_PATH": f"{folder}/pkgconfig"}
    flags = run(tool("pkg-config"), "--cflags", "--libs", "jadce", **environment).split()
    (tmp_path / "x.c").write_text(
        "#include <jadce/jadce.h>\n#include <stdio.h>\nint main(void) { puts(jadce_version()); }\n"
    )
    run(tool("cc"), tmp_path / "x.c", *flags, f"-Wl,-rpath,{folder}", "-o", tmp_path / "x")
    assert run(tmp_path / "x").strip() == jf.__version__
    assert run("pkg-config", "--modversion", "jadce", **environment).strip() == jf.__version__


def test_nothing_but_the_interface_is_exported():
    names = run(tool("nm"), "-D", "--defined-only", libjadce.HOME / "lib" / "libjadce.so").split()[2::3]
    header = (libjadce.HOME / "include" / "jadce" / "jadce.h").read_text()
    assert sorted(names) == sorted(re.findall(r"JADCE_API .*?(jadce_\w+)\(", header))
