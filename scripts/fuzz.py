"""Coverage-guided fuzzing of what reads files of others: nothing but the documented errors may come of any bytes.

    python scripts/fuzz.py npz --cases 1000000

Readers: npz, mat (version 5), hdf5, prior, campaign. A case that ends in another error, a hang or over 1 GB is
written to FOLDER/crash-*, and the exit status is not zero; what was learned stays in FOLDER, from which the next run
goes on. Needs atheris: pip install -e ".[fuzz]".
"""

from __future__ import annotations

import argparse
import contextlib
import io
import mmap
import os
import resource
import signal
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import atheris

FOLLOWED = "hdf5" not in sys.argv[1:]  # there is no coverage of a C library to follow, and reading is slower

with (
    atheris.instrument_imports(include=["jadce_fast", "zipfile", "numpy.lib"]) if FOLLOWED else contextlib.nullcontext()
):
    import h5py
    import numpy as np
    import torch

    import jadce_fast as jf
    from jadce_fast._hdf5 import read_datasets
    from jadce_fast.campaigns.store import Store
    from jadce_fast.capture import load_capture, save_capture
    from jadce_fast.priors.beam_network import BeamNetwork
    from jadce_fast.priors.files import load_any, save_prior

_GIGABYTE = 1 << 30
_NAMES = ("y", "pilots", "pilot_rows", "devices", "noise_var")


def capture(pilots: jf.Pilots) -> jf.Capture:
    """A small capture."""
    return jf.Capture(np.full((2, 3, 2), 1 + 1j), pilots, 0.5, 0.1, [1], np.ones((1, 3, 2)))


def seeds(reader: str, folder: Path) -> None:
    """Write valid files for the fuzzer to begin with."""
    suffix = {"npz": ".npz", "mat": ".mat", "hdf5": ".h5"}.get(reader)
    if suffix is not None:
        for name, pilots in (
            ("rows", jf.dft_pilots(4, 2, 3)),
            ("any", jf.Pilots(np.ones((2, 3, 4)) * np.exp(1j * np.arange(4)))),
        ):
            save_capture(folder / f"{name}{suffix}", capture(pilots))
    if reader == "mat":
        from scipy.io import savemat

        savemat(folder / "plain.mat", {"y": np.ones((2, 3, 2)), "devices": 4.0}, do_compression=False)
    if reader == "hdf5":
        with h5py.File(folder / "packed.h5", "w") as file:
            file.create_dataset("y", data=np.ones((4, 3, 2)), compression="gzip", shuffle=True)
            file.attrs["MATLAB_empty"] = 1
    if reader == "prior":
        save_prior(folder / "tiny.safetensors", small_prior())
    if reader == "campaign":
        store = Store(folder / "store.json", "kind", {"devices": 3})
        store.add(store.lists({"name": "x"}), {"error": [1.0, 2.0]})
        store.save()


def small_prior() -> jf.BeamPrior:
    """A prior of few weights."""
    shape = {"width": 4, "hidden": 4, "blocks": 1, "taps": 3}
    network = BeamNetwork(torch.tensor([2.0, 1.0]), 3, **shape)
    return jf.BeamPrior(network, np.eye(3, 2, dtype=np.complex64), np.ones(1), np.ones(1), {})


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, or a piece of the file copied over another."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        place, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
        if rng.random() < 0.2:
            source = int(rng.integers(len(data)))
            data[place : place + length] = data[source : source + length]
        else:
            data[place] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
    return bytes(data)


