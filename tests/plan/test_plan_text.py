"""Plans as people read them: the table, the drawing, the notes."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from .models import open_session
from .scenarios import SCENARIOS

STEP = re.compile(r'    s(\d+)\["\1: (INSERT|UPDATE|DELETE) [^"]+"\]')
ARROW = re.compile(r'    s(\d+) -->\|"[^"]+"\| s(\d+)')


def table(name: str, models: SimpleNamespace) -> list[str]:
    session, _ = open_session(models)
    with session:
        SCENARIOS[name](models, session)
        return [re.sub(" {2,}", " | ", line.strip()) for line in str(session.plan()).splitlines()[1:]]


GOLDEN = {
    "one_to_many": [
        "1 | INSERT | user | User | 1 | new | first",
        "2 | INSERT | address | Address | 2 | new, reached by User.addresses | "
        "User.addresses: needs the keys of step 1",
    ],
    "cascaded_delete": [
        "1 | DELETE | address | Address | 2 | cascaded from User.addresses | first",
        "2 | DELETE | user | User | 1 | marked for deletion | User.addresses: rows that refer to it go first (step 1)",
    ],
    "keys_to_null": [
        "1 | UPDATE | post | Post | 2 | SET user_id: key to NULL: User is deleted | first",
        "2 | DELETE | user | User | 1 | marked for deletion | "
        "User.posts: rows that refer to it are written first (step 1)",
    ],
    "removed_child": [
        "1 | UPDATE | post | Post | 1 | SET user_id: key to NULL: removed from User.posts | first",
    ],
    "orphan": ["1 | DELETE | address | Address | 1 | orphan of User.addresses | first"],
    "moved_child": [
        "1 | UPDATE | post | Post | 1 | SET user_id: added to User.posts | first",
        "2 | DELETE | user | User | 1 | marked for deletion | "
        "User.posts: rows that refer to it are written first (step 1)",
    ],
    "association_rows": [
        "1 | INSERT | tag | Tag | 1 | new, reached by Post.tags | first",
        "2 | DELETE | post_tag | Post.tags | 1 | Post.tags changed | "
        "Post.tags: rows of both sides are written first (step 1)",
        "3 | INSERT | post_tag | Post.tags | 1 | Post.tags changed | old rows of a table go before new ones",
    ],
    "association_rows_of_deleted": [
        "1 | DELETE | post_tag | Post.tags | 2 | Post is deleted | first",
        "2 | DELETE | post | Post | 1 | marked for deletion | Post.tags: rows that refer to it go first (step 1)",
        "3 | DELETE | tag | Tag | 1 | marked for deletion | "
        "Post.tags: rows that refer to it go first (step 1); after step 2 by class name",
    ],
    "tree": [
        "1 | INSERT | node | Node | 1 | new | first",
        "2 | INSERT | node | Node | 2 | new, reached by Node.children | "
        "Node.children, level 2: needs the keys of step 1",
        "3 | INSERT | node | Node | 1 | new, reached by Node.children | "
        "Node.children, level 3: needs the keys of step 2",
    ],
    "deleted_tree": [
        "1 | INSERT | node | Node | 1 | new | first",
        "2 | DELETE | node | Node | 2 | marked for deletion | rows are deleted after rows are saved (step 1)",
        "3 | DELETE | node | Node | 1 | marked for deletion | "
        "Node.children, level 2: rows that refer to it go first (step 2)",
        "4 | DELETE | node | Node | 1 | marked for deletion | "
        "Node.children, level 3: rows that refer to it go first (step 3)",
    ],
    "post_update": [
        "1 | INSERT | person | Person | 1 | new | first",
        "2 | INSERT | ball | Ball | 1 | new, reached by Person.balls | Person.balls: needs the keys of step 1",
        "3 | UPDATE | person | Person | 1 | SET favorite_id: post update of Person.favorite | "
        "Person.favorite: needs the keys of step 2",
    ],
    "post_update_of_deleted": [
        "1 | UPDATE | person | Person | 1 | SET favorite_id: post update of Person.favorite, key to NULL | first",
        "2 | DELETE | ball | Ball | 1 | marked for deletion | "
        "Person.favorite: rows that refer to it are written first (step 1)",
        "3 | DELETE | person | Person | 1 | marked for deletion | "
        "Person.balls: rows that refer to it go first (step 2)",
    ],
    "row_switch": [
        "1 | UPDATE | user | User | 1 | SET name: row switch: takes over a deleted object's row | first",
    ],
    "updates_then_inserts": [
        "1 | UPDATE | user | User | 2 | SET name: changed | first",
        "2 | INSERT | user | User | 1 | new | UPDATEs of a table go before its INSERTs",
    ],
    "hierarchy": [
        "1 | INSERT | employee | Employee | 2 | new | first",
        "2 | INSERT | engineer | Employee | 1 | new | the same objects: engineer refers to employee",
        "3 | DELETE | engineer | Employee | 1 | marked for deletion | "
        "rows are deleted after rows are saved (step 2)",
        "4 | DELETE | employee | Employee | 1 | marked for deletion | the same objects: engineer refers to employee",
    ],
    "changed_hierarchy": [
        "1 | UPDATE | employee | Employee | 1 | SET name: changed | first",
        "2 | UPDATE | engineer | Employee | 1 | SET language: changed | "
        "the same objects: engineer refers to employee",
    ],
    "row_switch_by_a_copied_key": [
        "1 | UPDATE | motor | Motor | 1 | SET power: row switch: takes over a deleted object's row | first",
    ],
    "version_of_another_table": [
        "1 | UPDATE | vehicle | Vehicle | 1 | SET version: changed | first",
        "2 | UPDATE | truck | Vehicle | 1 | SET load: changed | the same objects: truck refers to vehicle",
    ],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_printed_plan(name: str, ours: SimpleNamespace) -> None:
    assert table(name, ours) == GOLDEN[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_drawing_is_a_flowchart(name: str, ours: SimpleNamespace) -> None:
    session, _ = open_session(ours)
    with session:
        SCENARIOS[name](ours, session)
        plan = session.plan()
    head, *lines = plan.to_mermaid().splitlines()
    assert head == "flowchart TD"
    nodes = [match for line in lines if (match := STEP.fullmatch(line))]
    arrows = [match for line in lines if (match := ARROW.fullmatch(line))]
    if plan:
        assert len(nodes) == len(plan) and len(nodes) + len(arrows) == len(lines)
    else:
        assert lines == ['    nothing["nothing to flush"]']
    for arrow in arrows:
        assert 1 <= int(arrow[1]) < int(arrow[2]) <= len(plan)


def test_a_drawing(ours: SimpleNamespace, session: Any) -> None:
    SCENARIOS["post_update"](ours, session)
    assert session.plan().to_mermaid() == (
        "flowchart TD\n"
        '    s1["1: INSERT person<br/>Person, 1 row<br/>new"]\n'
        '    s2["2: INSERT ball<br/>Ball, 1 row<br/>new, reached by Person.balls"]\n'
        '    s3["3: UPDATE person<br/>Person, 1 row<br/>post update of Person.favorite"]\n'
        '    s1 -->|"Person.balls"| s2\n'
        '    s2 -->|"Person.favorite"| s3\n'
    )


def test_steps_have_parts_columns_and_waits(ours: SimpleNamespace, session: Any) -> None:
    SCENARIOS["association_rows"](ours, session)
    post = next(iter(session.dirty))
    post.title = "changed"
    steps = session.plan().steps
    assert [(step.kind, step.part, step.mapper, step.columns) for step in steps] == [
        ("update", "row", "Post", ("title",)),
        ("insert", "row", "Tag", ()),
        ("delete", "secondary", "Post.tags", ()),
        ("insert", "secondary", "Post.tags", ()),
    ]
    assert [step.waits_for for step in steps] == [
        (),
        (),
        ((1, "Post.tags"), (2, "Post.tags")),
        ((3, "same table"),),
    ]


def test_a_plan_stays_as_it_was_made(ours: SimpleNamespace, session: Any) -> None:
    user = ours.User(id=1, name="a")
    session.add(user)
    plan = session.plan()
    text, told = str(plan), str(plan.explain(user))
    user.name = "b"
    session.commit()
    assert (str(plan), str(plan.explain(user))) == (text, told)
    assert "name: nothing -> 'a'" in told and str(session.plan()) == "nothing to flush"


def test_notes_name_what_a_flush_loads_first(ours: SimpleNamespace, session: Any) -> None:
    session.add_all([ours.User(id=1, posts=[ours.Post(id=1)]), ours.User(id=2, posts=[ours.Post(id=2)])])
    session.commit()
    with session.no_autoflush:
        for number in (1, 2):
            session.delete(session.get(ours.User, number))
    session.info["recorder"].selects = 0
    plan = session.plan()
    assert session.info["recorder"].selects == 0
    assert plan.notes == (
        "User.posts of 2 objects to be deleted is not loaded: a flush loads it first and writes what it finds",
    )
    assert str(plan).endswith(f"note: {plan.notes[0]}")


def test_notes_name_what_will_not_be_written(ours: SimpleNamespace, session: Any) -> None:
    post = ours.Post(id=1)
    session.add(post)
    session.flush()
    post.user = ours.User(id=5)
    session.expunge(post.user)
    plan = session.plan()
    assert not plan
    assert plan.notes == (
        "1 object of class User not in the session: the add operation along 'Post.user' will not proceed",
    )


def test_notes_name_pending_orphans_and_conflicts(ours: SimpleNamespace, session: Any) -> None:
    user = ours.User(id=1, addresses=[ours.Address(id=1)])
    session.add(user)
    session.flush()
    twin = ours.User(id=1)
    session.add(twin)
    plan = session.plan()
    assert plan.notes == (
        "User(new) has the identity of another object in the session: its INSERT conflicts with that row",
    )
    assert plan.explain(twin).kind == "insert"


def test_notes_name_keys_and_old_values_a_flush_looks_up(session: Any) -> None:
    from sqlalchemy import Column, ForeignKey, String

    import rustalchemy.orm as orm

    base: Any = orm.declarative_base()

    class Owner(base):
        __tablename__ = "owner"
        name = Column(String, primary_key=True)
        things = orm.relationship("Thing", passive_updates=False)

    class Thing(base):
        __tablename__ = "thing"
        name = Column(String, primary_key=True)
        owner_name = Column(ForeignKey("owner.name"))

    class Holder(base):
        __tablename__ = "holder"
        name = Column(String, primary_key=True)
        owner_name = Column(ForeignKey("owner.name"))
        owner = orm.relationship("Owner", passive_updates=False)

    base.metadata.create_all(session.get_bind())
    owner = Owner(name="a", things=[Thing(name="t")])
    session.add_all([owner, Holder(name="h", owner=owner)])
    session.commit()
    held = session.get(Holder, "h")
    session.get(Owner, "a").name = "b"
    plan = session.plan()
    assert plan.notes == (
        "Owner.things of 1 object with a new key is not loaded: a flush loads it first and copies the key",
        "Holder.owner of 1 object is not loaded: a flush loads it first, to find those that refer to a new key",
    )
    assert [step.table for step in plan.steps] == ["owner"]
    assert held.owner is owner and owner.things  # looked at, and flushed by that
    owner.name = "c"
    plan = session.plan()
    assert not plan.notes
    assert [(step.table, step.what) for step in plan.steps] == [
        ("owner", "changed"),
        ("holder", "Holder.owner changed"),
        ("thing", "new key of Owner"),
    ]
