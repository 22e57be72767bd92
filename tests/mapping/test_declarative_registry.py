"""Bases, registries, decorators, dataclasses, names in strings."""

from __future__ import annotations

import dataclasses
import inspect as python_inspect
from types import ModuleType
from typing import Any, Optional

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, exc, inspect

Mapped: Any = None
mapped_column: Any = None
relationship: Any = None
declared_attr: Any = None
MappedAsDataclass: Any = None
Address: Any = None
Tag: Any = None


@pytest.fixture(autouse=True)
def _annotation_names(orm: ModuleType) -> None:
    """Make the ORM's names those of the module, where annotations look them up."""
    for name in ("Mapped", "mapped_column", "relationship", "declared_attr", "MappedAsDataclass"):
        globals()[name] = getattr(orm, name)


def test_constructor(base: Any) -> None:
    class User(base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[Optional[str]]
        note = "class attribute"

    user = User(id=5, name="ed", note="own")
    assert (user.id, user.name, user.note) == (5, "ed", "own")
    assert User(name="x").id is None
    with pytest.raises(TypeError, match="'nam' is an invalid keyword argument for User"):
        User(nam="ed")


def test_own_constructor(base: Any) -> None:
    class User(base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

        def __init__(self, name: str) -> None:
            self.name = name.upper()

    assert User("ed").name == "ED"
    with pytest.raises(TypeError):
        User(id=3)


@pytest.mark.parametrize("with_class", ["object", "plain", "slots", "dict"])
def test_declarative_base_function(orm: ModuleType, with_class: str) -> None:
    class Plain:
        "Docs."

        def greet(self) -> str:
            return f"hello {self.name}"

    class Slots:
        __slots__ = ("extra",)

    cls = {"object": object, "plain": Plain, "slots": Slots, "dict": dict}[with_class]
    Base = orm.declarative_base(cls=cls, name="MyBase", metadata=MetaData(schema="s"))

    class User(Base):
        __tablename__ = "user"
        id = Column(Integer, primary_key=True)
        name = Column(String)

    assert Base.__name__ == "MyBase" and issubclass(User, cls)
    assert User.__table__.fullname == "s.user"
    user = User(name="ed")
    assert user.name == "ed" and user.id is None
    if cls is Plain:
        assert user.greet() == "hello ed" and Base.__doc__ == "Docs."
    assert inspect(user).transient


def test_custom_constructor(orm: ModuleType) -> None:
    def construct(self: Any, **kw: Any) -> None:
        for key, value in kw.items():
            setattr(self, key, value + 1)

    Base = orm.declarative_base(constructor=construct)

    class User(Base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert User(id=5).id == 6


def test_as_declarative_base(orm: ModuleType) -> None:
    @orm.registry().as_declarative_base()
    class Base:
        @declared_attr
        def __tablename__(cls) -> str:
            return cls.__name__.lower()

    class Thing(Base):
        id: Mapped[int] = mapped_column(primary_key=True)

    assert Thing.__table__.name == "thing"


def test_decorator(orm: ModuleType) -> None:
    reg = orm.registry()

    @reg.mapped
    class User:
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    user = User(name="ed")
    assert user.name == "ed" and User.__mapper__ is inspect(User)
    assert reg.mappers == frozenset([inspect(User)])
    with pytest.raises(exc.InvalidRequestError, match="already has been instrumented declaratively"):
        reg.mapped(User)


def test_imperative(orm: ModuleType) -> None:
    reg = orm.registry()
    users = Table("users", reg.metadata, Column("id", Integer, primary_key=True), Column("name", String))
    addresses = Table(
        "addresses",
        reg.metadata,
        Column("id", Integer, primary_key=True),
        Column("user_id", ForeignKey("users.id")),
    )

    class User:
        def __init__(self, name: str) -> None:
            self.name = name

    class Address:
        pass

    mapper = reg.map_imperatively(
        User, users, properties={"addresses": orm.relationship(Address, backref="user"), "nick": users.c.name}
    )
    reg.map_imperatively(Address, addresses)
    reg.configure()
    assert mapper is inspect(User) and User.__table__ is users
    user = User("ed")
    address = Address()
    user.addresses.append(address)
    assert user.nick == "ed" or user.name == "ed"
    assert address.user is user
    with pytest.raises(exc.ArgumentError, match="already has a primary mapper defined"):
        reg.map_imperatively(User, users)


def test_dispose(orm: ModuleType) -> None:
    reg = orm.registry()
    table = Table("t", reg.metadata, Column("id", Integer, primary_key=True))

    class Thing:
        pass

    reg.map_imperatively(Thing, table)
    reg.dispose()
    assert not hasattr(Thing, "id") and not hasattr(Thing, "__mapper__")
    reg.map_imperatively(Thing, table)
    assert Thing(id=1).id == 1


def test_names_in_strings(base: Any) -> None:
    class User(base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        addresses: Mapped[list[Address]] = relationship(
            back_populates="user", primaryjoin="User.id == foreign(Address.user_id)", order_by="desc(Address.email)"
        )
        first = relationship(
            "Address",
            primaryjoin="and_(Address.user_id == User.id, Address.email == 'x')",
            viewonly=True,
            uselist=False,
        )

    class Address(base):
        __tablename__ = "address"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
        email: Mapped[Optional[str]]
        user: Mapped[User] = relationship(
            f"{__name__}.User", back_populates="addresses", foreign_keys="Address.user_id"
        )

    globals()["User"] = User
    base.registry.configure()
    assert User.addresses.property.mapper is inspect(Address)
    assert Address.user.property.mapper is inspect(User)
    assert not User.first.property.uselist
    assert str(User.addresses.property.order_by[0]) == "address.email DESC"


def test_unknown_name(orm: ModuleType, base: Any) -> None:
    class User(base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        others = relationship("Nowhere")

    with pytest.raises(exc.InvalidRequestError, match=r"expression 'Nowhere' failed to locate a name \('Nowhere'\)"):
        base.registry.configure()


def test_ambiguous_name(base: Any) -> None:
    def make(module: str) -> Any:
        namespace = {
            "__module__": module,
            "__tablename__": module.replace(".", "_"),
            "id": mapped_column(Integer, primary_key=True),
        }
        return type(base)("Thing", (base,), namespace)

    first, second = make("app.one"), make("app.two")

    class Ambiguous(base):
        __tablename__ = "ambiguous"
        id: Mapped[int] = mapped_column(primary_key=True)
        thing_id = mapped_column(ForeignKey("app_one.id"))
        thing = relationship("Thing")

    with pytest.raises(exc.InvalidRequestError, match='Multiple classes found for path "Thing"'):
        base.registry.configure()
    assert first is not second


def test_module_qualified_name(base: Any) -> None:
    def make(module: str) -> Any:
        namespace = {
            "__module__": module,
            "__tablename__": module.replace(".", "_"),
            "id": mapped_column(Integer, primary_key=True),
        }
        return type(base)("Thing", (base,), namespace)

    make("app.one")
    second = make("app.two")

    class User(base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        thing_id = mapped_column(ForeignKey("app_two.id"))
        thing = relationship("two.Thing")

    base.registry.configure()
    assert User.thing.property.mapper is inspect(second)


def test_same_name_same_module_warns(base: Any) -> None:
    class Thing(base):
        __tablename__ = "a"
        id: Mapped[int] = mapped_column(primary_key=True)

    kept = Thing
    with pytest.warns(exc.SAWarning, match="already contains a class with the same class name and module name"):

        class Thing(base):
            __tablename__ = "b"
            id: Mapped[int] = mapped_column(primary_key=True)

    assert kept is not Thing


def test_mapped_as_dataclass(base: Any) -> None:
    class User(MappedAsDataclass, base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        name: Mapped[str]
        nick: Mapped[Optional[str]] = mapped_column(default=None, repr=False)
        tags: Mapped[list[Tag]] = relationship(default_factory=list, repr=False, compare=False)

    class Tag(MappedAsDataclass, base, kw_only=True):
        __tablename__ = "tag"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        user_id: Mapped[Optional[int]] = mapped_column(ForeignKey("user.id"), default=None)
        text: Mapped[Optional[str]] = mapped_column(default=None)

    assert list(python_inspect.signature(User).parameters) == ["name", "nick", "tags"]
    assert [field.name for field in dataclasses.fields(User)] == ["id", "name", "nick", "tags"]
    globals()["Tag"] = Tag
    user = User("ed", tags=[Tag()])
    assert (user.name, user.nick, user.id) == ("ed", None, None)
    assert repr(user).endswith("User(id=None, name='ed')")
    assert user.tags[0].text is None and Tag(text="t").text == "t"
    assert User("a") == User("a") and User("a") != User("b")
    with pytest.raises(TypeError):
        Tag(5)


def test_dataclass_decorator(orm: ModuleType) -> None:
    reg = orm.registry()

    @reg.mapped_as_dataclass(unsafe_hash=True, order=True)
    class User:
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(default="x")

    assert User(1) < User(2) and hash(User(1)) == hash(User(1))
    assert User(1).name == "x"


def test_dataclass_errors(orm: ModuleType, base: Any) -> None:
    with pytest.raises(exc.ArgumentError, match="includes dataclasses argument"):

        class User(base):
            __tablename__ = "user"
            id: Mapped[int] = mapped_column(primary_key=True, init=False)

    class Mixin:
        n: Mapped[int]

    with pytest.raises(
        exc.InvalidRequestError, match=r"originates from superclass .*Mixin.*, which is not a dataclass"
    ):

        class Other(Mixin, MappedAsDataclass, base):
            __tablename__ = "other"
            id: Mapped[int] = mapped_column(primary_key=True, init=False)

    with pytest.raises(exc.InvalidRequestError, match="Python dataclasses error encountered when creating dataclass"):

        class Third(MappedAsDataclass, base):
            __tablename__ = "third"
            id: Mapped[int] = mapped_column(primary_key=True, default=1)
            n: Mapped[int]


def test_declare_first_and_last(orm: ModuleType, base: Any) -> None:
    seen = []

    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)

        @classmethod
        def __declare_first__(cls) -> None:
            seen.append("first")

        @classmethod
        def __declare_last__(cls) -> None:
            seen.append("last")

    base.registry.configure()
    assert seen == ["first", "last"]
