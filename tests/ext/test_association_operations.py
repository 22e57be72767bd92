"""Every operation on a proxy of a collection does to the values what the builtin's does, and the collection follows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from .tagged import bag, mapped, session

Operation = Callable[[Any], Any]


def statement(code: str) -> Operation:
    """An operation that is no expression, such as `del x[0]`."""
    compiled = compile(code, "<operation>", "exec")

    def run(x: Any) -> Any:
        names = {"x": x}
        exec(compiled, names)
        return names["x"] is x

    run.__name__ = code
    return run


def outcome(operation: Operation, x: Any) -> Any:
    """What it returns, or the kind of error."""
    try:
        result = operation(x)
    except Exception as error:
        return type(error)
    return list(result) if type(result).__name__ in {"dict_items", "ItemsView", "ValuesView"} else result


LIST = [
    "x[0]", "x[-1]", "x[9]", "x[1:]", "x[::2]", "x[:-1]", "len(x)", "bool(x)", "'b' in x", "'z' in x", "list(x)",
    "x.count('a')", "x.index('b')", "x.index('a', 1)", "x.index('z')", "x.append('d')", "x.extend(['d', 'e'])",
    "x.extend(c for c in 'de')", "x.insert(0, 'd')", "x.insert(1, 'd')", "x.insert(9, 'd')", "x.pop()", "x.pop(0)",
    "x.pop(9)", "x.remove('b')", "x.remove('z')", "x.clear()", "x.copy()", "x == ['a', 'b', 'c', 'a']", "x == 3",
    "x != ['a']", "x < ['b']", "x <= ['b']", "x > ['a']", "x >= ['z']", "x + ['d']", "['d'] + x", "x + 3", "3 + x",
    "x * 2", "2 * x", "x * 'a'", "list(reversed(x))", "repr(x)", "hash(x)", "list(iter(x))",
]  # fmt: skip
LIST_STATEMENTS = [
    "x[0] = 'd'", "x[-1] = 'd'", "x[9] = 'd'", "x[1:2] = ['d', 'e']", "x[1:3] = []", "x[1:1] = ['d']", "x[:] = ['d']",
    "x[:-1] = ['d']", "x[2:] = 'de'", "x[::2] = ['d', 'e']", "x[::2] = ['d']", "del x[0]", "del x[1:]", "del x[:]",
    "del x[9]", "x += ['d']", "x *= 2", "x *= 0", "x *= 1",
]  # fmt: skip
LIST_REPAIRED = [
    "x[-2:] = ['d']", "x[0:9] = ['d']", "x[-9:2] = ['d']", "x[::-1] = ['d', 'e', 'f', 'g']", "x[::2] = iter('de')",
    "x.extend(x)", "x += x",
]  # fmt: skip
DICT = [
    "x['a']", "x['z']", "x.get('a')", "x.get('z')", "x.get('z', 5)", "x.pop('a')", "x.pop('z')", "x.pop('z', None)",
    "x.setdefault('a', 'n')", "x.setdefault('z', 'n')", "x.popitem()", "x.update({'a': 'n', 'z': 'm'})", "x.clear()",
    "x.update([('z', 'm')])", "x.update(z='m')", "x.update({}, {})", "x.copy()", "list(x)", "sorted(x.keys())",
    "list(x.items())", "list(x.values())", "'a' in x", "'z' in x", "len(x)", "bool(x)", "x == {'a': '1', 'b': '2'}",
    "x != {}", "repr(x)", "hash(x)", "dict(x)", "{**x}",
]  # fmt: skip
DICT_STATEMENTS = ["x['a'] = 'n'", "x['z'] = 'n'", "del x['a']", "del x['z']"]
DICT_REPAIRED = ["x.pop('z', 'n')"]
SET = [
    "x.add('d')", "x.add('a')", "x.discard('a')", "x.discard('z')", "x.remove('a')", "x.remove('z')", "x.clear()",
    "x.update('ad', ['e'])", "x.difference_update('ab')", "x.intersection_update('ab', 'b')", "x.copy()", "len(x)",
    "x.symmetric_difference_update('ad')", "x.union('ad', 'e')", "x.difference('ab')", "x.intersection('ab', 'bc')",
    "x.symmetric_difference('ad')", "x.issubset('abcd')", "x.issuperset('ab')", "x.isdisjoint('de')", "'a' in x",
    "'z' in x", "x | {'d'}", "x & {'a'}", "x - {'a'}", "x ^ {'a', 'd'}", "x | frozenset('d')", "x | 'd'", "x & ['a']",
    "x - 'a'", "x ^ 'a'", "x == {'a', 'b', 'c'}", "x != {'a'}", "x < {'a', 'b', 'c', 'd'}", "x <= {'a'}", "x > {'a'}",
    "x >= {'a', 'z'}", "x < 3", "bool(x)", "hash(x)", "sorted(x)",
]  # fmt: skip
SET_STATEMENTS = [
    "x |= {'d'}", "x &= {'a'}", "x -= {'a'}", "x ^= {'a', 'd'}", "x |= 'd'", "x &= 'a'", "x -= 'a'", "x ^= 'a'",
]  # fmt: skip
SET_REPAIRED = ["{'d'} | x", "{'a'} & x", "{'a', 'd'} - x", "{'a', 'd'} ^ x", "x -= x", "x ^= x", "x &= x", "x |= x"]


def operations(expressions: list[str], statements: list[str]) -> list[Any]:
    found: list[Any] = []
    for code in expressions:
        found.append(pytest.param(eval(f"lambda x: {code}"), id=code))
    found.extend(pytest.param(statement(code), id=code) for code in statements)
    return found


def as_statements(codes: list[str]) -> tuple[list[str], list[str]]:
    return [c for c in codes if " = " not in c and "= " not in c], [c for c in codes if "= " in c]


def check_list(sa: SimpleNamespace, operation: Operation) -> None:
    Post, _ = mapped(sa)
    post, plain = Post(names=list("abca")), list("abca")
    assert outcome(operation, post.names) == outcome(operation, plain)
    assert list(post.names) == plain == [tag.name for tag in post.tags]


def check_dict(sa: SimpleNamespace, operation: Operation) -> None:
    Post, _ = mapped(sa, dict)
    post, plain = Post(names={"a": "1", "b": "2"}), {"a": "1", "b": "2"}
    assert outcome(operation, post.names) == outcome(operation, plain)
    assert list(post.names.items()) == list(plain.items())
    assert {key: tag.name for key, tag in post.tags.items()} == plain
    assert all(tag.kind == key for key, tag in post.tags.items())


def check_set(sa: SimpleNamespace, operation: Operation) -> None:
    Post, _ = mapped(sa, set)
    post, plain = Post(names=set("abc")), set("abc")
    assert outcome(operation, post.names) == outcome(operation, plain)
    assert set(post.names) == plain
    assert sorted(tag.name for tag in post.tags) == sorted(plain)


@pytest.mark.parametrize("operation", operations(LIST, LIST_STATEMENTS))
def test_list(sa: SimpleNamespace, operation: Operation) -> None:
    check_list(sa, operation)


@pytest.mark.parametrize("operation", operations(*as_statements(LIST_REPAIRED)))
def test_list_where_ours_is_a_list(ours: SimpleNamespace, operation: Operation) -> None:
    """SQLAlchemy's proxy raises in the middle, sets nothing or does not end."""
    check_list(ours, operation)


