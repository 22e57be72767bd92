"""Defaults of dataclass attributes that their columns do not have: an INSERT gets them all the same."""

import inspect
from types import ModuleType, SimpleNamespace
from typing import Any, Optional

import pytest
import sqlalchemy as sa

pytestmark = pytest.mark.sqlalchemy21


@pytest.fixture(params=[False, True], ids=["parent without", "parent with default"])
def models(orm: ModuleType, request: pytest.FixtureRequest) -> SimpleNamespace:
    class Base(orm.MappedAsDataclass, orm.DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parent"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "parent"}
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True, init=False)
        kind: orm.Mapped[str] = orm.mapped_column(init=False)
        data: orm.Mapped[Optional[str]] = orm.mapped_column(default="parent's" if request.param else None)

    class Child(Parent):
        __mapper_args__ = {"polymorphic_identity": "child"}
        data: orm.Mapped[Optional[str]] = orm.mapped_column(default="child's", use_existing_column=True)

    class Sibling(Parent):
        __mapper_args__ = {"polymorphic_identity": "sibling"}
        data: orm.Mapped[Optional[str]] = orm.mapped_column(default="sibling's", use_existing_column=True)

    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    return SimpleNamespace(Parent=Parent, Child=Child, Sibling=Sibling, engine=engine, has_default=request.param)


@pytest.mark.parametrize("is_watched", [False, True])
def test_each_class_has_its_own(orm: ModuleType, models: SimpleNamespace, is_watched: bool) -> None:
    sent: list[Any] = []
    if is_watched:
        sa.event.listen(models.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    parents = "parent's" if models.has_default else None
    for count in (1, 2):
        with orm.Session(models.engine) as session:
            made = [cls() for cls in (models.Parent, models.Child, models.Sibling) for _ in range(count)]
            made += [models.Child(data=None), models.Sibling(data="given"), models.Parent(data="given")]
            assert "data" not in vars(made[count])
            session.add_all(made)
            session.flush()
            expected = [parents] * count + ["child's"] * count + ["sibling's"] * count + ["child's", "given", "given"]
            assert [vars(one).get("data") for one in made] == expected
            assert not session.dirty
            ids = [one.id for one in made]
            table = models.Parent.__table__
            rows = dict(session.execute(sa.select(table.c.id, table.c.data)).all())
            assert [rows[id_] for id_ in ids] == expected
    assert is_watched == bool(sent)


def test_key_given(orm: ModuleType, models: SimpleNamespace) -> None:
    with orm.Session(models.engine) as session:
        made = [models.Child() for _ in range(3)]
        for number, child in enumerate(made):
            child.id = number + 10
        session.add_all(made)
        session.commit()
        assert [child.data for child in made] == ["child's"] * 3


def test_refresh_flush(orm: ModuleType, models: SimpleNamespace) -> None:
    heard = []
    sa.event.listen(models.Child, "refresh_flush", lambda target, context, names: heard.append((target, names)))
    with orm.Session(models.engine) as session:
        first, second = models.Child(), models.Child(data="given")
        session.add_all([first, second])
        session.flush()
        assert heard == [(first, ["data"])]


def test_signatures(models: SimpleNamespace) -> None:
    """A constructor's parameters have no annotations: those of the attributes say how they are mapped."""
    assert list(inspect.signature(models.Child).parameters) == ["data"]
    assert inspect.get_annotations(models.Child.__init__) == {}
