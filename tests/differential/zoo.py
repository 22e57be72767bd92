"""Nine classes with every kind of relationship and cascade, declared once per ORM."""

from __future__ import annotations

import functools
import importlib
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa


@functools.cache
def declare(orm_name: str) -> SimpleNamespace:
    """The classes, declared with `sqlalchemy.orm` or `rustalchemy.orm`."""
    orm: Any = importlib.import_module(orm_name)
    column, relationship = orm.mapped_column, orm.relationship

    class Base(orm.DeclarativeBase):
        pass

    tagging = sa.Table(
        "tagging",
        Base.metadata,
        sa.Column("post_id", sa.ForeignKey("post.id"), primary_key=True),
        sa.Column("tag_id", sa.ForeignKey("tag.id"), primary_key=True),
    )

    class User(Base):
        __tablename__ = "user"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        posts = relationship("Post", back_populates="author", order_by="Post.id")
        profile = relationship("Profile", back_populates="user", uselist=False, cascade="all, delete-orphan")
        sessions = relationship("Login", cascade="all, delete-orphan", order_by="Login.id", back_populates="user")

    class Post(Base):
        __tablename__ = "post"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        author_id = column(sa.ForeignKey("user.id"))
        author = relationship("User", back_populates="posts")
        tags = relationship("Tag", secondary=tagging, back_populates="posts", order_by="Tag.id")
        comments = relationship("Comment", back_populates="post", cascade="all", order_by="Comment.id")

    class Tag(Base):
        __tablename__ = "tag"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        posts = relationship("Post", secondary=tagging, back_populates="tags", order_by="Post.id")

    class Comment(Base):
        __tablename__ = "comment"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        post_id = column(sa.ForeignKey("post.id"))
        user_id = column(sa.ForeignKey("user.id"))
        post = relationship("Post", back_populates="comments")
        user = relationship("User")

    class Profile(Base):
        __tablename__ = "profile"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        user_id = column(sa.ForeignKey("user.id"))
        user = relationship("User", back_populates="profile")

    class Login(Base):
        __tablename__ = "login"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        user_id = column(sa.ForeignKey("user.id"))
        user = relationship("User", back_populates="sessions")

    class Node(Base):
        __tablename__ = "node"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        parent_id = column(sa.ForeignKey("node.id"))
        children = relationship("Node", back_populates="parent", order_by="Node.id", cascade="all")
        parent = relationship("Node", back_populates="children", remote_side=[id])

    class Team(Base):
        __tablename__ = "team"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        captain_id = column(sa.ForeignKey("player.id"))
        captain = relationship("Player", foreign_keys=[captain_id], post_update=True)
        players = relationship("Player", foreign_keys="Player.team_id", back_populates="team", order_by="Player.id")

    class Player(Base):
        __tablename__ = "player"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        team_id = column(sa.ForeignKey("team.id"))
        team = relationship("Team", foreign_keys=[team_id], back_populates="players")

    orm.configure_mappers()
    classes = (User, Post, Tag, Comment, Profile, Login, Node, Team, Player)
    return SimpleNamespace(orm=orm, Base=Base, classes={c.__name__: c for c in classes})


COLLECTIONS = {
    "User": {"posts": "Post", "sessions": "Login"},
    "Post": {"tags": "Tag", "comments": "Comment"},
    "Tag": {"posts": "Post"},
    "Node": {"children": "Node"},
    "Team": {"players": "Player"},
}
SCALARS = {
    "User": {"profile": "Profile"},
    "Post": {"author": "User"},
    "Comment": {"post": "Post", "user": "User"},
    "Profile": {"user": "User"},
    "Login": {"user": "User"},
    "Node": {"parent": "Node"},
    "Team": {"captain": "Player"},
    "Player": {"team": "Team"},
}
