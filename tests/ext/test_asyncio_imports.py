"""Core's engines without SQLAlchemy's session: its package is there for whoever imports it, before or after us."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("greenlet")

OURS = "from rustalchemy.ext.asyncio import AsyncEngine as ours, AsyncSession as our_session"
# what a program may write, and whether SQLAlchemy's session is part of it
THEIRS = {
    "from sqlalchemy.ext.asyncio import *; theirs = AsyncEngine": True,
    "import sqlalchemy.ext.asyncio; theirs = sqlalchemy.ext.asyncio.AsyncEngine": True,
    "import sqlalchemy.ext.asyncio as package; theirs = package.engine.AsyncEngine": False,
    "from sqlalchemy.ext.asyncio import engine; theirs = engine.AsyncEngine": False,
    "import sqlalchemy.ext.asyncio.session, sqlalchemy; theirs = sqlalchemy.ext.asyncio.AsyncEngine": True,
    "import sqlalchemy.ext.asyncio as p; assert 'AsyncEngine' in dir(p); theirs = p.AsyncEngine": True,
}
BOTH = """
import sys, types
import sqlalchemy.ext.asyncio as package
assert theirs is ours is package.AsyncEngine
assert type(package) is types.ModuleType and sys.modules["sqlalchemy.ext.asyncio"] is package
assert package.session is sys.modules["sqlalchemy.ext.asyncio.session"]
assert package.AsyncSession is package.session.AsyncSession is not our_session
assert not hasattr(package, "concurrency") and package.__spec__.name == "sqlalchemy.ext.asyncio"
"""


def run(program: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.mark.parametrize("theirs", THEIRS)
def test_either_order(theirs: str) -> None:
    run(f"{theirs}\n{OURS}{BOTH}")
    loaded = "in" if THEIRS[theirs] else "not in"
    run(f"import sys\n{OURS}\n{theirs}\nassert 'sqlalchemy.orm' {loaded} sys.modules{BOTH}")


def test_a_program_without_sqlalchemys_orm() -> None:
    """A session's life on an asynchronous driver; looking through all modules loads nothing either."""
    pytest.importorskip("aiosqlite")
    run("""
import asyncio, sys, unittest, warnings
import sqlalchemy as sa
from rustalchemy.ext.asyncio import AsyncSession, create_async_engine
from rustalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class A(Base):
    __tablename__ = "a"
    id: Mapped[int] = mapped_column(primary_key=True)

async def main():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(A())
        await session.commit()
        assert (await session.scalars(sa.select(A))).one() in session
    await engine.dispose()

asyncio.run(main())
with unittest.TestCase().assertWarns(UserWarning):  # asks every module for its warnings
    warnings.warn("x")
assert "sqlalchemy.orm" not in sys.modules and "sqlalchemy.ext.asyncio.session" not in sys.modules
""")


def test_threads_that_ask_at_once() -> None:
    """The package's body runs once; who comes meanwhile waits for it."""
    run("""
import threading
import rustalchemy.ext.asyncio, sqlalchemy.ext.asyncio as package
found, start = [], threading.Barrier(8)
def ask():
    start.wait()
    found.append(package.close_all_sessions)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len(set(found)) == 1
""")


def test_a_body_that_fails() -> None:
    """As with any import: the error is that of the body, and the next one tries again."""
    run("""
import sys
import rustalchemy.ext.asyncio, sqlalchemy.ext.asyncio as package
sys.modules["sqlalchemy.orm"] = None
for _ in range(2):
    try:
        from sqlalchemy.ext.asyncio import AsyncSession
    except ImportError as error:
        assert "sqlalchemy.orm" in str(error), error
    else:
        raise AssertionError
del sys.modules["sqlalchemy.orm"]
from sqlalchemy.ext.asyncio import AsyncSession
try:
    package.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
""")