@pytest.mark.parametrize("operation", operations(DICT, DICT_STATEMENTS))
def test_dict(sa: SimpleNamespace, operation: Operation) -> None:
    check_dict(sa, operation)


@pytest.mark.parametrize("operation", operations(DICT_REPAIRED, []))
def test_dict_where_ours_is_a_dict(ours: SimpleNamespace, operation: Operation) -> None:
    """SQLAlchemy's proxy asks the default for the attribute."""
    check_dict(ours, operation)


@pytest.mark.parametrize("operation", operations(SET, SET_STATEMENTS))
def test_set(sa: SimpleNamespace, operation: Operation) -> None:
    check_set(sa, operation)


@pytest.mark.parametrize("operation", operations(*as_statements(SET_REPAIRED)))
def test_set_where_ours_is_a_set(ours: SimpleNamespace, operation: Operation) -> None:
    """SQLAlchemy's proxy cannot make the result, or changes what it iterates."""
    check_set(ours, operation)


def test_set_pop(sa: SimpleNamespace) -> None:
    Post, _ = mapped(sa, set)
    post = Post(names={"a", "b"})
    assert {post.names.pop(), post.names.pop()} == {"a", "b"}
    assert not post.tags
    with pytest.raises(KeyError):
        post.names.pop()


def test_collection_of_ones_own(sa: SimpleNamespace) -> None:
    """A class that acts as a list is proxied as one, as far as it has the methods."""
    Post, _ = mapped(sa, bag(sa))
    post = Post()
    for name in "abca":
        post.names.append(name)
    assert type(post.names).__name__ == "_AssociationList"
    assert (len(post.names), post.names.count("a"), "b" in post.names) == (4, 2, True)
    assert list(post.names) == [tag.name for tag in post.tags] == list("abca")
    with pytest.raises(TypeError):
        post.names[0]


