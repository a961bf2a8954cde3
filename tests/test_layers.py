"""The shape of the source: who imports whom, how large things are, what never appears."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

import fdss

ROOT = Path(__file__).parents[1]
FOLDERS = {"fdss": "fdss", "client": "fdss.client", "cli": "fdss.cli"}

# What is shared stands beside the server in fdss/ and is as light as the client needs it.
SHARED = [
    "fdss.arguments",
    "fdss.backend",
    "fdss.bounds",
    "fdss.claims",
    "fdss.data_files",
    "fdss.bundles",
    "fdss.enclosed",
    "fdss.errors",
    "fdss.features",
    "fdss.files",
    "fdss.hosts",
    "fdss.locking",
    "fdss.nested",
    "fdss.order",
    "fdss.places",
    "fdss.rows",
    "fdss.splits",
    "fdss.storage",
    "fdss.tls.folder",
    "fdss.tls.trust",
    "fdss.tokens",
    "fdss.wire",
]
SERVER_LIBRARIES = ("flask", "waitress", "werkzeug")
HEAVY_LIBRARIES = ("datasets", "torch", "torchdata", "pandas")

# The signatures that the product text fixes.
MANY_PARAMETERS = {"fast_load_iterable_dataset", "map", "filter"}

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file and what it imports."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """Return the package that relative imports start from."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]

    def imports(self, *, at_import: bool) -> set[str]:
        """Return the absolute names it imports.

        Args:
            at_import: Only what is imported when the module is; else also inside functions.
        """
        nodes = _run_at_import(self.tree) if at_import else _nodes(self.tree)
        return {name for node in nodes for name in self._names(node)}

    def _names(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (self.package if node.level else "", node.module)))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _nodes(tree: ast.Module) -> list[ast.AST]:
    return list(ast.walk(tree))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        is_typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, Function | ast.Lambda) and not is_typing:
            yield child
            yield from _run_at_import(child)


def _modules(folder: Path, name: str) -> Iterator[Module]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        dotted = ".".join((name, *(part for part in parts if part != "__init__")))
        yield Module(dotted, path, _parsed(path))


MODULES = {
    module.name: module
    for folder, name in FOLDERS.items()
    for module in _modules(ROOT / folder, name)
}
TESTS = sorted((ROOT / "tests").rglob("*.py"))
THIS = Path(__file__).resolve()


def _offences(rule: Callable[[Module], list[str]], *packages: str) -> dict[str, list[str]]:
    """Return what a rule finds in the modules (of these packages, or all), by module."""
    inside = (m for m in MODULES.values() if not packages or _within(m.name, packages))
    return {module.name: found for module in inside if (found := rule(module))}


def _test_offences(rule: Callable[[ast.Module], list[str]]) -> dict[str, list[str]]:
    """Return what a rule finds in the files of the tests, by file."""
    found = {path.relative_to(ROOT).as_posix(): rule(_parsed(path)) for path in TESTS}
    return {path: offences for path, offences in found.items() if offences}


