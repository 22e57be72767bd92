"""Random operations on proxies and on the collections behind them: the same members, values and events on both ORMs."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from .conftest import extensions
from .tagged import mapped

OPERATIONS: dict[type, list[str]] = {
    list: [
        "x.append(v)", "x.insert(n, v)", "x.extend([v, w])", "x.pop()", "x.remove(v)", "x[1] = v", "del x[0]",
        "x[:min(2, len(x))] = [v, w, v]", "del x[1:3]", "x *= 2", "x += [v]", "x.clear()", "post.names = [v, w]",
        "x[::2] = [v] * len(x[::2])", "post.names = x", "post.tags = [Tag(v), Tag(w)]", "del post.tags[0]",
    ],
    set: [
        "x.add(v)", "x.discard(v)", "x.remove(v)", "x.update([v, w])", "x |= {v, w}", "x -= {v}", "x &= {v, w}",
        "x ^= {v, w}", "x.symmetric_difference_update([v])", "x.intersection_update([v, w], [w])", "x.clear()",
        "x.difference_update([v, w])", "post.names = {v, w}", "post.names = [v, v, w]", "post.tags.add(Tag(v))",
    ],
    dict: [
        "x[v] = w", "x[w] = v", "del x[v]", "x.pop(v, None)", "x.setdefault(v, w)", "x.update({v: w, w: v})",
        "x.popitem()", "x.clear()", "post.names = {v: w}",
    ],
}  # fmt: skip


def life(sa: SimpleNamespace, kind: type, seed: int) -> list[Any]:
    """What a random life was like, step by step."""
    Post, Tag = mapped(sa, kind)
    events: list[tuple[str, str]] = []
    event.listen(Post.tags, "append", lambda post, tag, initiator: events.append(("append", tag.name)))
    event.listen(Post.tags, "remove", lambda post, tag, initiator: events.append(("remove", tag.name)))
    event.listen(Tag.name, "set", lambda tag, value, old, initiator: events.append(("set", value)))
    post, dice, met, steps = Post(), random.Random(seed), [], []
    for _ in range(25):
        code = dice.choice(OPERATIONS[kind])
        v, w, n = dice.choice("abcde"), dice.choice("abcde"), dice.randrange(4)
        error = None
        try:
            exec(code, {"x": post.names, "post": post, "Tag": Tag, "v": v, "w": w, "n": n})
        except (LookupError, ValueError) as raised:
            error = type(raised)
        tags = list(post.tags.values() if kind is dict else post.tags)
        met.extend(tag for tag in tags if tag not in met)
        # sets have no order, nor have the removals of a dictionary that is assigned
        members = [tag.name if kind is set else (met.index(tag), tag.name, tag.kind) for tag in tags]
        steps.append((code, v, w, n, error, members, list(events)))
        if kind is not list:
            steps[-1] = (*steps[-1][:5], sorted(map(str, members)), sorted(events))
        events.clear()
        if len(tags) > 30:
            break
    return steps


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", OPERATIONS)
def test_life(kind: type, seed: int) -> None:
    ours, theirs = life(extensions("rustalchemy"), kind, seed), life(extensions("sqlalchemy"), kind, seed)
    assert ours == theirs
