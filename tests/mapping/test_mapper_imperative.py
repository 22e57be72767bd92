"""Mappers of imperatively mapped classes: keys, columns, names, what is left out, and what is refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, create_engine, exc, inspect, select


@pytest.fixture
def metadata() -> MetaData:
    return MetaData()


@pytest.fixture
def users(metadata: MetaData) -> Table:
    return Table(
        "users",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(30)),
        Column("nick", String(30)),
    )


@pytest.fixture
def registry(orm: ModuleType, metadata: MetaData) -> Any:
    made = orm.registry(metadata=metadata)
    yield made
    made.dispose()


class TestProperties:
    """Which attributes a class gets from its table."""

    def test_one_attribute_per_column(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users)
        assert mapper is inspect(User)
        assert list(mapper.attrs.keys()) == ["id", "name", "nick"]
        assert [column.name for column in mapper.columns] == ["id", "name", "nick"]
        assert mapper.primary_key == (users.c.id,)
        assert mapper.get_property_by_column(users.c.name).key == "name"
        assert str(mapper) == "Mapper[User(users)]"

    def test_column_prefix(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users, column_prefix="_")
        assert list(mapper.attrs.keys()) == ["_id", "_name", "_nick"]

    def test_include_and_exclude(self, registry: Any, users: Table) -> None:
        class Included:
            pass

        class Excluded:
            pass

        included = registry.map_imperatively(Included, users, include_properties=["id", "nick"])
        excluded = registry.map_imperatively(Excluded, users, exclude_properties=[users.c.nick])
        assert list(included.attrs.keys()) == ["id", "nick"]
        assert list(excluded.attrs.keys()) == ["id", "name"]
        with pytest.raises(Exception, match=r"No column users\.name is configured on mapper"):
            included.get_property_by_column(users.c.name)

    def test_columns_under_other_names(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users, properties={"key": users.c.id, "label": users.c.name})
        assert list(mapper.attrs.keys()) == ["key", "label", "nick"]
        assert User.label.property.columns == [users.c.name]

    def test_a_users_descriptor_wins(self, registry: Any, users: Table) -> None:
        class User:
            @property
            def nick(self) -> str:
                return "fixed"

        mapper = registry.map_imperatively(User, users)
        assert list(mapper.attrs.keys()) == ["id", "name"]

    def test_add_property(self, registry: Any, users: Table, orm: ModuleType) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users)
        orm.configure_mappers()
        mapper.add_property("upper", orm.column_property(users.c.name + "!"))
        assert "upper" in mapper.attrs
        assert str(select(User.upper)) == "SELECT users.name || :name_1 AS anon_1 \nFROM users"


class TestIdentity:
    """Identity keys and primary keys."""

    def test_identity_key_from_primary_key(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users)
        assert mapper.identity_key_from_primary_key([7]) == (User, (7,), None)
        assert mapper.identity_key_from_primary_key([7], identity_token="a") == (User, (7,), "a")

    def test_given_primary_key(self, registry: Any, metadata: MetaData) -> None:
        keyless = Table("keyless", metadata, Column("a", Integer), Column("b", Integer))

        class Row:
            pass

        mapper = registry.map_imperatively(Row, keyless, primary_key=[keyless.c.b, keyless.c.a])
        assert mapper.primary_key == (keyless.c.b, keyless.c.a)

    def test_values_of_an_object(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users)
        user: Any = User()
        user.id = 5
        assert mapper.primary_key_from_instance(user) == (5,) or mapper.primary_key_from_instance(user) == [5]
        assert mapper.identity_key_from_instance(user) == (User, (5,), None)


class TestHierarchies:
    """Single and joined inheritance, structurally."""

    def test_joined(self, registry: Any, users: Table, metadata: MetaData) -> None:
        admins = Table(
            "admins", metadata, Column("id", ForeignKey("users.id"), primary_key=True), Column("level", Integer)
        )

        class User:
            pass

        class Admin(User):
            pass

        base = registry.map_imperatively(User, users)
        mapper = registry.map_imperatively(Admin, admins, inherits=User)
        assert mapper.inherits is base
        assert mapper.base_mapper is base
        assert mapper.isa(base)
        assert not base.isa(mapper)
        assert list(mapper.iterate_to_root()) == [mapper, base]
        assert list(base.self_and_descendants) == [base, mapper]
        assert str(mapper.persist_selectable) == "users JOIN admins ON users.id = admins.id"
        assert mapper.attrs.id.columns == [admins.c.id, users.c.id]
        assert mapper.identity_key_from_primary_key([1]) == (Admin, (1,), None)

    def test_single(self, registry: Any, users: Table) -> None:
        class User:
            pass

        class Admin(User):
            pass

        base = registry.map_imperatively(User, users, polymorphic_on=users.c.nick, polymorphic_identity="user")
        mapper = registry.map_imperatively(Admin, inherits=User, polymorphic_identity="admin")
        assert mapper.single
        assert base.polymorphic_map == {"user": base, "admin": mapper}
        assert mapper.identity_key_from_primary_key([1]) == (User, (1,), None)


class TestRefusals:
    """What cannot be mapped, and how it is said."""

    def test_no_primary_key(self, registry: Any, metadata: MetaData) -> None:
        class Row:
            pass

        table = Table("keyless", metadata, Column("a", Integer))
        with pytest.raises(exc.ArgumentError, match="could not assemble any primary key columns for mapped table"):
            registry.map_imperatively(Row, table)

    def test_no_table(self, registry: Any) -> None:
        class Row:
            pass

        with pytest.raises(exc.ArgumentError, match="has None for a primary table argument"):
            registry.map_imperatively(Row)

    def test_twice(self, registry: Any, users: Table) -> None:
        class User:
            pass

        registry.map_imperatively(User, users)
        with pytest.raises(exc.ArgumentError, match="already has a primary mapper defined"):
            registry.map_imperatively(User, users)

    def test_column_of_another_table(self, registry: Any, users: Table, metadata: MetaData) -> None:
        class User:
            pass

        other = Table("other", metadata, Column("x", Integer))
        with pytest.raises(exc.ArgumentError, match=r"column 'other\.x' is not represented in the mapper's table"):
            registry.map_imperatively(User, users, properties={"x": other.c.x})

    def test_class_that_does_not_inherit(self, registry: Any, users: Table) -> None:
        class User:
            pass

        class Stranger:
            pass

        registry.map_imperatively(User, users)
        with pytest.raises(exc.ArgumentError, match="Class 'Stranger' does not inherit from 'User'"):
            registry.map_imperatively(Stranger, inherits=User)

    def test_unmapped(self, orm: ModuleType) -> None:
        with pytest.raises(orm.exc.UnmappedClassError, match=r"Class 'builtins\.int' is not mapped"):
            orm.class_mapper(int)
        with pytest.raises(exc.ArgumentError, match=r"Class object expected, got '5'\."):
            orm.class_mapper(5)
        with pytest.raises(orm.exc.UnmappedInstanceError, match=r"Class 'builtins\.int' is not mapped"):
            orm.object_mapper(5)
        with pytest.raises(exc.NoInspectionAvailable):
            inspect(int)

    def test_unknown_property(self, registry: Any, users: Table) -> None:
        class User:
            pass

        mapper = registry.map_imperatively(User, users)
        with pytest.raises(exc.InvalidRequestError, match="has no property 'nope'"):
            mapper.get_property("nope")


def test_mapped_anew(orm: ModuleType) -> None:
    """A class that was mapped before leaves nothing of that on a subclass that was not."""

    class User:
        pass

    class Admin(User):
        pass

    first = orm.registry()
    first.map_imperatively(
        User, Table("users", first.metadata, Column("id", Integer, primary_key=True), Column("gone", String))
    )
    orm.configure_mappers()
    first.dispose()

    second = orm.registry()
    users = Table("users", second.metadata, Column("id", Integer, primary_key=True), Column("name", String))
    admins = Table("admins", second.metadata, Column("id", ForeignKey("users.id"), primary_key=True))
    second.map_imperatively(User, users)
    second.map_imperatively(Admin, admins, inherits=User)
    engine = create_engine("sqlite://")
    second.metadata.create_all(engine)
    with orm.Session(engine) as session:
        admin = Admin()
        admin.name = "Ann"
        session.add(admin)
        session.commit()
        assert admin.name == "Ann"
    assert not hasattr(Admin, "gone")


def test_a_version_that_is_no_column(orm: ModuleType, registry: Any, users: Table) -> None:
    """It is found nowhere, and objects are loaded without."""

    class User:
        pass

    mapper = registry.map_imperatively(User, users, version_id_col="name")
    engine = create_engine("sqlite://")
    users.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(users.insert().values(name="Ann"))
    with orm.Session(engine) as session:
        assert session.scalars(select(User)).one().name == "Ann"
    assert mapper.version_id_col == "name"