def _within(name: str, packages: tuple[str, ...] | list[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _found(names: set[str], packages: tuple[str, ...] | list[str]) -> list[str]:
    return sorted(name for name in names if _within(name, packages))


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in _nodes(tree) if isinstance(node, Function))


def _lines(function: Function) -> int:
    """Return the lines of a function without its decorators and its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 1
    assert function.end_lineno is not None
    return function.end_lineno - body[0].lineno + 1 + (function.body[0].lineno - function.lineno)


def test_server_and_shared_words_import_neither_client_nor_command_line() -> None:
    """What lies in fdss/ imports neither fdss.client nor fdss.cli, not even inside a function."""
    outside = ["fdss.client", "fdss.cli"]

    def rule(module: Module) -> list[str]:
        return _found(module.imports(at_import=False), outside)

    assert {m: f for m, f in _offences(rule).items() if not _within(m, outside)} == {}


def test_client_imports_no_server() -> None:
    """The client imports the shared words of fdss only, and no server library."""

    def rule(module: Module) -> list[str]:
        imports = module.imports(at_import=False)
        return [
            *_found(imports, [*SERVER_LIBRARIES, "fdss.cli"]),
            *_ours_outside(imports, [*SHARED, "fdss.client"]),
        ]

    assert _offences(rule, "fdss.client") == {}


def test_shared_words_import_no_server() -> None:
    """The shared words import neither a server library nor a module of the server."""

    def rule(module: Module) -> list[str]:
        imports = module.imports(at_import=False)
        return [*_found(imports, SERVER_LIBRARIES), *_ours_outside(imports, SHARED)]

    assert _offences(rule, *SHARED) == {}


def _ours_outside(imports: set[str], packages: list[str]) -> list[str]:
    ours = {name for name in imports if name in MODULES and name != "fdss"}
    return sorted(name for name in ours if not _within(name, packages))


def test_nothing_heavy_is_imported_by_importing_a_module() -> None:
    """No module imports datasets or torch at module level, only where a call needs them."""

    def rule(module: Module) -> list[str]:
        # `try: import torch` decides what the client's dataset inherits from.
        allowed = {"fdss.client.dataset": {"torch"}}.get(module.name, set())
        found = _found(module.imports(at_import=True), HEAVY_LIBRARIES)
        return [name for name in found if name.partition(".")[0] not in allowed]

    assert _offences(rule) == {}


def test_no_module_imports_itself_over_others() -> None:
    """Imports at module level have no cycle."""
    graph = {
        name: {found for found in module.imports(at_import=True) if found in MODULES} - {name}
        for name, module in MODULES.items()
    }
    # A package's __init__ re-exports its modules, which never import it back.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def test_relative_imports_stay_in_their_folder() -> None:
    """A relative import has one dot: on disk, two would leave client/ for the checkout's root."""

    def rule(module: Module) -> list[str]:
        relative = [node for node in _nodes(module.tree) if isinstance(node, ast.ImportFrom)]
        return [ast.unparse(node) for node in relative if node.level > 1]

    assert _offences(rule) == {}


def test_folders_are_imported_by_their_import_names() -> None:
    """Nobody imports client or cli: beside fdss.client it would give every class twice."""
    assert _offences(lambda m: _found(m.imports(at_import=False), ["client", "cli"])) == {}


@pytest.mark.parametrize("name", ["fdss.client", "fdss.client.loader", "fdss.client.remote"])
def test_importing_the_client_is_light(
    run_python: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    """Importing the client loads neither a server library nor datasets nor torch."""
    loaded = _loaded_by(run_python, f"import {name}")

    assert _found(loaded, (*SERVER_LIBRARIES, *HEAVY_LIBRARIES)) == []


def test_help_loads_no_command(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """``fdss --help`` loads no command's module and no library but click."""
    loaded = _loaded_by(
        run_python,
        "import sys; sys.argv = ['fdss', '--help']\n"
        "from fdss.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass",
    )

    assert "fdss.cli.main" in loaded
    heavy = (*SERVER_LIBRARIES, *HEAVY_LIBRARIES, "numpy", "pyarrow", "requests", "yaml")
    assert _found(loaded, heavy) == []
    assert _found(loaded, [f"fdss.cli.{name}" for name in ("start", "diagnose", "head")]) == []


def _loaded_by(run_python: Callable[..., subprocess.CompletedProcess[str]], code: str) -> set[str]:
    program = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    names: list[str] = json.loads(run_python("-c", program).stdout.splitlines()[-1])
    return set(names)


def test_modules_are_short() -> None:
    """A module has 300 lines at most."""
    lines = {m.name: len(m.path.read_text("utf-8").splitlines()) for m in MODULES.values()}

    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_functions_are_short() -> None:
    """No function has more than 60 lines, nor more than 6 parameters that are not the spec's."""

    def is_large(function: Function) -> bool:
        many = _parameters(function) > MAX_PARAMETERS and function.name not in MANY_PARAMETERS
        return many or _lines(function) > MAX_FUNCTION_LINES

    assert _offences(lambda m: [f.name for f in _functions(m.tree) if is_large(f)]) == {}


def _parameters(function: Function) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def test_most_functions_are_very_short() -> None:
    """Nine functions in ten have 25 lines at most."""
    lines = [_lines(f) for module in MODULES.values() for f in _functions(module.tree)]

    assert statistics.quantiles(lines, n=10)[8] <= 25


def test_modules_are_named_for_what_they_hold() -> None:
    """No module is a drawer for everything."""
    drawers = {"utils", "util", "helpers", "common", "misc"}

    assert _offences(lambda module: sorted(drawers & set(module.name.split(".")))) == {}


def test_everything_public_has_a_docstring() -> None:
    """Every module, public class and public function says what it is, as a sentence."""

    def rule(module: Module) -> list[str]:
        said = _docstrings(module.tree) if module.path.read_text("utf-8").strip() else ()
        return [name for name, text in said if not _is_sentence(text)]

    assert _offences(rule) == {}


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    yield "module", ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                yield from _member_docstrings(node)


def _member_docstrings(kind: ast.ClassDef) -> Iterator[tuple[str, str | None]]:
    """Yield the docstrings of public methods; one that overrides may leave it to its base."""
    for member in kind.body:
        if isinstance(member, Function) and not member.name.startswith("_"):
            text = ast.get_docstring(member)
            if text is not None or not (kind.bases and member.name in DOCUMENTED_METHODS):
                yield f"{kind.name}.{member.name}", text


DOCUMENTED_METHODS = {
    member.name
    for module in MODULES.values()
    for kind in _nodes(module.tree)
    if isinstance(kind, ast.ClassDef)
    for member in kind.body
    if isinstance(member, Function) and ast.get_docstring(member)
}


def _is_sentence(text: str | None) -> bool:
    return text is not None and text.partition("\n\n")[0].rstrip().endswith((".", "?", "!"))


def test_every_test_states_a_fact() -> None:
    """Every test has a docstring that ends as a sentence does."""

    def rule(tree: ast.Module) -> list[str]:
        tests = (f for f in _functions(tree) if f.name.startswith("test_"))
        return [test.name for test in tests if not _is_sentence(ast.get_docstring(test))]

    assert _test_offences(rule) == {}


def test_no_test_sleeps() -> None:
    """Tests wait for events, never for time to pass."""

    def rule(tree: ast.Module) -> list[str]:
        return [f"line {node.lineno}" for node in _nodes(tree) if _is_sleep(node)]

    assert _test_offences(rule) == {}


def _is_sleep(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("sleep", "time.sleep")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(r"\b(TODO|FIXME|XXX|HACK)\b", id="waiting comments"),
        pytest.param(r"/tmp/w\b|/work/|/root/|\.pyenv/versions/3\.\d+\.\d+", id="machine's paths"),
        pytest.param(r"\bissue #\d|\(#\d+\)", id="issue numbers"),
    ],
)
def test_words_that_never_appear(words: str) -> None:
    """Neither code nor documents wait for later, name this machine, or count issues."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _written()
        for match in re.finditer(words, path.read_text("utf-8"))
    ]

    assert found == []


def _written() -> Iterator[Path]:
    kinds = ("*.py", "*.md", "*.toml", "*.ini")
    for folder in (*FOLDERS, "tests", "docs", "benchmarks", ".ci"):
        for kind in kinds:
            yield from (p for p in (ROOT / folder).rglob(kind) if p.resolve() != THIS)
    for kind in kinds:
        yield from ROOT.glob(kind)


def test_only_the_edges_catch_everything() -> None:
    """``except Exception`` stands only where an error becomes an answer, a line or an exit."""
    edges = {
        "fdss.app",
        "fdss.channels",
        "fdss.client.hedging",
        "fdss.client.readahead",
        "fdss.client.reading",
        "fdss.preloading",
        "fdss.router.loops",
        "fdss.rows",
        "fdss.views.streams",
    }
    found = {
        name
        for name, module in MODULES.items()
        for node in _nodes(module.tree)
        if isinstance(node, ast.ExceptHandler) and _swallows_everything(node)
    }

    assert sorted(found - edges) == []


def _swallows_everything(handler: ast.ExceptHandler) -> bool:
    is_broad = handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
    last = handler.body[-1]
    return is_broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_installed_modules_are_those_of_the_checkout() -> None:
    """An installed fdss has every module of the checkout, and none that is no longer there."""
    installed = Path(fdss.__file__).parent
    if installed == ROOT / "fdss":
        folders = [(name, ROOT / folder) for folder, name in FOLDERS.items()]
    else:
        folders = [("fdss", installed)]

    assert {m.name for name, folder in folders for m in _modules(folder, name)} == set(MODULES)


def test_this_python_is_one_that_is_promised() -> None:
    """The tests run on a Python that setup.py lists."""
    listed = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.py").read_text("utf-8"))

    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in listed
