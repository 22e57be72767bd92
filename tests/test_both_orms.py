"""Both ORMs in one process: whichever is imported first, `inspect()` and statements find the right one."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from sqlalchemy import Integer, create_engine, inspect, select

def mapped(orm):
    class Base(orm.DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(Integer, primary_key=True)

    return User

classes = mapped(theirs), mapped(ours)
for cls, orm, package in zip(classes, (theirs, ours), ("sqlalchemy", "rustalchemy")):
    user = cls()
    assert type(inspect(cls)).__module__.partition(".")[0] == package
    assert type(inspect(user)).__module__.partition(".")[0] == package
    engine = create_engine("sqlite://")
    cls.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(user)
        session.commit()
        assert session.scalars(select(cls).where(cls.id == 1)).one() is user
assert inspect(3, False) is None
assert inspect(int, False) is None
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import sqlalchemy.orm as theirs, rustalchemy.orm as ours",
        "import rustalchemy.orm as ours, sqlalchemy.orm as theirs",
    ],
)
def test_import_orders(imports: str) -> None:
    run = subprocess.run([sys.executable, "-c", imports + PROGRAM], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_ours_does_not_import_theirs() -> None:
    code = "import sys, rustalchemy.orm; assert 'sqlalchemy.orm' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
