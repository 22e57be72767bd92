"""Association proxies of scalars and of other proxies, their factories, pickling, and what is refused."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql

from .tagged import mapped


def profiles(sa: SimpleNamespace, **kw: Any) -> Any:
    """`(User, Profile)`, one to one; the proxy is `User.city`."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Profile(Base):
        __tablename__ = "profile"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        city = orm.mapped_column(sql.String)

        def __init__(self, city: str | None = None) -> None:
            self.city = city

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        profile = orm.relationship(Profile, uselist=False)
        city = sa.associationproxy.association_proxy("profile", "city", **kw)

    return User, Profile


def test_scalar(sa: SimpleNamespace) -> None:
    """None without a related object; a value makes one, or changes the one there is."""
    User, Profile = profiles(sa)
    user = User()
    assert user.city is None
    user.city = None
    assert user.profile is None
    user.city = "Rome"
    profile = user.profile
    assert isinstance(profile, Profile) and profile.city == "Rome"
    user.city = "Oslo"
    assert user.profile is profile and profile.city == "Oslo"
    user.city = None
    assert user.profile is profile and profile.city is None


def test_deleting_a_scalar(sa: SimpleNamespace) -> None:
    """The value goes, and the related object too."""
    User, _ = profiles(sa)
    user = User(city="Rome")
    profile = user.profile
    del user.city
    assert user.profile is None and profile.city is None


def test_cascade_scalar_deletes(sa: SimpleNamespace) -> None:
    User, _ = profiles(sa, cascade_scalar_deletes=True)
    user = User(city="Rome")
    profile = user.profile
    user.city = None
    assert user.profile is None and profile.city is None


def test_create_on_none_assignment(sa: SimpleNamespace) -> None:
    User, Profile = profiles(sa, create_on_none_assignment=True)
    user = User()
    user.city = None
    assert isinstance(user.profile, Profile)


def test_two_ways_of_none_exclude_each_other(sa: SimpleNamespace) -> None:
    with pytest.raises(sql.exc.ArgumentError, match="mutually exclusive"):
        sa.associationproxy.association_proxy("a", "b", cascade_scalar_deletes=True, create_on_none_assignment=True)


def test_accessors_of_a_scalar(sa: SimpleNamespace) -> None:
    """The factory is asked once for the class, with None in place of a kind of collection."""
    asked = []

    def accessors(collection_class: Any, proxy: Any) -> Any:
        asked.append((collection_class, proxy.value_attr))
        return (
            lambda profile: profile and profile.city.upper(),
            lambda profile, value: setattr(profile, "city", value.lower()),
        )

    User, Profile = profiles(sa, getset_factory=accessors, creator=lambda city: Profile(city + "!"))
    first, second = User(city="Rome"), User(profile=Profile("oslo"))
    assert (first.city, second.city) == ("ROME!", "OSLO")
    second.city = "BERN"
    assert second.profile.city == "bern"
    assert asked == [(None, "city")]


def test_accessors_of_a_dictionary(sa: SimpleNamespace) -> None:
    """The setter of a dictionary is told the key."""
    written = []

    def accessors(collection_class: Any, proxy: Any) -> Any:
        assert collection_class is dict
        return (lambda tag: tag.name.upper()), lambda tag, key, value: written.append((tag.name, key, value))

    Post, _ = mapped(sa, dict, getset_factory=accessors)
    post = Post(names={"k": "v"})
    post.names["k"] = "w"
    assert post.names == {"k": "V"} and written == [("v", "k", "w")]


class Names:
    """A proxy of one's own, which does not derive from anything."""

    def __init__(self, lazy_collection: Any, creator: Any, value_attr: str, parent: Any) -> None:
        self.lazy_collection, self.creator, self.value_attr = lazy_collection, creator, value_attr

    def __iter__(self) -> Any:
        return (getattr(tag, self.value_attr) for tag in self.lazy_collection())

    def add_all(self, values: Any) -> None:
        self.lazy_collection().extend(self.creator(value) for value in values)

    def clear(self) -> None:
        self.lazy_collection().clear()


def test_proxy_of_ones_own(sa: SimpleNamespace) -> None:
    Post, Tag = mapped(sa, proxy_factory=Names, proxy_bulk_set=Names.add_all)
    post = Post(tags=[Tag("a")])
    assert type(post.names) is Names and list(post.names) == ["a"]
    post.names.add_all("bc")
    assert post.names is post.names and [tag.name for tag in post.tags] == ["a", "b", "c"]


def test_assignment_to_a_proxy_of_ones_own(ours: SimpleNamespace) -> None:
    """It needs no private method, as SQLAlchemy's does: it is cleared and filled with the function that was given."""
    Post, Tag = mapped(ours, proxy_factory=Names, proxy_bulk_set=Names.add_all)
    post = Post(tags=[Tag("a")])
    post.names = ["b"]
    assert [tag.name for tag in post.tags] == ["b"]
    Post, _ = mapped(ours, proxy_factory=Names)
    with pytest.raises(sql.exc.ArgumentError, match="no proxy_bulk_set"):
        Post(names=["b"])


