"""The part of the zoo that is about relationships, cascades and collections; keys are plain integers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def declare(orm: Any, Base: Any) -> dict[str, Any]:
    """The classes by name."""
    column, relationship = orm.mapped_column, orm.relationship

    def link(name: str, left: str, right: str) -> sa.Table:
        key = f"{left}_id", f"{right}_id" if left != right else f"other_{right}_id"
        return sa.Table(
            name,
            Base.metadata,
            sa.Column(key[0], sa.ForeignKey(f"{left}.id"), primary_key=True),
            sa.Column(key[1], sa.ForeignKey(f"{right}.id"), primary_key=True),
        )

    tagging, membership, friendship = (
        link("tagging", "post", "tag"),
        link("membership", "person", "group"),
        link("friendship", "person", "person"),
    )

    class Named(Base):
        __abstract__ = True
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)

    # --- one-to-many with and without cascades, one-to-one, many-to-many ---

    class User(Named):
        __tablename__ = "user"
        posts = relationship("Post", back_populates="author", order_by="Post.id")
        profile = relationship("Profile", back_populates="user", uselist=False, cascade="all, delete-orphan")
        sessions = relationship("Login", cascade="all, delete-orphan", order_by="Login.id", back_populates="user")

    class Post(Named):
        __tablename__ = "post"
        author_id = column(sa.ForeignKey("user.id"))
        author = relationship("User", back_populates="posts")
        tags = relationship("Tag", secondary=tagging, back_populates="posts", order_by="Tag.id")
        comments = relationship("Comment", back_populates="post", cascade="all", order_by="Comment.id")

    class Tag(Named):
        __tablename__ = "tag"
        posts = relationship("Post", secondary=tagging, back_populates="tags", order_by="Post.id")

    class Comment(Named):
        __tablename__ = "comment"
        post_id = column(sa.ForeignKey("post.id"))
        user_id = column(sa.ForeignKey("user.id"))
        post = relationship("Post", back_populates="comments")
        user = relationship("User")

    class Profile(Named):
        __tablename__ = "profile"
        user_id = column(sa.ForeignKey("user.id"))
        user = relationship("User", back_populates="profile")

    class Login(Named):
        __tablename__ = "login"
        user_id = column(sa.ForeignKey("user.id"))
        user = relationship("User", back_populates="sessions")

    # --- rows that point to their own table, mappers that depend on each other ---

    class Node(Named):
        __tablename__ = "node"
        parent_id = column(sa.ForeignKey("node.id"))
        children = relationship("Node", back_populates="parent", order_by="Node.id", cascade="all")
        parent = relationship("Node", back_populates="children", remote_side="Node.id")

    class Team(Named):
        __tablename__ = "team"
        captain_id = column(sa.ForeignKey("player.id"))
        captain = relationship("Player", foreign_keys=[captain_id], post_update=True)
        players = relationship("Player", foreign_keys="Player.team_id", back_populates="team", order_by="Player.id")

    class Player(Named):
        __tablename__ = "player"
        team_id = column(sa.ForeignKey("team.id"))
        team = relationship("Team", foreign_keys=[team_id], back_populates="players")

    class Egg(Named):
        __tablename__ = "egg"
        hen_id = column(sa.ForeignKey("hen.id"))
        layer = relationship("Hen", foreign_keys=[hen_id], back_populates="eggs")

    class Hen(Named):
        __tablename__ = "hen"
        egg_id = column(sa.ForeignKey("egg.id"))
        hatched_from = relationship("Egg", foreign_keys=[egg_id])
        eggs = relationship(
            "Egg", foreign_keys="Egg.hen_id", back_populates="layer", order_by="Egg.id", cascade="all, delete-orphan"
        )

    class Person(Named):
        __tablename__ = "person"
        groups = relationship(
            "Group", secondary=membership, back_populates="people", collection_class=set, order_by="Group.id"
        )
        friends = relationship(
            "Person",
            secondary=friendship,
            primaryjoin="Person.id == friendship.c.person_id",
            secondaryjoin="Person.id == friendship.c.other_person_id",
            order_by="Person.id",
            back_populates="admirers",
        )
        admirers = relationship(
            "Person",
            secondary=friendship,
            primaryjoin="Person.id == friendship.c.other_person_id",
            secondaryjoin="Person.id == friendship.c.person_id",
            order_by="Person.id",
            back_populates="friends",
        )

    class Group(Named):
        __tablename__ = "group"
        people = relationship(
            "Person",
            secondary=membership,
            back_populates="groups",
            order_by="Person.id",
            cascade="all",
            lazy="selectin",
        )

    # --- collections that are not lists ---

    class Shelf(Named):
        __tablename__ = "shelf"
        books = relationship("Book", collection_class=set, back_populates="shelf", order_by="Book.id")

    class Book(Named):
        __tablename__ = "book"
        shelf_id = column(sa.ForeignKey("shelf.id"))
        shelf = relationship("Shelf", back_populates="books", lazy="joined")

    class Folder(Named):
        __tablename__ = "folder"
        files = relationship(
            "File",
            collection_class=orm.attribute_keyed_dict("name"),
            cascade="all, delete-orphan",
            back_populates="folder",
            order_by="File.id",
        )

    class File(Named):
        __tablename__ = "file"
        folder_id = column(sa.ForeignKey("folder.id"))
        folder = relationship("Folder", back_populates="files")

    # --- deletes that the database is told to do, and single parents ---

    class Box(Named):
        __tablename__ = "box"
        items = relationship("Item", cascade="all, delete-orphan", passive_deletes=True, order_by="Item.id")

    class Item(Named):
        __tablename__ = "item"
        box_id = column(sa.ForeignKey("box.id", ondelete="CASCADE"))

    class Crate(Named):
        __tablename__ = "crate"
        things = relationship("Thing", passive_deletes="all", back_populates="crate", order_by="Thing.id")

    class Thing(Named):
        __tablename__ = "thing"
        crate_id = column(sa.ForeignKey("crate.id", ondelete="SET NULL"))
        crate = relationship("Crate", back_populates="things", active_history=True)

    class Car(Named):
        __tablename__ = "car"
        motor_id = column(sa.ForeignKey("motor.id"))
        motor = relationship("Motor", single_parent=True, cascade="all, delete-orphan", back_populates="car")

    class Motor(Named):
        __tablename__ = "motor"
        car = relationship("Car", uselist=False, back_populates="motor")

    class Desk(Named):
        __tablename__ = "desk"
        lamp = relationship("Lamp", uselist=False, back_populates="desk", cascade="save-update")

    class Lamp(Named):
        __tablename__ = "lamp"
        desk_id = column(sa.ForeignKey("desk.id"))
        desk = relationship("Desk", back_populates="lamp", cascade="")

    found = (
        *(User, Post, Tag, Comment, Profile, Login, Node, Team, Player, Egg, Hen, Person, Group, Shelf, Book),
        *(Folder, File, Box, Item, Crate, Thing, Car, Motor, Desk, Lamp),
    )
    return {cls.__name__: cls for cls in found}
