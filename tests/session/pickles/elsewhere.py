"""Another process: reads a task, does it, and writes what came of it; both are pickles."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import models
import sqlalchemy as sa


def describe(objects: list[Any]) -> Any:
    """What they look like here, and the same objects, to be looked at where they come from."""
    return [models.looks(obj) for obj in objects], objects


def change(path: str, obj: Any) -> Any:
    """Let a session load what is expired, change the object, and send it back with the change pending."""
    session = models.orm.Session(models.made_engine(path))
    session.add(obj)
    names = [obj.name, [post.title for post in obj.posts], sorted(obj.notes), len(obj.marks)]
    obj.posts.append(models.Post(title="from elsewhere"))
    obj.name = "changed elsewhere"
    session.expunge(obj)
    return names, obj


def write(path: str, obj: Any) -> Any:
    """Flush what was pending when the object left."""
    with models.orm.Session(models.made_engine(path)) as session:
        session.add(obj)
        session.commit()
        return models.looks(session.get(type(obj), obj.id))["values"]


def select(path: str, class_name: str, options: list[Any]) -> Any:
    """Use loader options that were made in another process."""
    class_ = getattr(models, class_name)
    with models.orm.Session(models.made_engine(path)) as session:
        statement = sa.select(class_).options(*options).order_by(class_.id)
        return [models.looks(obj) for obj in session.scalars(statement).unique()]


if __name__ == "__main__":
    name, *arguments = pickle.load(sys.stdin.buffer)
    pickle.dump(globals()[name](*arguments), sys.stdout.buffer)
