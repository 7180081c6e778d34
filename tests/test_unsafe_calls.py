"""Fault 19: nothing in the package can run what a user hands over; read from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

SOURCES = sorted((ROOT / "src" / "yolov3").rglob("*.py"))
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
    "runpy",
    "code",
}
# Only the reader of checkpoints takes pickles apart, and only by listing their opcodes.
MODULES_IN_ONE_PLACE = {"pickletools": "checkpoints/unpickle.py"}
NAMES = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("yaml", name)
    for name in (
        "load",
        "load_all",
        "unsafe_load",
        "unsafe_load_all",
        "full_load",
        "full_load_all",
        "Loader",
        "UnsafeLoader",
    )
} | {
    ("os", "system"),
    ("os", "popen"),
    ("torch", "hub"),
    ("np", "loads"),
    ("pd", "read_pickle"),
    ("pandas", "read_pickle"),
}


def dotted(node: ast.AST) -> tuple[str, str] | None:
    """`module.name` of an attribute."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return None


def unsafe(tree: ast.AST, path: str) -> Iterator[str]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        else:
            modules = []
        for module in modules:
            root = module.partition(".")[0]
            if root in MODULES or not path.endswith(MODULES_IN_ONE_PLACE.get(root, "")):
                yield f"{path}:{line}: imports {module}"
        if isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
            yield f"{path}:{line}: {node.id}"
        if dotted(node) in METHODS:
            yield f"{path}:{line}: {'.'.join(dotted(node) or ())}"
        if isinstance(node, ast.Call):
            yield from unsafe_call(node, path)


def unsafe_call(node: ast.Call, path: str) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    name = dotted(node.func)
    shell = given.get("shell")
    if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
        yield f"{path}:{node.lineno}: shell="
    if name == ("torch", "load") and not is_constant(given.get("weights_only"), True):
        yield f"{path}:{node.lineno}: torch.load without weights_only=True"
    if "allow_pickle" in given and not is_constant(given["allow_pickle"], False):
        yield f"{path}:{node.lineno}: allow_pickle"


def is_constant(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_fault_19_no_unsafe_call_in_the_source(path: Path) -> None:
    assert not list(unsafe(ast.parse(path.read_text(encoding="utf-8")), path.as_posix()))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import pickle as p",
        "from cloudpickle import load",
        "import pickletools",
        "eval('1')",
        "run = exec",
        "__import__('os')",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_test_sees_it(code: str) -> None:
    assert list(unsafe(ast.parse(code), "x.py"))


def test_the_test_lets_the_harmless_pass() -> None:
    code = """
import json
from .code import listing
yaml.compose(text, Loader=yaml.SafeLoader)
torch.load(path, weights_only=True)
np.load(path)
model.eval()
subprocess.run(['ls'], shell=False)
"""
    assert not list(unsafe(ast.parse(code), "x.py"))
