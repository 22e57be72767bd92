"""Models of the plan tests, made on either ORM, and what a flush sends."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, create_engine, event

Line = tuple[str, str, int]


def make_models(orm: ModuleType) -> SimpleNamespace:
    """A class for every rule of the flush order."""
    base: Any = orm.declarative_base()
    post_tag = Table(
        "post_tag",
        base.metadata,
        Column("post_id", ForeignKey("post.id"), primary_key=True),
        Column("tag_id", ForeignKey("tag.id"), primary_key=True),
    )

    class User(base):
        __tablename__ = "user"
        id = Column(Integer, primary_key=True)
        name = Column(String)
        addresses = orm.relationship("Address", back_populates="user", cascade="all, delete-orphan")
        posts = orm.relationship("Post", back_populates="user")

    class Address(base):
        __tablename__ = "address"
        id = Column(Integer, primary_key=True)
        email = Column(String)
        user_id = Column(ForeignKey("user.id"))
        user = orm.relationship("User", back_populates="addresses")

    class Post(base):
        __tablename__ = "post"
        id = Column(Integer, primary_key=True)
        title = Column(String)
        user_id = Column(ForeignKey("user.id"))
        user = orm.relationship("User", back_populates="posts")
        tags = orm.relationship("Tag", secondary=post_tag, back_populates="posts")

    class Tag(base):
        __tablename__ = "tag"
        id = Column(Integer, primary_key=True)
        label = Column(String)
        posts = orm.relationship("Post", secondary=post_tag, back_populates="tags")

    class Node(base):
        __tablename__ = "node"
        id = Column(Integer, primary_key=True)
        parent_id = Column(ForeignKey("node.id"))
        children = orm.relationship("Node", back_populates="parent")
        parent = orm.relationship("Node", back_populates="children", remote_side=[id])

    class Person(base):
        __tablename__ = "person"
        id = Column(Integer, primary_key=True)
        favorite_id = Column(ForeignKey("ball.id", use_alter=True))
        balls = orm.relationship("Ball", primaryjoin="Person.id == Ball.person_id", back_populates="person")
        favorite = orm.relationship("Ball", primaryjoin="Person.favorite_id == Ball.id", post_update=True)

    class Ball(base):
        __tablename__ = "ball"
        id = Column(Integer, primary_key=True)
        person_id = Column(ForeignKey("person.id"))
        person = orm.relationship("Person", primaryjoin="Person.id == Ball.person_id", back_populates="balls")

    class Employee(base):
        __tablename__ = "employee"
        id = Column(Integer, primary_key=True)
        name = Column(String)
        kind = Column(String)
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "employee"}

    class Engineer(Employee):
        __tablename__ = "engineer"
        id = Column(ForeignKey("employee.id"), primary_key=True)
        language = Column(String)
        __mapper_args__ = {"polymorphic_identity": "engineer"}

    class Vehicle(base):
        __tablename__ = "vehicle"
        id = Column(Integer, primary_key=True)
        version = Column(Integer, nullable=False)
        motor = orm.relationship("Motor", uselist=False, cascade="all, delete-orphan")
        __mapper_args__ = {"version_id_col": version}

    class Truck(Vehicle):
        __tablename__ = "truck"
        id = Column(ForeignKey("vehicle.id"), primary_key=True)
        load = Column(Integer)

    class Motor(base):
        __tablename__ = "motor"
        vehicle_id = Column(ForeignKey("vehicle.id"), primary_key=True)
        power = Column(Integer)

    orm.configure_mappers()
    classes = [User, Address, Post, Tag, Node, Person, Ball, Employee, Engineer, Vehicle, Truck, Motor]
    return SimpleNamespace(orm=orm, Base=base, **{class_.__name__: class_ for class_ in classes})


class Recorder:
    """The INSERTs, UPDATEs and DELETEs an engine sends: (verb, table, rows), neighbours of one kind in one line."""

    def __init__(self, engine: Any) -> None:
        self.lines: list[Line] = []
        self.selects = 0
        event.listen(engine, "before_cursor_execute", self._record)

    def _record(self, _conn: Any, _cur: Any, sql: str, parameters: Any, context: Any, executemany: bool) -> None:
        words = sql.replace('"', "").split()
        verb = words[0].upper()
        if verb == "SELECT":
            self.selects += 1
        if verb not in ("INSERT", "UPDATE", "DELETE"):
            return
        table = words[1] if verb == "UPDATE" else words[2]
        is_many = executemany and isinstance(parameters, list)  # otherwise the rows stand in one VALUES
        rows = len(parameters) if is_many else sql.split("VALUES", 1)[-1].count("), (") + 1
        self.lines.append((verb, table, rows))

    def statements(self) -> list[Line]:
        return joined(self.lines)


def joined(lines: list[Line]) -> list[Line]:
    """Neighbouring lines of one verb and table as one."""
    found: list[Line] = []
    for verb, table, rows in lines:
        if found and found[-1][:2] == (verb, table):
            found[-1] = (verb, table, found[-1][2] + rows)
        else:
            found.append((verb, table, rows))
    return found


def steps_of(plan: Any) -> list[Line]:
    return joined([(step.kind.upper(), step.table, step.rows) for step in plan.steps])


def open_session(models: SimpleNamespace) -> tuple[Any, Recorder]:
    engine = create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    return models.orm.Session(engine), Recorder(engine)
