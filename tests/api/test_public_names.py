"""Every public name of sqlalchemy.orm and ext.asyncio is there, with the same parameters: imports can change."""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import pytest
from sqlalchemy.util import memoized_property

# module or class → names that are deliberately absent, each with its reason
ABSENT = {
    "orm": {
        "dependency": "a private module of the flush, which is native here",
        "sync": "a private module of the flush, which is native here",
        "Any": "a name of typing that happens to be imported there",
        "dynamic": "its classes are where SQLAlchemy's users import them from: orm",
        "writeonly": "the same",
    },
    "InstanceState": {"parents": "which parent holds an object is kept natively"},
}
MODULES = ["orm", "orm.attributes", "orm.collections", "orm.decl_api", "orm.exc", "orm.session"]
ASYNCIO = ["", ".base", ".engine", ".exc", ".result", ".scoping", ".session"]
ASYNCIO_CLASSES = [
    "AsyncSession",
    "async_sessionmaker",
    "async_scoped_session",
    "AsyncSessionTransaction",
    "AsyncAttrs",
]
CLASSES = [
    "Session",
    "sessionmaker",
    "scoped_session",
    "SessionTransaction",
    "ORMExecuteState",
    "Query",
    "Mapper",
    "registry",
    "DeclarativeBase",
    "DeclarativeBaseNoMeta",
    "MappedAsDataclass",
    "RelationshipProperty",
    "ColumnProperty",
    "CompositeProperty",
    "SynonymProperty",
    "PropComparator",
    "QueryableAttribute",
    "InstrumentedAttribute",
    "InstanceState",
    "AttributeState",
    "Load",
    "Bundle",
    "KeyFuncDict",
    "LoaderCriteriaOption",
]


def public(module: types.ModuleType) -> set[str]:
    """What a program can import from a module: `__all__`, or the names without underscore that it defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and (
            module.__name__ in {"sqlalchemy.orm", "sqlalchemy.ext.asyncio"}
            or getattr(value, "__module__", "") == module.__name__
        )
    }


@pytest.mark.parametrize("name", MODULES + [f"ext.asyncio{name}" for name in ASYNCIO])
def test_names(name: str) -> None:
    theirs = importlib.import_module(f"sqlalchemy.{name}")
    ours = importlib.import_module(f"rustalchemy.{name}")
    missing = {key for key in public(theirs) if not hasattr(ours, key)}
    assert missing - set(ABSENT.get(name, ())) == set()


def parameters(function: Any) -> list[inspect.Parameter]:
    """The parameters that a caller can write, in order; none where there is nothing to read, as in native methods."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    return [p for p in signature.parameters.values() if not p.name.startswith("_")]


def accepts(ours: Any, theirs: Any) -> bool:
    """Whether every call that fits the parameters of theirs fits ours: ours may have more, or take anything."""
    mine = parameters(ours)
    wanted = [p.name for p in parameters(theirs)]
    if not mine or any(p.kind is p.VAR_KEYWORD for p in mine):
        return True
    return [p.name for p in mine if p.name in wanted] == wanted


def members(cls: type) -> dict[str, Any]:
    """Public methods and properties that SQLAlchemy's own classes define; plain attributes are set on instances."""
    kinds = (types.FunctionType, classmethod, staticmethod, property, memoized_property)
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith(("sqlalchemy.orm", "sqlalchemy.ext.asyncio")):
            found.update(
                {
                    key: value
                    for key, value in vars(base).items()
                    if not key.startswith("_") and isinstance(value, kinds)
                }
            )
    return found


@pytest.mark.parametrize(
    "module, name", [("orm", name) for name in CLASSES] + [("ext.asyncio", name) for name in ASYNCIO_CLASSES]
)
def test_methods(module: str, name: str) -> None:
    theirs = getattr(importlib.import_module(f"sqlalchemy.{module}"), name)
    ours = getattr(importlib.import_module(f"rustalchemy.{module}"), name)
    missing = [key for key in members(theirs) if not hasattr(ours, key) and key not in ABSENT.get(name, ())]
    different = [
        (key, parameters(getattr(ours, key)), parameters(getattr(theirs, key)))
        for key, value in members(theirs).items()
        if isinstance(value, types.FunctionType | classmethod)
        and key not in missing
        and not accepts(getattr(ours, key), getattr(theirs, key))
    ]
    assert (missing, different) == ([], [])


FUNCTIONS = sorted(
    key
    for key, value in vars(importlib.import_module("sqlalchemy.orm")).items()
    if isinstance(value, types.FunctionType) and not key.startswith("_")
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    theirs = getattr(importlib.import_module("sqlalchemy.orm"), name)
    ours = getattr(importlib.import_module("rustalchemy.orm"), name)
    assert accepts(ours, theirs), (parameters(ours), parameters(theirs))