def test_bulk_set_of_a_list(sa: SimpleNamespace) -> None:
    Post, _ = mapped(sa, proxy_bulk_set=lambda proxy, values: [proxy.append(value * 2) for value in values])
    assert Post(names=["a", "b"]).names == ["aa", "bb"]


def chain(sa: SimpleNamespace) -> Any:
    """`(User, Club)`: `User.clubs` over memberships, `User.cities` over clubs' proxies of cities."""
    orm, proxy = sa.orm, sa.associationproxy.association_proxy

    class Base(orm.DeclarativeBase):
        pass

    class City(Base):
        __tablename__ = "city"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)

    class Club(Base):
        __tablename__ = "club"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)
        city_id = orm.mapped_column(sql.ForeignKey("city.id"))
        city = orm.relationship(City)
        city_name = proxy("city", "name", creator=lambda name: City(name=name))

    class Membership(Base):
        __tablename__ = "membership"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        club_id = orm.mapped_column(sql.ForeignKey("club.id"))
        club = orm.relationship(Club)
        city_name = proxy("club", "city_name")

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        memberships = orm.relationship(Membership)
        clubs = proxy("memberships", "club", creator=lambda club: Membership(club=club))
        cities = proxy("memberships", "city_name")

    return User, Club


def test_chain(sa: SimpleNamespace) -> None:
    """A proxy of a proxy reads, and writes, through both."""
    User, Club = chain(sa)
    user = User(clubs=[Club(name="chess", city_name="Rome"), Club(name="go")])
    assert [m.club.name for m in user.memberships] == ["chess", "go"]
    assert user.cities == ["Rome", None]
    user.cities[0] = "Oslo"
    assert user.clubs[0].city.name == "Oslo"
    engine = sql.create_engine("sqlite://")
    User.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        session.add(user)
        session.commit()
        assert session.scalars(sql.select(User).where(User.cities.contains("Oslo"))).all() == [user]
        assert session.scalars(sql.select(User).where(User.cities.contains("Rome"))).all() == []
        chess = session.scalars(sql.select(Club).filter_by(name="chess")).one()
        assert session.scalars(sql.select(User).where(User.clubs.contains(chess))).all() == [user]


def test_state_of_the_class(sa: SimpleNamespace) -> None:
    """What a descriptor says about itself, by way of the mapper and by way of the class."""
    Post, Tag = mapped(sa, info={"shown": True})
    descriptor = sql.inspect(Post).all_orm_descriptors["names"]
    assert isinstance(descriptor, sa.associationproxy.AssociationProxy)
    assert descriptor.extension_type is sa.associationproxy.AssociationProxyExtensionType.ASSOCIATION_PROXY
    assert descriptor.is_attribute and not descriptor.is_property
    proxy = descriptor.for_class(Post)
    assert proxy is Post.names
    assert (proxy.target_class, proxy.owning_class, proxy.scalar) == (Tag, Post, False)
    assert (proxy.target_collection, proxy.value_attr) == ("tags", "name")
    assert [a.key for a in proxy.attr] == ["tags", "name"]
    assert proxy.info == descriptor.info == {"shown": True}
    assert repr(proxy) == "ColumnAssociationProxyInstance(AssociationProxy('tags', 'name'))"
    assert Post.__dict__["names"].__get__(None, None) is descriptor


def test_before_the_class_is_mapped(sa: SimpleNamespace) -> None:
    class Mixin:
        names = sa.associationproxy.association_proxy("tags", "name")

    assert isinstance(Mixin.names, sa.associationproxy.AssociationProxy)
    assert "names" in repr(Mixin.__dict__)


def test_every_class_has_its_own(sa: SimpleNamespace) -> None:
    """One descriptor of a base serves subclasses, and each has a proxy for itself."""
    Post, _ = mapped(sa)
    sub = type("Sub", (Post,), {})
    assert sub.names.owning_class is sub and Post.names.owning_class is Post
    assert sub(names=["a"]).names == ["a"]


