"""Who may import whom, read off the sources: the borders that import-linter cannot express."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "rustalchemy"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every `(module, name)` that a file imports at run time, absolute imports only."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for part in block.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sqlalchemys_orm_is_never_imported(path: Path) -> None:
    """Neither `sqlalchemy.orm` nor its extensions, under whatever spelling; of asyncio only what is Core's."""
    for module, name in imports(path):
        full = f"{module}.{name}"
        if path.name == "_sa_asyncio.py" and module.startswith("sqlalchemy.ext.asyncio."):
            assert module.rpartition(".")[2] in {"base", "engine", "exc", "result"}, full
            continue
        assert not full.startswith(("sqlalchemy.orm", "sqlalchemy.ext.")), full


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_underscored_names_of_sqlalchemy_stay_in_one_module(path: Path) -> None:
    """Only `_sa.py`, and for asyncio `_sa_asyncio.py`, imports what SQLAlchemy calls private."""
    if path.name in {"_sa.py", "_sa_asyncio.py"}:
        return
    for module, name in imports(path):
        if module.split(".")[0] == "sqlalchemy":
            assert not any(part.startswith("_") for part in (*module.split("."), name)), f"{module}.{name}"


EXTENSIONS = [path for path in SOURCES if path.is_relative_to(PACKAGE / "ext")]


@pytest.mark.parametrize("path", EXTENSIONS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_extensions_use_public_names(path: Path) -> None:
    """Of `rustalchemy.orm`; those of declarative and automap take part in how classes are scanned."""
    if path.parent.name in ("declarative", "automap"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level and (node.module or "").split(".")[0] == "orm":
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in names), names


def test_a_program_does_not_load_sqlalchemys_orm() -> None:
    """A whole life of a session, in a fresh interpreter, without `sqlalchemy.orm` in `sys.modules`."""
    program = """
import sys
import sqlalchemy as sa
import rustalchemy.ext.associationproxy, rustalchemy.ext.automap, rustalchemy.ext.baked
import rustalchemy.ext.declarative, rustalchemy.ext.hybrid
import rustalchemy.ext.horizontal_shard, rustalchemy.ext.indexable
import rustalchemy.ext.mutable, rustalchemy.ext.orderinglist, rustalchemy.ext.serializer
from rustalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

class Base(DeclarativeBase):
    pass

class A(Base):
    __tablename__ = "a"
    id: Mapped[int] = mapped_column(primary_key=True)

engine = sa.create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(A())
    session.commit()
    assert session.scalars(sa.select(A)).one().id == 1
assert "sqlalchemy.orm" not in sys.modules, "loaded"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_core_crate_knows_no_python() -> None:
    """`rustalchemy-core` does not depend on pyo3."""
    manifest = (ROOT / "rust" / "core" / "Cargo.toml").read_text()
    assert "pyo3" not in manifest
    assert 'unsafe_code = "forbid"' in manifest
