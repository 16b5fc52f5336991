"""The C library as ctypes sees it: structures of include/jadce/jadce.h, and calls that raise its errors."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from jadce_fast import _core
from jadce_fast.pilots import Pilots

HOME = Path(_core.__file__).parent  # of the library, beside the module
WEIGHTS = resources.files("jadce_fast.priors") / "weights"
FORMATS = {"complex64": 0, "int16": 1, "bfloat16": 2}
OK, ARGUMENT, FILE, UNSUPPORTED = range(4)
CUDA = 1  # a jadce_device


def fields(text):
    return [(name, kind) for names, kind in text for name in names.split()]


class Config(ctypes.Structure):
    _fields_ = fields(
        [
            ("devices subcarriers symbols antennas", c_int32),
            ("pilot_rows", c_void_p),
            ("pilot_power", c_double),
            ("pilots", c_void_p),
            ("prior", c_char_p),
            ("activity_rate power threshold", c_double),
            ("max_iterations capacity threads network device", c_int32),
        ]
    )


class Sizes(ctypes.Structure):
    _fields_ = fields(
        [("devices subcarriers symbols antennas most_active threads", c_int32), ("workspace on_device", c_int64)]
    )


class Block(ctypes.Structure):
    _fields_ = fields([("data", c_void_p), ("format", c_int32), ("scale", c_float), ("strides", c_int64 * 3)])


class Result(ctypes.Structure):
    _fields_ = fields(
        [
            ("activity active channels channel_var", c_void_p),
            ("found trusted converged iterations stopped overflow", c_int32),
            ("noise_var residual_ratio", c_double),
            ("least most", c_float),
        ]
    )


class DeviceResult(ctypes.Structure):
    _fields_ = fields([("activity active channels channel_var found trusted", c_void_p)])


def library(name: str = "jadce") -> ctypes.CDLL:
    lib = ctypes.CDLL(str(HOME / "lib" / f"lib{name}.so"))
    lib.jadce_create.argtypes = [POINTER(Config), POINTER(c_void_p)]
    lib.jadce_query.argtypes = [c_void_p, POINTER(Sizes)]
    lib.jadce_detect.argtypes = [c_void_p, POINTER(Block), c_double, POINTER(Result)]
    lib.jadce_enqueue.argtypes = [c_void_p, POINTER(Block), c_double, c_void_p]
    lib.jadce_wait.argtypes = [c_void_p, POINTER(Result)]
    lib.jadce_on_device.argtypes = [c_void_p, POINTER(DeviceResult)]
    lib.jadce_destroy.argtypes = [c_void_p]
    lib.jadce_destroy.restype = None
    lib.jadce_config_init.argtypes = [POINTER(Config)]
    lib.jadce_config_init.restype = None
    lib.jadce_error_string.argtypes = [c_int32]
    for name in ("jadce_version", "jadce_error_string", "jadce_last_error"):
        getattr(lib, name).restype = c_char_p
    return lib


class Error(Exception):
    """A status and the details."""

    def __init__(self, status: int, details: str) -> None:
        super().__init__(details)
        self.status = status


@dataclass
class Found:
    """A result, named as those of a Detection."""

    activity: np.ndarray
    active: np.ndarray
    channels: np.ndarray
    channel_var: np.ndarray
    result: Result


def pointer(array):
    return array.ctypes.data_as(c_void_p)


class Plan:
    """A plan of the library for pilots and options of jadce_config."""

    def __init__(self, pilots: Pilots, antennas: int, prior: str, /, lib: str = "jadce", **options: float) -> None:
        self.lib, self.handle = library(lib), c_void_p()
        config = Config()
        self.lib.jadce_config_init(byref(config))
        config.devices, config.subcarriers, config.symbols = pilots.devices, pilots.subcarriers, pilots.symbols
        config.antennas, config.prior = antennas, prior.encode()
        if pilots.rows is None:
            array = np.ascontiguousarray(pilots.select())
            config.pilots = pointer(array)
        else:
            array = np.ascontiguousarray(pilots.rows, np.int32)
            config.pilot_rows, config.pilot_power = pointer(array), pilots.power
        for name, value in options.items():
            setattr(config, name, value)
        self.check(self.lib.jadce_create(byref(config), byref(self.handle)))
        self.sizes = Sizes()
        self.check(self.lib.jadce_query(self.handle, byref(self.sizes)))

    def check(self, status: int) -> None:
        if status != OK:
            raise Error(status, self.lib.jadce_last_error().decode())

    def room(self) -> Found:
        """Memory for a result."""
        s = self.sizes
        found = Found(
            np.empty(s.devices, np.float32),
            np.empty(s.most_active, np.int32),
            np.empty((s.most_active, s.subcarriers, s.antennas), np.complex64),
            np.empty(s.most_active, np.float32),
            Result(),
        )
        for name in ("activity", "active", "channels", "channel_var"):
            setattr(found.result, name, pointer(getattr(found, name)))
        return found

    def cut(self, found: Found) -> Found:
        """The result without the places that it leaves."""
        for name in ("active", "channels", "channel_var"):
            setattr(found, name, getattr(found, name)[: found.result.found])
        return found

    def detect(self, data, noise_var, kind="complex64", scale=0.0, strides=(0, 0, 0)) -> Found:
        found, block = self.room(), Block(pointer(data), FORMATS[kind], scale, (c_int64 * 3)(*strides))
        self.check(self.lib.jadce_detect(self.handle, byref(block), noise_var, byref(found.result)))
        return self.cut(found)

    def enqueue(self, data, noise_var, stream=None, kind="complex64", strides=(0, 0, 0)) -> None:
        """Enqueue a block in the device's memory, which the emulator has in common with the host."""
        block = Block(pointer(data), FORMATS[kind], 0.0, (c_int64 * 3)(*strides))
        self.check(self.lib.jadce_enqueue(self.handle, byref(block), noise_var, stream))

    def wait(self) -> Found:
        found = self.room()
        self.check(self.lib.jadce_wait(self.handle, byref(found.result)))
        return self.cut(found)

    def on_device(self) -> DeviceResult:
        where = DeviceResult()
        self.check(self.lib.jadce_on_device(self.handle, byref(where)))
        return where

    def numbers(self, data, noise_var) -> Result:
        """The result of a block, without memory for arrays."""
        result, block = Result(), Block(pointer(data), FORMATS["complex64"], 0.0, (c_int64 * 3)())
        self.check(self.lib.jadce_detect(self.handle, byref(block), noise_var, byref(result)))
        return result

    def close(self) -> None:
        self.lib.jadce_destroy(self.handle)
        self.handle = c_void_p()


def planned(pilots: Pilots, prior: str) -> tuple[int, str]:
    """Status and details of planning."""
    try:
        Plan(pilots, 2, prior, threads=1).close()
    except Error as error:
        return error.status, str(error)
    return OK, ""
