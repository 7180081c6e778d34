"""Reads a checkpoint's pickle without running it.

A pickle is a program for a small stack machine, and unpickling runs it: it may import and call anything. Here its
opcodes are taken one by one (`pickletools.genops`, which only lists them) by a machine that knows nothing to import
or call: it rebuilds plain containers and descriptions of tensors, and makes an `Inert` of everything else. Names of
Python's standard library that aren't plain data (`os.system`, `builtins.eval`) have no place in a model: refused.
"""

from __future__ import annotations

import pickletools
import sys
import warnings
from collections.abc import Callable

from ..errors import ModelError
from .values import REBUILDERS, DamagedError, Inert, Name, Storage, hashable, is_size, pairs

MAX_BYTES = 16 << 20
MAX_OPERATIONS = 2_000_000

# What a checkpoint may name of the standard library; Python 2 calls two of the modules otherwise.
_BUILTIN = "set frozenset list tuple dict int float str bytes bytearray bool complex object slice range unicode long"
_PATHS = "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath"
_PLAIN = {
    "builtins": _BUILTIN,
    "__builtin__": _BUILTIN,
    "collections": "OrderedDict defaultdict Counter deque",
    "copyreg": "_reconstructor",
    "copy_reg": "_reconstructor",
    "_codecs": "encode",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "datetime": "datetime date time timedelta timezone",
}
_STANDARD_LIBRARY = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands", "cPickle"}


def read_pickle(data: bytes, origin: str) -> object:
    """The value that a pickle describes: plain values, containers, `Tensor`, `Storage`, `Name` and `Inert`.

    Args:
        data: the pickle, any protocol.
        origin: the file's name, for messages.

    Raises:
        ModelError: too large, damaged, or with a name that has no place in a model.
    """
    if len(data) > MAX_BYTES:
        raise ModelError(f"{origin}: its pickle has {len(data):,} bytes, expected at most {MAX_BYTES:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a backslash in a name, which pickletools decodes
            return _Machine(origin).run(data)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{origin}: its pickle is damaged ({' '.join(str(error).split())[:100]})") from None


class _Machine:
    """The stack machine of the pickle format; Python's `pickletools` describes each opcode."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.stack: list[object] = []
        self.marked: list[list[object]] = []  # the stacks below each mark
        self.memo: dict[object, object] = {}
        self.spent = 0

    def run(self, data: bytes) -> object:
        for opcode, arg, _ in pickletools.genops(data):
            self.spend(1)
            if opcode.name in _CONSTANTS:
                self.push(_CONSTANTS[opcode.name])
            elif opcode.name in _VALUES:
                self.push(arg)
            elif opcode.name in _OPERATIONS:
                _OPERATIONS[opcode.name](self, arg)
            elif opcode.name == "STOP":
                break
            else:
                raise ModelError(f"{self.origin}: its pickle uses {opcode.name}, which no checkpoint needs")
        return self.stack.pop()

    def spend(self, operations: int) -> None:
        self.spent += operations
        if self.spent > MAX_OPERATIONS:
            raise ModelError(f"{self.origin}: its pickle has more than {MAX_OPERATIONS:,} operations")

    # --- stack, marks, memo

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise DamagedError("an operation without its operands")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def mark(self, arg: object) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[object]:
        if not self.marked:
            raise DamagedError("a mark is missing")
        taken, self.stack = self.stack, self.marked.pop()
        return taken

    def drop(self, arg: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def put(self, arg: object) -> None:
        self.memo[arg] = self.stack[-1]

    def get(self, arg: object) -> None:
        if arg not in self.memo:
            raise DamagedError(f"nothing is stored under {arg}")
        self.push(self.memo[arg])

    # --- containers

    def append(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target += values
        elif not isinstance(target, Inert):
            raise DamagedError(f"appends to a {type(target).__name__}")

    def set_items(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target |= pairs(values)
        elif not isinstance(target, Inert):
            raise DamagedError(f"sets items of a {type(target).__name__}")

    def add_items(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target |= set(map(hashable, values))
        elif not isinstance(target, Inert):
            raise DamagedError(f"adds to a {type(target).__name__}")

    # --- names and what would be calls

    def name(self, module: object, name: object) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("a name that is not text")
        found = Name(module[:200], name[:200])
        foreign = module.partition(".")[0] not in _STANDARD_LIBRARY
        if not foreign and name not in _PLAIN.get(module, "").split():
            raise ModelError(
                f"{self.origin}: its pickle names {found}, which has no place in a model (nothing of it was run); "
                "don't use this file elsewhere either"
            )
        return found

    def global_(self, arg: object) -> None:
        self.push(self.name(*str(arg).split(" ", 1)))

    def stack_global(self, arg: object) -> None:
        self.push(self.name(*self.pop(2)))

    def reduce(self, arg: object) -> None:
        self.call(*self.pop(2))

    def call(self, function: object, args: object) -> None:
        if not isinstance(function, Name):
            raise ModelError(f"{self.origin}: its pickle calls a {type(function).__name__}, expected a class by name")
        first = args[0] if isinstance(args, tuple) and args else None
        self.spend(len(first) if isinstance(first, (list, tuple)) else 0)  # what a rebuilder copies
        known = REBUILDERS.get(str(function))
        self.push(Inert(function, args) if known is None else known(function, args))

    def build(self, arg: object) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.state = state

    def inst(self, arg: object) -> None:
        function = self.name(*str(arg).split(" ", 1))
        self.call(function, tuple(self.pop_mark()))

    def obj(self, arg: object) -> None:
        function, *args = self.pop_mark()
        self.call(function, tuple(args))

    def new_with_keywords(self, arg: object) -> None:
        function, args, _ = self.pop(3)
        self.call(function, args)

    def persistent(self, arg: object) -> None:
        """torch's `("storage", type, key, device, count)`."""
        (value,) = self.pop(1)
        if not isinstance(value, tuple) or len(value) != 5 or value[0] != "storage":
            raise DamagedError("a reference that is not to a storage")
        _, kind, key, _, count = value
        if not isinstance(kind, Name) or not isinstance(key, str) or not is_size(count):
            raise DamagedError("a storage that is not described by type, key and number of values")
        self.push(Storage(key, kind.name, count))


# --- opcodes

_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_VALUES = _NUMBERS | _TEXTS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}