@pytest.mark.parametrize("name", ["sort", "reverse"])
def test_order_of_a_list_is_not_changed_in_place(sa: SimpleNamespace, name: str) -> None:
    Post, _ = mapped(sa)
    with pytest.raises(NotImplementedError):
        getattr(Post(names=["b", "a"]).names, name)()


def test_values_of_members_that_stay(sa: SimpleNamespace) -> None:
    """An index, or a key, sets the value of the member; a slice makes new members."""
    Post, _ = mapped(sa)
    post = Post(names=["a", "b", "c"])
    first, second, third = post.tags
    post.names[0] = "x"
    post.names[1:3:2] = ["y"]
    assert (first.name, second.name) == ("x", "y")
    assert post.tags[0] is first and post.tags[1] is second
    post.names[2:] = ["z"]
    assert post.tags[2] is not third and third.name == "c"


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (list, ["a", "b"], ["b", "c"]),
        (set, {"a", "b"}, {"b", "c"}),
        (dict, {"a": "1", "b": "2"}, {"b": "3", "c": "4"}),
    ],
)
def test_assignment(sa: SimpleNamespace, kind: type, before: Any, after: Any) -> None:
    """A whole value replaces the members; those of a set, or under a key, that are in both stay the same objects."""
    Post, _ = mapped(sa, kind)
    post = Post(names=before)
    proxy = post.names
    members = {tag.name: tag for tag in (post.tags.values() if kind is dict else post.tags)}
    post.names = after
    assert post.names is proxy and proxy == after
    now = set(post.tags.values() if kind is dict else post.tags)
    kept = {list: set(), set: {members["b"]} if kind is set else set(), dict: {members.get("2")}}[kind]
    assert now & set(members.values()) == kept
    post.names = proxy
    assert post.names == after


def test_database(sa: SimpleNamespace) -> None:
    """What a proxy does is written, orphans are deleted, and a refreshed collection is seen through the same proxy."""
    Post, Tag = mapped(sa)
    with session(sa, Post) as s:
        post = Post(names=["a", "b"])
        s.add(post)
        s.commit()
        proxy = post.names
        assert proxy == ["a", "b"]
        proxy.remove("a")
        proxy.append("c")
        s.commit()
        assert sorted(s.scalars(Tag.__table__.select().with_only_columns(Tag.name))) == ["b", "c"]
        s.rollback()
        proxy.append("d")
        s.rollback()
        assert proxy == ["b", "c"] and post.names is proxy


def test_values_of_a_big_set(ours: SimpleNamespace) -> None:
    """Values are found by hash: the number of reads grows with the number of values."""
    reads = 0

    def accessors(collection_class: Any, proxy: Any) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
        def read(tag: Any) -> Any:
            nonlocal reads
            reads += 1
            return tag.name

        return read, lambda tag, value: setattr(tag, "name", value)

    Post, _ = mapped(ours, set, getset_factory=accessors)
    post = Post(names={str(n) for n in range(300)})
    post.names = {str(n) for n in range(100, 400)}
    assert len(post.tags) == 400 - 100
    assert reads < 300 * 10


def test_values_without_hash(sa: SimpleNamespace) -> None:
    """A set of objects may have values that no set could hold."""
    Post, _ = mapped(sa, set)
    post = Post()
    post.names.add(["a"])
    post.names.update([["a"], ["b"]])
    assert sorted(tag.name for tag in post.tags) == [["a"], ["b"]]
    post.names.difference_update([["a"]])
    assert [tag.name for tag in post.tags] == [["b"]]
    assert operator.contains(post.names, ["b"])
