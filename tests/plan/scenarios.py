"""Units of work, one for each rule of the flush order. Each leaves the session ready to be flushed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def one_to_many(m: SimpleNamespace, s: Any) -> None:
    s.add(m.User(id=1, name="ed", addresses=[m.Address(email="a"), m.Address(email="b")]))


def many_to_one(m: SimpleNamespace, s: Any) -> None:
    s.add_all([m.Post(title="x", user=m.User(id=1)), m.Post(title="y", user=m.User(id=2))])


def cascaded_delete(m: SimpleNamespace, s: Any) -> None:
    user = m.User(id=1, posts=[], addresses=[m.Address(email="a"), m.Address(email="b")])
    s.add(user)
    s.flush()
    s.delete(user)


def keys_to_null(m: SimpleNamespace, s: Any) -> None:
    user = m.User(id=1, posts=[m.Post(title="x"), m.Post(title="y")])
    s.add(user)
    s.commit()
    assert user.posts
    s.delete(user)


def removed_child(m: SimpleNamespace, s: Any) -> None:
    user = m.User(id=1, posts=[m.Post(title="x"), m.Post(title="y")])
    s.add(user)
    s.commit()
    del user.posts[0]


def orphan(m: SimpleNamespace, s: Any) -> None:
    user = m.User(id=1, addresses=[m.Address(email="a"), m.Address(email="b")])
    s.add(user)
    s.commit()
    del user.addresses[0]


def moved_child(m: SimpleNamespace, s: Any) -> None:
    one, two = m.User(id=1, posts=[m.Post(title="x")], addresses=[]), m.User(id=2, posts=[])
    s.add_all([one, two])
    s.flush()
    two.posts.append(one.posts[0])
    s.delete(one)


def association_rows(m: SimpleNamespace, s: Any) -> None:
    post = m.Post(title="x", tags=[m.Tag(label="a"), m.Tag(label="b")])
    s.add(post)
    s.flush()
    post.tags.pop()
    post.tags.append(m.Tag(label="c"))


def association_rows_of_deleted(m: SimpleNamespace, s: Any) -> None:
    post = m.Post(title="x", tags=[m.Tag(label="a"), m.Tag(label="b")])
    s.add(post)
    s.flush()
    s.delete(post.tags[0])
    s.delete(post)


def tree(m: SimpleNamespace, s: Any) -> None:
    s.add(m.Node(id=1, children=[m.Node(id=2, children=[m.Node(id=4)]), m.Node(id=3)]))


def deleted_tree(m: SimpleNamespace, s: Any) -> None:
    nodes = [m.Node(id=4, children=[]), m.Node(id=3, children=[])]
    s.add(m.Node(id=1, children=[m.Node(id=2, children=[nodes[0]]), nodes[1]]))
    s.flush()
    for node in [nodes[0].parent.parent, nodes[0].parent, *nodes]:
        s.delete(node)
    s.add(m.Node(id=9))


def post_update(m: SimpleNamespace, s: Any) -> None:
    ball = m.Ball(id=1)
    s.add(m.Person(id=1, balls=[ball], favorite=ball))


def post_update_of_deleted(m: SimpleNamespace, s: Any) -> None:
    ball = m.Ball(id=1)
    person = m.Person(id=1, balls=[ball], favorite=ball)
    s.add(person)
    s.flush()
    s.delete(person)
    s.delete(ball)


def row_switch(m: SimpleNamespace, s: Any) -> None:
    old = m.User(id=1, name="old", addresses=[], posts=[])
    s.add(old)
    s.flush()
    s.delete(old)
    s.add(m.User(id=1, name="new"))


def updates_then_inserts(m: SimpleNamespace, s: Any) -> None:
    users = [m.User(id=1, name="a"), m.User(id=2, name="b")]
    s.add_all(users)
    s.flush()
    s.add(m.User(id=3, name="c"))
    users[1].name = "B"
    users[0].name = "A"


def hierarchy(m: SimpleNamespace, s: Any) -> None:
    old = m.Engineer(id=1, name="a", language="C")
    s.add(old)
    s.flush()
    s.delete(old)
    s.add_all([m.Engineer(id=2, name="b", language="Rust"), m.Employee(id=3, name="c")])


def changed_hierarchy(m: SimpleNamespace, s: Any) -> None:
    engineers = [m.Engineer(id=1, name="a", language="C"), m.Engineer(id=2, name="b", language="C")]
    s.add_all(engineers)
    s.flush()
    engineers[0].language, engineers[1].name = "Rust", "B"


def by_class_name(m: SimpleNamespace, s: Any) -> None:
    s.add_all([m.Tag(label="t"), m.Node(id=1), m.Employee(id=1), m.Address(email="a")])


def set_and_set_back(m: SimpleNamespace, s: Any) -> None:
    users = [m.User(id=1, name="a"), m.User(id=2, name="b")]
    s.add_all(users)
    s.flush()
    users[0].name = "x"
    users[0].name = "a"
    users[1].name = "c"


def row_switch_by_a_copied_key(m: SimpleNamespace, s: Any) -> None:
    vehicle = m.Vehicle(id=1, motor=m.Motor(power=1))
    s.add(vehicle)
    s.flush()
    vehicle.motor = m.Motor(power=2)


def version_of_another_table(m: SimpleNamespace, s: Any) -> None:
    truck = m.Truck(id=1, load=1, motor=None)
    s.add(truck)
    s.flush()
    truck.load = 2


def expired_object(m: SimpleNamespace, s: Any) -> None:
    tags = [m.Tag(id=1, label="a"), m.Tag(id=2, label="b")]
    s.add_all(tags)
    s.commit()
    tags[1].label = "c"
    tags[0].label = "a"


def nothing(m: SimpleNamespace, s: Any) -> None:
    s.add(m.User(id=1))
    s.flush()


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        one_to_many,
        many_to_one,
        cascaded_delete,
        keys_to_null,
        removed_child,
        orphan,
        moved_child,
        association_rows,
        association_rows_of_deleted,
        tree,
        deleted_tree,
        post_update,
        post_update_of_deleted,
        row_switch,
        updates_then_inserts,
        hierarchy,
        changed_hierarchy,
        by_class_name,
        set_and_set_back,
        row_switch_by_a_copied_key,
        version_of_another_table,
        expired_object,
        nothing,
    )
}