def _ignored(machine: _Machine, arg: object) -> None:
    """`PROTO` and `FRAME` say how the pickle is laid out."""


_OPERATIONS: dict[str, Callable[[_Machine, object], None]] = {
    "PROTO": _ignored,
    "FRAME": _ignored,
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": lambda machine, arg: machine.pop_mark().clear(),
    "DUP": lambda machine, arg: machine.push(machine.stack[-1]),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, arg: machine.put(len(machine.memo)),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_LIST": lambda machine, arg: machine.push([]),
    "EMPTY_DICT": lambda machine, arg: machine.push({}),
    "EMPTY_SET": lambda machine, arg: machine.push(set()),
    "LIST": lambda machine, arg: machine.push(machine.pop_mark()),
    "DICT": lambda machine, arg: machine.push(pairs(machine.pop_mark())),
    "TUPLE": lambda machine, arg: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, arg: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, arg: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, arg: machine.push(tuple(machine.pop(3))),
    "FROZENSET": lambda machine, arg: machine.push(set(map(hashable, machine.pop_mark()))),
    "APPEND": lambda machine, arg: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, arg: machine.append(machine.pop_mark()),
    "SETITEM": lambda machine, arg: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, arg: machine.set_items(machine.pop_mark()),
    "ADDITEMS": lambda machine, arg: machine.add_items(machine.pop_mark()),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "INST": _Machine.inst,
    "OBJ": _Machine.obj,
    "BINPERSID": _Machine.persistent,
}
