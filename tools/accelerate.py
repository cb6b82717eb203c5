"""The build hook that compiles what `pyproject.toml` lists with mypyc, when POSTREEVE_COMPILE=1 asks for it.

The sources stay beside what is compiled from them, and are what runs wherever a wheel is not compiled. An editable
installation never is. What is compiled are copies in which `native_init` has completed the dataclasses.
"""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# hatchling loads this file by its path, from wherever it runs.
sys.path.insert(0, str(Path(__file__).parent))
from native_init import with_native_init

ASKED = "POSTREEVE_COMPILE"
LIBRARY = "postreeve"
"""mypyc adds `__mypyc` and makes it a top-level module: all compiled modules are parts of this one library."""


class CompileHook(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this interpreter and machine only."""
        if self.target_name != "wheel" or version == "editable" or os.environ.get(ASKED) != "1":
            return
        work = Path(self.root) / "build" / "compiled"
        shutil.rmtree(work, ignore_errors=True)
        built = compile_modules(Path(self.root) / "src", list(self.config["modules"]), work)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(file): file.relative_to(work / "lib").as_posix() for file in built})


def list_modules(source: Path, patterns: list[str]) -> list[str]:
    """The files that `patterns` name, relative to `source`. Raises ValueError for a pattern that names none."""
    found: list[str] = []
    for pattern in patterns:
        files = sorted(file for file in source.glob(pattern) if file.name != "__init__.py")
        if not files:
            raise ValueError(f"nothing to compile is called {pattern}")
        found += [file.relative_to(source).as_posix() for file in files]
    return found


def compile_modules(source: Path, patterns: list[str], work: Path) -> list[Path]:
    """Compile into `work`; the extension modules, below `work`/lib as they belong below site-packages."""
    # Both are needed for this alone; without them a plain wheel can be built.
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    modules = list_modules(source, patterns)
    (work / "c").mkdir(parents=True)
    shutil.copytree(source, work / "src")
    for module in modules:
        copy = work / "src" / module
        copy.write_text(with_native_init(copy.read_text("utf-8")), "utf-8")
    before = Path.cwd()
    os.chdir(work / "src")
    try:
        # Whether the types are right is for `make check` to say; here the libraries we use need not even be installed.
        lenient = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
        extensions = mypycify(
            [*lenient, f"--cache-dir={work / 'cache'}", *modules],
            group_name=LIBRARY,
            multi_file=True,
            opt_level="2",
            debug_level="0",
            target_dir=str(work / "c"),
        )
        command = build_ext(Distribution({"name": LIBRARY, "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(work / "lib"), str(work / "objects")
        command.ensure_finalized()
        command.build_extensions = lambda: _build_in_parallel(command)
        command.run()
    finally:
        os.chdir(before)
    return sorted((work / "lib").rglob("*.so"))


def _build_in_parallel(command: Any) -> None:
    """One file after another would take minutes; `build_ext --parallel` knows of extensions only, and this is one."""
    compiler = command.compiler
    compile_one = compiler.compile
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            return [file for files in pool.map(lambda one: compile_one([one], **options), sources) for file in files]

        compiler.compile = compile_all
        command.check_extensions_list(command.extensions)
        for extension in command.extensions:
            command.build_extension(extension)
