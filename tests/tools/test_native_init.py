"""What is written for mypyc makes objects as the dataclass itself would."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.native_init import with_native_init

ROOT = Path(__file__).parents[2]


def compiled_modules() -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    files = [file for pattern in patterns for file in sorted((ROOT / "src").glob(pattern))]
    return [file.relative_to(ROOT / "src").as_posix() for file in files if file.name != "__init__.py"]


def made_inits(source: str) -> dict[str, ast.FunctionDef]:
    """Class → the `__init__` that was written into it."""
    before = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and has_init(node)}
    return {
        node.name: one
        for node in ast.parse(with_native_init(source)).body
        if isinstance(node, ast.ClassDef) and node.name not in before
        for one in node.body
        if isinstance(one, ast.FunctionDef) and one.name == "__init__"
    }


def has_init(node: ast.ClassDef) -> bool:
    return any(isinstance(one, ast.FunctionDef) and one.name == "__init__" for one in node.body)


@pytest.mark.parametrize("module", compiled_modules())
def test_with_native_init_takes_what_the_dataclass_takes(module: str) -> None:
    source = (ROOT / "src" / module).read_text("utf-8")
    assert with_native_init(source).count("\n") == source.count("\n")
    namespace = vars(importlib.import_module(module.removesuffix(".py").replace("/", ".")))
    for name, made in made_inits(source).items():
        own = list(inspect.signature(namespace[name].__init__).parameters.values())
        arguments = made.args.args
        assert [one.arg for one in arguments] == [one.name for one in own], name
        optional = [one.name for one in own if one.default is not one.empty]
        assert [one.arg for one in arguments[len(arguments) - len(made.args.defaults) :]] == optional, name
        assigned = [ast.unparse(target) for one in made.body if isinstance(one, ast.Assign) for target in one.targets]
        assert assigned == [f"self.{field.name}" for field in dataclasses.fields(namespace[name])], name


def test_with_native_init_serves_nearly_all() -> None:
    sources = [(ROOT / "src" / module).read_text("utf-8") for module in compiled_modules()]
    assert sum(len(made_inits(source)) for source in sources) > 100


SAMPLE = """
from dataclasses import dataclass, field

@dataclass(slots=True)
class Sample:
    number: int
    names: list[str] = field(default_factory=list)
    word: str = "x"
    secret: str = field(default="", repr=False)

"""


def test_with_native_init_makes_equal_objects() -> None:
    plain: dict[str, Any] = {}
    native: dict[str, Any] = {}
    exec(SAMPLE, plain)
    exec(with_native_init(SAMPLE), native)
    assert "def __init__" in with_native_init(SAMPLE)
    for arguments in ({"number": 1}, {"number": 2, "names": ["a"], "word": "y", "secret": "z"}):
        made, own = native["Sample"](**arguments), plain["Sample"](**arguments)
        assert (repr(made), made.secret) == (repr(own), own.secret)
    assert native["Sample"](1).names is not native["Sample"](1).names


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("@dataclass(kw_only=True)\nclass A:\n    x: int", id="keywords only"),
        pytest.param("@dataclass\nclass A(B):\n    x: int", id="a base"),
        pytest.param("@dataclass\nclass A:\n    x: int = field(init=False)", id="a field that is no parameter"),
        pytest.param("@dataclass\nclass A:\n    x: ClassVar[int] = 1", id="no field"),
        pytest.param("@dataclass\nclass A:\n    x: int\n    def __post_init__(self): ...", id="something to do after"),
        pytest.param("class A:\n    x: int", id="no dataclass"),
        pytest.param("@dataclass\nclass A: ...", id="no fields"),
    ],
)
def test_with_native_init_leaves_others_alone(body: str) -> None:
    assert with_native_init(f"{body}\n\n\n") == f"{body}\n\n\n"
