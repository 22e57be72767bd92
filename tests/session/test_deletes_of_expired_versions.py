"""Rows are deleted by key and version: a version that has expired is loaded first."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("how", ["expired", "version expired", "made detached", "gone"])
def test_delete(orm: ModuleType, how: str, observed: bool) -> None:
    base: Any = orm.declarative_base()

    class Document(base):
        __tablename__ = "document"
        id = sa.Column(sa.Integer, primary_key=True)
        version = sa.Column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    if observed:
        sa.event.listen(engine, "before_cursor_execute", lambda *args: None)
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        document = Document(id=1)
        if how != "gone":
            session.add(document)
            session.commit()
        if how in ("made detached", "gone"):
            session.expunge_all()
            document = Document(id=1)
            orm.make_transient_to_detached(document)
            session.add(document)
        else:
            session.refresh(document)
            session.expire(document, ["version"] if how == "version expired" else None)
        session.delete(document)
        if how == "gone":
            with pytest.raises(orm.exc.ObjectDeletedError):
                session.flush()
        else:
            session.commit()
            assert session.scalars(sa.select(Document)).all() == []
