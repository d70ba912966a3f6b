"""The public names are a promise: exact, in order, documented, and at their public address."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import types
from pathlib import Path
from types import ModuleType
from typing import get_args

import attrs
import pytest
from support.tables import table

import cyberun_async
from cyberun_async import Agents, AsyncClient, Containers, Files, Tasks, Webhooks, Workflows

# What users import from by name; a module that takes the names of another comes after it.
PUBLIC_MODULES = [
    name
    for name in ("cyberun_async", "cyberun_async.local", "cyberun_async.webhooks")
    if importlib.util.find_spec(name)
]
PUBLIC_NAMES = [
    pytest.param(module, name, id=f"{module}.{name}")
    for module in PUBLIC_MODULES
    for name in getattr(importlib.import_module(module), "__all__", ())
]

REFERENCED_MODULES = [
    *PUBLIC_MODULES,
    "cyberun_async.conformance",
    "cyberun_async.local.scripts",
    "cyberun_async.otel",
    "cyberun_async.relay",
    "cyberun_async.testing",
]
GROUPS = (Agents, AsyncClient, Containers, Files, Tasks, Webhooks, Workflows)
CALLS = [
    pytest.param(owner, method, id=f"{owner.__name__}.{method}")
    for owner in GROUPS
    for method, function in vars(owner).items()
    if inspect.isfunction(function) and not method.startswith("_") and method not in {"aclose", "wake"}
]
RECORDS = [
    pytest.param(value, id=name)
    for name in cyberun_async.__all__
    if inspect.isclass(value := getattr(cyberun_async, name)) and attrs.has(value)
]


@table("module", PUBLIC_MODULES)
def test_all_is_exact(module: str) -> None:
    """`__all__` lists exactly the names without an underscore, constants before classes before functions."""
    namespace = vars(importlib.import_module(module))
    listed = [name for name in namespace["__all__"] if name != "__version__"]
    public = [name for name in namespace if _is_public(namespace, name)]
    if module == "cyberun_async":
        assert sorted(public, key=_order) == listed
    else:
        # It may import what it needs under plain names; what it defines is public.
        defined = [name for name in public if _address(namespace[name]) in {module, None}]
        assert not set(defined) - set(listed)
        assert sorted(listed, key=_order) == listed


@table(("module", "name"), PUBLIC_NAMES)
def test_public_address(module: str, name: str) -> None:
    """A class or function says the first module that users can import it from; a union, no private one."""
    value = getattr(importlib.import_module(module), name)
    if _is_class(value) or inspect.isfunction(value):
        assert _address(value) == _first_home(value)
    assert not [each for each in get_args(value) if "._" in (_address(each) or "")]


@table(("module", "name"), PUBLIC_NAMES)
def test_docstring(module: str, name: str) -> None:
    """Every public class and function has a docstring of its own, and so has each public method."""
    value = getattr(importlib.import_module(module), name)
    if inspect.isfunction(value):
        assert value.__doc__
    elif _is_class(value):
        assert vars(value).get("__doc__")
        undocumented = [
            method
            for method, attribute in vars(value).items()
            if not method.startswith("_")
            and isinstance(attribute, (classmethod, staticmethod, property, type(_order)))
            and not _is_documented(value, method)
        ]
        assert not undocumented


@table("module", REFERENCED_MODULES)
def test_reference(module: str) -> None:
    """The reference has every public name of each public module; a module among them has a section of its own."""
    namespace = vars(importlib.import_module(module))
    names = {name for name in namespace["__all__"] if not isinstance(namespace[name], ModuleType)}
    assert not names - _referenced()[module]


@table(("owner", "method"), CALLS)
def test_docstrings_of_calls(owner: type, method: str) -> None:
    """Whatever reaches the server says what it raises, and which page of the API it is about."""
    doc = inspect.getdoc(getattr(owner, method)) or ""
    assert "Raises:" in doc
    assert "Source: https://" in doc


@table("record", RECORDS)
def test_docstrings_of_records(record: type) -> None:
    """Each field of a record, an event or a setting is explained."""
    explained = set(re.findall(r"^    (\w+): \S", inspect.getdoc(record) or "", re.MULTILINE))
    assert not {field.name for field in attrs.fields(record)} - explained


def test_importing_runs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A tool that imports every module, as those for documentation do, starts none of the programs."""
    for module in pkgutil.walk_packages(cyberun_async.__path__, "cyberun_async."):
        importlib.import_module(module.name)
    assert capfd.readouterr() == ("", "")


def _referenced() -> dict[str, set[str]]:
    """Give the names in the reference by the module that they are under; `automodule` stands for all of its own."""
    pages = Path(__file__).parents[1].joinpath("docs", "reference").glob("*.md")
    reference = "\n".join(page.read_text(encoding="utf-8") for page in sorted(pages))
    names: dict[str, set[str]] = {}
    module = ""
    for directive, name in re.findall(r"^\.\. ([\w:]+):: ([\w.]+)", reference, re.MULTILINE):
        if directive in {"module", "currentmodule", "automodule"}:
            module = name
            names.setdefault(module, set())
            names[module] |= set(importlib.import_module(module).__all__) if directive == "automodule" else set()
        else:
            home, _, plain = name.rpartition(".")
            names.setdefault(home or module, set()).add(plain)
    return names


def _is_class(value: object) -> bool:
    """Tell a class from an alias such as `Callable[..., object]`, which Python 3.10 takes for one."""
    return inspect.isclass(value) and not isinstance(value, types.GenericAlias)


def _is_public(namespace: dict[str, object], name: str) -> bool:
    return not (name.startswith("_") or name == "annotations" or isinstance(namespace[name], ModuleType))


def _order(name: str) -> tuple[int, str]:
    """Sort as ruff's RUF022 does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _address(value: object) -> str | None:
    return getattr(value, "__module__", None)


def _first_home(value: object) -> str:
    """Name the public module that lists the value first."""
    namespaces = {module: vars(importlib.import_module(module)) for module in PUBLIC_MODULES}
    return next(
        module
        for module, namespace in namespaces.items()
        if any(namespace[name] is value for name in namespace.get("__all__", ()))
    )


def _is_documented(owner: type, name: str) -> bool:
    """Tell whether a method has a docstring, its own or that of the one it takes the place of."""
    return any(getattr(vars(base).get(name), "__doc__", None) for base in owner.__mro__)