def fuzz_hdf5(folder: Path, path: Path, cases: int) -> int:
    """Read damaged HDF5 files as the reader's child does: to end by a signal is what it has a process for.

    The library is not instrumented, so that there is no coverage to follow; changes are random. One child reads files
    until it dies, and another goes on behind the file that it died of. Returns how many files did harm.
    """
    files = [file.read_bytes() for file in sorted(folder.glob("*.h5"))]
    done = mmap.mmap(-1, 8)  # cases that children have finished
    died = harm = 0
    while (first := int.from_bytes(done[:8], "little")) < cases:
        if (child := os.fork()) == 0:
            for i in range(first, cases):
                rng = np.random.default_rng(i)
                path.write_bytes(damaged(files[i % len(files)], rng))
                with contextlib.suppress(ValueError):
                    read_datasets(str(path), _NAMES)
                done[:8] = (i + 1).to_bytes(8, "little")
                if (i + 1) % 10_000 == 0:
                    print(f"hdf5: {i + 1} cases, {died} ended their reader by a signal", flush=True)
            os._exit(0)
        reached, since = first, time.monotonic()
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            time.sleep(0.001)
            if (now := int.from_bytes(done[:8], "little")) > reached:
                reached, since = now, time.monotonic()
            elif time.monotonic() - since > 60:
                os.kill(child, signal.SIGKILL)
        if ended[1]:
            reached = int.from_bytes(done[:8], "little")
            done[:8] = (reached + 1).to_bytes(8, "little")
            if os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) != signal.SIGKILL:
                died += 1
                continue
            harm += 1  # another error, or no end
            (folder / f"crash-{reached}").write_bytes(path.read_bytes())
    print(f"hdf5: {cases} cases, {died} ended their reader by a signal, {harm} did harm")
    return harm


def allowed(reader: str, path: Path) -> None:
    """Read the file; documented errors are fine."""
    with contextlib.suppress(ValueError):
        if reader == "prior":
            load_any(path)
        elif reader == "campaign":
            Store(path, "kind", {"devices": 3})
        else:
            found = load_capture(path)
            assert np.isfinite(found.y).all()


def mutate(reader: str, data: bytes, size: int, seed: int) -> bytes:
    """Change what is inside an archive or behind compression, or the bytes themselves."""
    inside = seed % 4 > 0
    with contextlib.suppress(Exception):
        if reader == "npz" and inside:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            name = sorted(members)[seed // 4 % len(members)]
            members[name] = atheris.Mutate(members[name], max(len(members[name]) + 16, 64))
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
            return buffer.getvalue()
        if reader == "mat" and inside:
            parts, place = [], 128
            while place < len(data):
                kind, length = (int(v) for v in np.frombuffer(data[place : place + 8], "<u4"))
                parts.append((kind, data[place + 8 : place + 8 + length]))
                place += 8 + length
            i = seed // 4 % len(parts)
            kind, content = parts[i]
            plain = zlib.decompress(content) if kind == 15 else content
            plain = atheris.Mutate(plain, len(plain) + 64)
            parts[i] = kind, zlib.compress(plain) if kind == 15 else plain
            return data[:128] + b"".join(np.array([k, len(c)], "<u4").tobytes() + c for k, c in parts)
    return bytes(atheris.Mutate(data, size))


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=["npz", "mat", "hdf5", "prior", "campaign"])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="default: out/fuzz/READER")
    options = parser.parse_args()
    reader, folder = options.reader, options.folder or Path("out/fuzz") / options.reader
    folder.mkdir(parents=True, exist_ok=True)
    seeds(reader, folder)
    suffix = {"npz": ".npz", "mat": ".mat", "hdf5": ".h5", "prior": ".safetensors", "campaign": ".json"}[reader]
    path = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / f"case{suffix}"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _GIGABYTE, used + _GIGABYTE))

    if reader == "hdf5":
        sys.exit(min(fuzz_hdf5(folder, path, options.cases), 1))

    def one(data: bytes) -> None:
        path.write_bytes(data)
        allowed(reader, path)

    flags = [f"-runs={options.cases}", "-timeout=30", "-rss_limit_mb=0", "-max_len=65536", "-print_final_stats=1"]
    flags += [f"-artifact_prefix={folder}/", "-verbosity=1"]
    atheris.Setup(
        [sys.argv[0], *flags, str(folder)],
        one,
        custom_mutator=lambda data, size, seed: mutate(reader, data, size, seed),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