def test_subclasses_of_the_target(sa: SimpleNamespace) -> None:
    """An attribute that only subclasses of the target have is found by the object."""
    orm = sa.orm

    class Base(orm.DeclarativeBase):
        pass

    class Engine(Base):
        __tablename__ = "engine"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        type = orm.mapped_column(sql.String)
        __mapper_args__ = {"polymorphic_on": "type"}

    class Diesel(Engine):
        __mapper_args__ = {"polymorphic_identity": "diesel"}
        tank = orm.mapped_column(sql.Integer, nullable=True)

    class Electric(Engine):
        __mapper_args__ = {"polymorphic_identity": "electric"}

        @property
        def tank(self) -> str:
            return "none"

    class Car(Base):
        __tablename__ = "car"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        engine_id = orm.mapped_column(sql.ForeignKey("engine.id"))
        engine = orm.relationship(Engine)
        tank = sa.associationproxy.association_proxy("engine", "tank")

    diesel, electric = Car(engine=Diesel(tank=40)), Car(engine=Electric())
    assert (diesel.tank, electric.tank, Car().tank) == (40, "none", None)
    diesel.tank = 50
    assert diesel.engine.tank == 50
    for ambiguous in (lambda: Car.tank == 5, lambda: Car.tank != 5, Car.tank.any, Car.tank.has):
        with pytest.raises(AttributeError, match="not directly mapped on class"):
            ambiguous()


def test_not_over_a_relationship(sa: SimpleNamespace) -> None:
    _, Tag = mapped(sa)
    Tag.post_key = sa.associationproxy.association_proxy("post_id", "key")
    with pytest.raises(NotImplementedError, match="non-relationship intermediary"):
        _ = Tag.post_key


def test_target_that_cannot_be_read(sa: SimpleNamespace) -> None:
    class Broken:
        def __get__(self, instance: Any, owner: Any) -> Any:
            raise ValueError("no")

    Post, Tag = mapped(sa)
    type.__setattr__(Tag, "broken", Broken())
    Post.broken = sa.associationproxy.association_proxy("tags", "broken")
    with pytest.raises(sql.exc.InvalidRequestError, match=r'unexpected error when trying .* "Tag\.broken".*: no'):
        _ = Post.broken


class PlainBase:
    """The classes of what is pickled can be found by name; they are mapped by a test."""

    def __init__(self, name: str = "") -> None:
        self.name = name


class Holder(PlainBase):
    pass


class Thing(PlainBase):
    pass


@pytest.fixture(params=[list, set, dict])
def holder(request: pytest.FixtureRequest, sa: SimpleNamespace) -> Any:
    registry = sa.orm.registry()
    table = sql.Table("holder", registry.metadata, sql.Column("id", sql.Integer, primary_key=True))
    things = sql.Table(
        "thing",
        registry.metadata,
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("name", sql.String),
        sql.Column("holder_id", sql.ForeignKey("holder.id")),
    )
    kind = sa.orm.attribute_keyed_dict("name") if request.param is dict else request.param
    registry.map_imperatively(Thing, things)
    registry.map_imperatively(Holder, table, properties={"things": sa.orm.relationship(Thing, collection_class=kind)})
    creator = thing_of_key if request.param is dict else None
    Holder.names = sa.associationproxy.association_proxy("things", "name", creator=creator)  # type: ignore[attr-defined]
    made: Any = Holder()
    made.names = {"a": "a", "b": "b"} if request.param is dict else request.param(["a", "b"])
    yield made
    registry.dispose()
    del Holder.names  # type: ignore[attr-defined]


def thing_of_key(key: str, value: str) -> Thing:
    return Thing(key)


def test_pickled_proxy(holder: Any) -> None:
    """A proxy brings its object along, and works."""
    proxy = pickle.loads(pickle.dumps(holder.names))
    assert proxy == holder.names and type(proxy) is type(holder.names)
    proxy.clear()
    assert len(holder.names) == 2 and not proxy.lazy_collection.parent.things


def test_pickled_object(holder: Any) -> None:
    """The proxy of an unpickled object is its own."""
    other = pickle.loads(pickle.dumps(holder))
    assert other.names == holder.names
    other.names.clear()
    assert not other.things and len(holder.things) == 2


def test_copied_object(holder: Any) -> None:
    """A copy does not write through the proxy of its original."""
    names = holder.names
    other = copy.copy(holder)
    other.things = type(holder.things)()
    assert not other.names and names is holder.names and len(names) == 2


def test_object_with_proxies_goes(sa: SimpleNamespace) -> None:
    """Object, proxy and collection refer to each other in a circle, which the garbage collector can break."""
    Post, _ = mapped(sa)
    post = Post(names=["a"])
    reference, proxy = weakref.ref(post), post.names
    del post
    gc.collect()
    assert reference() is not None and proxy == ["a"]
    del proxy
    gc.collect()
    assert reference() is None


def test_an_object_is_pickled_without_functions(sa: SimpleNamespace, holder: Any) -> None:
    """That a proxy was read does not make its object harder to pickle, whatever the creator is."""
    Holder.__dict__["names"].creator = lambda *given: Thing(*given)
    if sa.name == "sqlalchemy":
        with pytest.raises(AttributeError, match="Can't pickle"):
            pickle.dumps(holder)
    else:
        assert pickle.loads(pickle.dumps(holder)).names == holder.names
