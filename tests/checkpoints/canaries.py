"""Pickles that do something when they are loaded: here they would make a file."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
from pathlib import Path

from .writer import Call, Checkpoint, Global


class Reduced:
    """Pickles itself as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.args


def canaries(target: Path) -> dict[str, bytes]:
    """Pickles by name; loading any of them makes `target`."""
    command = f"touch {target}"
    code = f"open({str(target)!r}, 'w').close()"
    objects = {
        "os.system": Reduced(os.system, command),
        "eval": Reduced(eval, code),
        "exec": Reduced(exec, code),
        "open": Reduced(open, str(target), "w"),
        "subprocess": Reduced(subprocess.call, ["touch", str(target)]),
        "import": Reduced(builtins.__import__, "os"),
        "getattr": Reduced(getattr, Reduced(builtins.__import__, "os"), "system"),
    }
    found = {
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol)
        for name, value in objects.items()
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    }
    emit = Checkpoint().emit
    text = emit(command)
    call = Call(Global("os.system"), (command,))
    more = {
        "inst": b"(" + text + b"ios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + text + b"o.",
        "new object": b"\x80\x02" + emit(Call(Global("os.system"), (command,), new=True)) + b".",
        "in a checkpoint": b"\x80\x02" + emit({"model": {}, "optimizer": call}) + b".",
        "as a key": b"\x80\x02}" + emit(call) + emit(1) + b"s.",
        "as a state": b"\x80\x02" + emit(Call(Global("torch.nn.Module"), (), True, call)) + b".",
        "dotted name": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "dropped": b"\x80\x02" + emit(call) + b"0}.",
        "python 2": b"c__builtin__\neval\n" + emit((code,)) + b"R.",
        "runpy": b"crunpy\n_run_code\n" + emit((code, {})) + b"R.",
        "shutil": b"cshutil\ncopy\n" + emit(("/dev/null", str(target))) + b"R.",
        "nt": b"cnt\nsystem\n" + emit((command,)) + b"R.",
        "pip": b"cpickle\nloads\n" + emit((command,)) + b"R.",
    }  # fmt: skip
    return found | more
