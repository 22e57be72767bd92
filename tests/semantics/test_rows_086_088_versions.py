"""Rows 86–88: version ids made by the program, by hand and by the server; rows that are not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Integer, String, Table


def documents(bench: Any, *, server: bool = False, **mapper_args: Any) -> Any:
    """A class with a version; with ``server`` the database makes it."""
    orm = bench.orm

    class Document(bench.Base):
        __tablename__ = "documents"
        id = orm.mapped_column(Integer, primary_key=True)
        if server:
            version = orm.mapped_column(Integer, nullable=False, server_default="1", onupdate=sa.text("version + 1"))
        else:
            version = orm.mapped_column(Integer, nullable=False)
        title = orm.mapped_column(String)
        pages = orm.relationship("Page", order_by="Page.id", back_populates="document")
        __mapper_args__ = {"version_id_col": version, **mapper_args}

    class Page(bench.Base):
        __tablename__ = "pages"
        id = orm.mapped_column(Integer, primary_key=True)
        document_id = orm.mapped_column(ForeignKey("documents.id"))
        document = orm.relationship("Document", back_populates="pages")

    bench.create()
    return SimpleNamespace(Document=Document, Page=Page)


def test_086_version_counts_up(bench: Any) -> None:
    d = documents(bench)
    document = d.Document(id=1, title="a")
    session = bench.session()
    session.add(document)
    session.flush()
    document.title = "b"
    session.flush()
    assert bench.told() == [
        "INSERT INTO documents (id, version, title) VALUES (1, 1, 'a')",
        "UPDATE documents SET version=2, title='b' WHERE documents.id = 1 AND documents.version = 1",
    ]
    assert document.version == 2
    document.title = "b"
    session.flush()
    assert bench.told() == []
    session.rollback()
    session.add(document)
    session.commit()
    assert (document.version, bench.rows("documents")) == (1, [(1, 1, "b")])


def test_086_stale_update(bench: Any) -> None:
    d = documents(bench)
    document = d.Document(id=1, title="a")
    session = bench.saved(document)
    assert document.version == 1
    bench.meanwhile(session, "UPDATE documents SET version = 5")
    document.title = "b"
    assert bench.outcome(session.flush) == [
        ("StaleDataError: UPDATE statement on table 'documents' expected to update 1 row(s); 0 were matched.")
    ]
    assert bench.told() == [
        "UPDATE documents SET version=2, title='b' WHERE documents.id = 1 AND documents.version = 1"
    ]
    session.rollback()
    assert (document.version, document.title) == (1, "a")


def test_086_stale_delete(bench: Any) -> None:
    d = documents(bench)
    document = d.Document(id=1, title="a")
    session = bench.saved(document)
    assert document.version == 1
    bench.meanwhile(session, "UPDATE documents SET version = 5")
    session.delete(document)
    assert bench.outcome(session.flush) == [
        (
            "StaleDataError: DELETE statement on table 'documents' expected to delete 1 row(s); 0 were "
            "matched. Please set confirm_deleted_rows=False within the mapper configuration to prevent this "
            "warning."
        )
    ]
    assert bench.told() == ["SELECT pages", "DELETE FROM documents WHERE documents.id = 1 AND documents.version = 1"]
    session.rollback()
    assert bench.states(document) == ["persistent"]


def test_086_several_rows_of_which_one_is_stale(bench: Any) -> None:
    d = documents(bench)
    documents_ = [d.Document(id=n, title="a") for n in (1, 2, 3)]
    session = bench.saved(*documents_)
    assert [document.version for document in documents_] == [1, 1, 1]
    bench.meanwhile(session, "UPDATE documents SET version = 5 WHERE id = 2")
    for document in documents_:
        document.title = "b"
    assert bench.outcome(session.flush) == [
        ("StaleDataError: UPDATE statement on table 'documents' expected to update 3 row(s); 2 were matched.")
    ]
    session.rollback()
    assert [document.version for document in documents_] == [1, 1, 1]
    bench.meanwhile(session, "UPDATE documents SET version = 5 WHERE id = 2")
    for document in documents_:
        session.delete(document)
    assert bench.outcome(session.flush) == [
        (
            "StaleDataError: DELETE statement on table 'documents' expected to delete 3 row(s); 2 were "
            "matched. Please set confirm_deleted_rows=False within the mapper configuration to prevent this "
            "warning."
        )
    ]


def test_086_value_set_by_hand(bench: Any) -> None:
    d = documents(bench)
    document = d.Document(id=1, title="a", version=4)
    session = bench.session()
    session.add(document)
    session.flush()
    assert (document.version, bench.told()) == (1, ["INSERT INTO documents (id, version, title) VALUES (1, 1, 'a')"])
    document.version = 9
    session.flush()
    document.title, document.version = "b", 20
    session.flush()
    assert (document.version, bench.told()) == (
        20,
        [
            "UPDATE documents SET version=9 WHERE documents.id = 1 AND documents.version = 1",
            "UPDATE documents SET version=20, title='b' WHERE documents.id = 1 AND documents.version = 9",
        ],
    )
    document.version = None
    assert bench.outcome(session.flush) == ["IntegrityError: NOT NULL constraint failed: documents.version"]


def test_086_generator_of_ones_own(bench: Any) -> None:
    versions: list[Any] = []

    def generate(old: Any) -> int:
        versions.append(old)
        return 100 if old is None else int(old) + 10

    d = documents(bench, version_id_generator=generate)
    document = d.Document(id=1, title="a")
    session = bench.session()
    session.add(document)
    session.flush()
    document.title = "b"
    session.flush()
    session.delete(document)
    session.flush()
    assert (bench.told(), versions) == (
        [
            "INSERT INTO documents (id, version, title) VALUES (1, 100, 'a')",
            "UPDATE documents SET version=110, title='b' WHERE documents.id = 1 AND documents.version = 100",
            "SELECT pages",
            "DELETE FROM documents WHERE documents.id = 1 AND documents.version = 110",
        ],
        [None, 100],
    )


def test_086_no_generator(bench: Any) -> None:
    d = documents(bench, version_id_generator=False)
    document = d.Document(id=1, title="a")
    session = bench.session()
    session.add(document)
    assert bench.outcome(session.flush) == ["IntegrityError: NOT NULL constraint failed: documents.version"]
    session.rollback()
    document.version = 1
    session.add(document)
    session.commit()
    bench.told()
    document.title = "b"
    session.flush()
    document.title, document.version = "c", 2
    session.flush()
    assert (bench.told(), document.version) == (
        [
            "SELECT documents",
            "UPDATE documents SET title='b' WHERE documents.id = 1 AND documents.version = 1",
            "UPDATE documents SET version=2, title='c' WHERE documents.id = 1 AND documents.version = 1",
        ],
        2,
    )


def server_versions(bench: Any, eager_defaults: Any) -> list[Any]:
    """What is sent where the database makes the versions."""
    d = documents(bench, server=True, version_id_generator=False, eager_defaults=eager_defaults)
    one, two = d.Document(id=1, title="a"), d.Document(id=2, title="b")
    session = bench.session()
    session.add_all([one, two])
    session.flush()
    assert [o.version for o in (one, two)] == [1, 1]
    seen = [bench.told()]
    one.title = two.title = "c"
    session.flush()
    assert [o.version for o in (one, two)] == [2, 2]
    seen += [bench.told()]
    bench.meanwhile(session, "UPDATE documents SET version = 7 WHERE id = 2")
    two.title = "d"
    return [*seen, bench.outcome(session.flush)]


@pytest.mark.parametrize("eager_defaults", ["auto", True])
def test_086_version_of_the_server(bench: Any, eager_defaults: Any) -> None:
    assert server_versions(bench, eager_defaults) == [
        [
            "INSERT INTO documents (id, title) VALUES (1, 'a') RETURNING id, version",
            "INSERT INTO documents (id, title) VALUES (2, 'b') RETURNING id, version",
        ],
        [
            (
                "UPDATE documents SET version=version + 1, title='c' WHERE documents.id = 1 AND "
                "documents.version = 1 RETURNING version"
            ),
            (
                "UPDATE documents SET version=version + 1, title='c' WHERE documents.id = 2 AND "
                "documents.version = 1 RETURNING version"
            ),
        ],
        [("StaleDataError: UPDATE statement on table 'documents' expected to update 1 row(s); 0 were matched.")],
    ]


def test_086_version_of_the_server_not_eager(bench: Any) -> None:
    assert server_versions(bench, False) == [
        [
            "INSERT INTO documents (id, title) VALUES (1, 'a')",
            "INSERT INTO documents (id, title) VALUES (2, 'b')",
            "SELECT documents",
            "SELECT documents",
        ],
        [
            (
                "UPDATE documents SET version=version + 1, title='c' WHERE documents.id = 1 AND "
                "documents.version = 1 RETURNING version"
            ),
            (
                "UPDATE documents SET version=version + 1, title='c' WHERE documents.id = 2 AND "
                "documents.version = 1 RETURNING version"
            ),
        ],
        [("StaleDataError: UPDATE statement on table 'documents' expected to update 1 row(s); 0 were matched.")],
    ]


def test_086_version_of_the_server_with_an_expression(bench: Any) -> None:
    d = documents(bench, server=True, version_id_generator=False)
    document = d.Document(id=1, title="a")
    session = bench.session()
    session.add(document)
    session.flush()
    bench.told()
    document.title = sa.func.upper("b")
    session.flush()
    assert (document.version, document.title) == (2, "B")
    assert bench.told() == [
        (
            "UPDATE documents SET version=version + 1, title=upper('b') WHERE documents.id = 1 AND "
            "documents.version = 1 RETURNING version"
        ),
        "SELECT documents",
    ]
    document.id = d.Document.id + 3
    session.flush()
    assert (document.version, document.id) == (3, 4)
    assert bench.told() == [
        (
            "UPDATE documents SET id=(documents.id + 3), version=version + 1 WHERE documents.id = 1 AND "
            "documents.version = 2 RETURNING id, version"
        )
    ]
    session.commit()
    assert bench.rows("documents") == [(4, 3, "B")]


def hierarchy(bench: Any, *, base: bool, sub: bool) -> SimpleNamespace:
    """Joined inheritance where both tables have a version column, one of which may be in use."""
    orm = bench.orm
    bases = Table(
        "bases",
        bench.Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("version", Integer),
        Column("data", String),
    )
    subs = Table(
        "subs",
        bench.Base.metadata,
        Column("id", ForeignKey("bases.id"), primary_key=True),
        Column("version", Integer),
        Column("more", String),
    )

    class Whole(bench.Base):
        __table__ = bases
        __mapper_args__ = {"version_id_col": bases.c.version} if base else {}

    class Part(Whole):
        __table__ = subs
        id = orm.column_property(subs.c.id, bases.c.id)
        version = orm.column_property(subs.c.version, bases.c.version)
        __mapper_args__ = {"version_id_col": subs.c.version} if sub else {}

    bench.create()
    return SimpleNamespace(Whole=Whole, Part=Part)


def change_part(bench: Any, *, base: bool, sub: bool) -> list[Any]:
    """Insert, change each table, and delete."""
    h = hierarchy(bench, base=base, sub=sub)
    part = h.Part(data="a", more="x")
    session = bench.session()
    session.add(part)
    session.flush()
    seen = [bench.told()]
    for name in ("data", "more"):
        setattr(part, name, name)
        session.flush()
        seen += [part.version, bench.told()]
    session.delete(part)
    session.flush()
    return [*seen, bench.told()]


def test_086_version_of_the_base_table(bench: Any) -> None:
    assert change_part(bench, base=True, sub=False) == [
        [
            "INSERT INTO bases (version, data) VALUES (1, 'a')",
            "INSERT INTO subs (id, version, more) VALUES (1, 1, 'x')",
        ],
        2,
        ["UPDATE bases SET version=2, data='data' WHERE bases.id = 1 AND bases.version = 1"],
        3,
        [
            "UPDATE bases SET version=3 WHERE bases.id = 1 AND bases.version = 2",
            "UPDATE subs SET more='more' WHERE subs.id = 1",
        ],
        ["DELETE FROM subs WHERE subs.id = 1", "DELETE FROM bases WHERE bases.id = 1 AND bases.version = 3"],
    ]


def test_086_version_of_the_own_table(bench: Any) -> None:
    assert change_part(bench, base=False, sub=True) == [
        [
            "INSERT INTO bases (version, data) VALUES (NULL, 'a')",
            "INSERT INTO subs (id, version, more) VALUES (1, 1, 'x')",
        ],
        2,
        [
            "UPDATE bases SET data='data' WHERE bases.id = 1",
            "UPDATE subs SET version=2 WHERE subs.id = 1 AND subs.version = 1",
        ],
        3,
        ["UPDATE subs SET version=3, more='more' WHERE subs.id = 1 AND subs.version = 2"],
        ["DELETE FROM subs WHERE subs.id = 1 AND subs.version = 3", "DELETE FROM bases WHERE bases.id = 1"],
    ]


def test_086_versions_of_both_tables(bench: Any) -> None:
    h: list[Any] = []
    assert bench.outcome(lambda: h.append(hierarchy(bench, base=True, sub=True))) == [
        (
            "SAWarning: Inheriting version_id_col 'version' does not match inherited version_id_col "
            "'version' and will not automatically populate the inherited versioning column. version_id_col "
            "should only be specified on the base-most mapper that includes versioning."
        )
    ]
    part = h[0].Part(data="a", more="x")
    session = bench.session()
    session.add(part)
    session.flush()
    assert (bench.told(), part.version) == (
        [
            "INSERT INTO bases (version, data) VALUES (NULL, 'a')",
            "INSERT INTO subs (id, version, more) VALUES (1, 1, 'x')",
        ],
        1,
    )
    part.more = "y"
    session.flush()
    assert (bench.told(), part.version) == (
        ["UPDATE subs SET version=2, more='y' WHERE subs.id = 1 AND subs.version = 1"],
        2,
    )


def test_087_confirm_deleted_rows(bench: Any) -> None:
    orm = bench.orm

    class Sure(bench.Base):
        __tablename__ = "sures"
        id = orm.mapped_column(Integer, primary_key=True)

    class Unsure(bench.Base):
        __tablename__ = "unsures"
        id = orm.mapped_column(Integer, primary_key=True)
        __mapper_args__ = {"confirm_deleted_rows": False}

    bench.create()
    objects = [Sure(id=1), Sure(id=2), Unsure(id=1), Unsure(id=2)]
    session = bench.saved(*objects)
    for obj in objects:
        session.refresh(obj)
    bench.meanwhile(session, "DELETE FROM sures WHERE id = 1")
    bench.meanwhile(session, "DELETE FROM unsures WHERE id = 1")
    for obj in objects:
        session.delete(obj)
    assert bench.outcome(session.flush) == [
        (
            "SAWarning: DELETE statement on table 'sures' expected to delete 2 row(s); 1 were matched. "
            "Please set confirm_deleted_rows=False within the mapper configuration to prevent this warning."
        )
    ]
    assert bench.told() == [
        "DELETE FROM sures WHERE sures.id = 1",
        "DELETE FROM sures WHERE sures.id = 2",
        "DELETE FROM unsures WHERE unsures.id = 1",
        "DELETE FROM unsures WHERE unsures.id = 2",
    ]
    assert set(bench.states(*objects)) == {"deleted"}


def test_088_collection_only_change(bench: Any) -> None:
    d = documents(bench)
    calls: list[str] = []
    for name in ("before_update", "after_update"):
        sa.event.listen(d.Document, name, lambda mapper, connection, target, name=name: calls.append(name))
    document = d.Document(id=1, title="a")
    session = bench.saved(document)
    assert document.version == 1
    document.pages.append(d.Page(id=1))
    bench.told()
    assert (document in session.dirty, session.is_modified(document)) == (True, True)
    session.flush()
    assert (bench.told(), calls, document.version) == (
        ["INSERT INTO pages (id, document_id) VALUES (1, 1)"],
        ["before_update", "after_update"],
        1,
    )


def test_088_no_batch(bench: Any) -> None:
    orm = bench.orm
    calls: list[Any] = []

    class Thing(bench.Base):
        __tablename__ = "things"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        __mapper_args__ = {"batch": False}

    bench.create()
    for name in ("before_insert", "after_insert", "before_update", "after_update"):
        sa.event.listen(
            Thing, name, lambda mapper, connection, target, name=name: calls.append((name, target.name, target.id))
        )
    things = [Thing(name="a"), Thing(name="b")]
    session = bench.session()
    session.add_all(things)
    session.flush()
    assert (calls, bench.told()) == (
        [
            ("before_insert", "a", None),
            ("after_insert", "a", 1),
            ("before_insert", "b", None),
            ("after_insert", "b", 2),
        ],
        ["INSERT INTO things (name) VALUES ('a')", "INSERT INTO things (name) VALUES ('b')"],
    )
    calls.clear()
    for thing in reversed(things):
        thing.name += "!"
    session.flush()
    assert (calls, bench.told()) == (
        [("before_update", "a!", 1), ("after_update", "a!", 1), ("before_update", "b!", 2), ("after_update", "b!", 2)],
        ["UPDATE things SET name='a!' WHERE things.id = 1", "UPDATE things SET name='b!' WHERE things.id = 2"],
    )


def test_086_version_that_stays_null(bench: Any) -> None:
    orm = bench.orm

    class Thing(bench.Base):
        __tablename__ = "things"
        id = orm.mapped_column(Integer, primary_key=True)
        version = orm.mapped_column(Integer)
        __mapper_args__ = {"version_id_col": version, "version_id_generator": False}

    bench.create()
    thing = Thing(id=1)
    session = bench.session()
    session.add(thing)
    assert bench.outcome(session.flush) == ["FlushError: Instance does not contain a non-NULL version value"]
    session.rollback()
    assert (bench.states(thing), bench.rows("things")) == (["transient"], [])


def test_086_version_set_by_hand_and_a_second_update(bench: Any) -> None:
    orm = bench.orm

    class User(bench.Base):
        __tablename__ = "users"
        id = orm.mapped_column(Integer, primary_key=True)

    class Document(bench.Base):
        __tablename__ = "documents"
        id = orm.mapped_column(Integer, primary_key=True)
        version = orm.mapped_column(Integer)
        user_id = orm.mapped_column(ForeignKey("users.id"))
        user = orm.relationship("User", post_update=True)
        __mapper_args__ = {"version_id_col": version}

    bench.create()
    session = bench.saved(User(id=2), Document(id=1, user=User(id=1)))
    document = session.get(Document, 1)
    assert document.user.id == 1
    document.version = document.version
    document.user_id = 2
    bench.told()
    session.flush()
    assert (bench.told(selects=False), document.version) == (
        [
            "UPDATE documents SET version=2, user_id=2 WHERE documents.id = 1 AND documents.version = 1",
            "UPDATE documents SET version=3, user_id=2 WHERE documents.id = 1 AND documents.version = 2",
        ],
        3,
    )


def test_086_version_that_was_sent_stays_with_a_new_object_whose_row_is_gone(bench: Any) -> None:
    document = documents(bench).Document(id=1, title="a")
    session = bench.session()
    session.add(document)
    session.flush()
    bench.meanwhile(session, "DELETE FROM documents")
    document.title = "b"
    assert bench.outcome(session.flush) == [
        "StaleDataError: UPDATE statement on table 'documents' expected to update 1 row(s); 0 were matched."
    ]
    session.rollback()
    assert (bench.states(document), document.version) == (["transient"], 2)


def engineers(bench: Any, *, base_is_versioned: bool) -> Any:
    """A class and one derived from it with a version of its own; the base may have one, too."""
    orm = bench.orm

    class Employee(bench.Base):
        __tablename__ = "employees"
        id = orm.mapped_column(Integer, primary_key=True)
        name = orm.mapped_column(String)
        version = orm.mapped_column(Integer)
        __mapper_args__ = {"version_id_col": version} if base_is_versioned else {}

    class Engineer(Employee):
        if base_is_versioned:
            __tablename__ = "engineers"
            id = orm.mapped_column(ForeignKey("employees.id"), primary_key=True)
        title = orm.mapped_column(String, use_existing_column=True)
        own_version = orm.mapped_column(Integer, use_existing_column=True)
        __mapper_args__ = {"version_id_col": own_version}

    bench.create()
    return Engineer


@pytest.mark.filterwarnings("ignore:Inheriting version_id_col")
def test_086_version_of_a_base_whose_subclass_has_another(bench: Any) -> None:
    engineer = engineers(bench, base_is_versioned=True)(id=1, name="ed", title="a")
    session = bench.saved(engineer)
    assert bench.rows("employees") == [(1, "ed", None)]
    assert engineer.title == "a"
    engineer.title = "b"
    bench.told()
    session.flush()
    assert bench.told() == [
        "UPDATE engineers SET title='b', own_version=2 WHERE engineers.id = 1 AND engineers.own_version = 1"
    ]
    engineer.name = "edward"
    with pytest.raises(sa.exc.StatementError, match="required for bind parameter 'employees_version'"):
        session.flush()
    session.rollback()
    session.delete(engineer)
    with pytest.raises(sa.exc.StatementError, match="required for bind parameter 'version'"):
        session.flush()
    assert bench.told(selects=False) == [
        "DELETE FROM engineers WHERE engineers.id = 1 AND engineers.own_version = 1",
    ]
    session.rollback()
    assert bench.rows("engineers") == [(1, "a", 1)]


def test_086_version_of_a_subclass_in_a_table_of_its_base(bench: Any) -> None:
    engineer = engineers(bench, base_is_versioned=False)(id=1, name="ed")
    session = bench.saved(engineer)
    bench.meanwhile(session, "UPDATE employees SET own_version = 7")
    assert (engineer.name, engineer.own_version) == ("ed", 7)
    bench.meanwhile(session, "UPDATE employees SET own_version = 8")
    engineer.name = "edward"
    session.flush()
    session.delete(engineer)
    session.flush()
    assert bench.told() == [
        "UPDATE employees SET name='edward', own_version=8 WHERE employees.id = 1",
        "DELETE FROM employees WHERE employees.id = 1",
    ]


def test_086_row_taken_over_by_an_object_that_nobody_holds(bench: Any) -> None:
    d = documents(bench, server=True, version_id_generator=False, eager_defaults=True)
    session = bench.session()
    session.add(d.Document(id=1, title="a"))
    session.commit()
    session.delete(session.get(d.Document, 1))
    session.add(d.Document(id=1, title="b"))
    session.commit()
    assert bench.rows("documents") == [(1, 2, "b")]
