"""What is in the tables of the zoo."""

from __future__ import annotations

from typing import Any


def _of(columns: str, *rows: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(columns.split(), row, strict=True)) for row in rows]


ROWS: dict[str, list[dict[str, Any]]] = {
    "users": _of(
        "id name age bio note memo boss_id x y",
        (1, "a", 50, "bio a", "note a", "memo a", None, 1, 2),
        (2, "b", 40, "bio b", None, "memo b", 1, None, None),
        (3, "c", 17, None, "note c", None, 1, 3, 4),
        (4, "a", 30, "bio d", "note d", "memo d", 2, 1, None),
        (5, "e", None, None, None, None, 3, 5, 6),
        (6, "b", 12, "bio f", None, None, None, 7, 8),
    ),
    "tags": _of("id name", (1, "red"), (2, "green"), (3, "b"), (4, "unused")),
    "user_tags": _of("user_id tag_id", (1, 1), (1, 2), (2, 2), (2, 3), (4, 1), (5, 3)),
    "addresses": _of(
        "id user_id name rank",
        (1, 1, "a", 1),
        (2, 1, "q", 2),
        (3, 2, "b", 3),
        (4, 2, "q", None),
        (5, 4, "c", 2),
        (6, None, "lost", 5),
        (7, 1, "b", 4),
    ),
    "dings": _of("id address_id name", (1, 1, "x"), (2, 1, "y"), (3, 3, "x"), (4, 5, "z"), (5, None, "w"), (6, 7, "b")),
    "profiles": _of("id user_id name", (1, 1, "p1"), (2, 3, "b"), (3, None, "p3")),
    "nodes": _of(
        "id name parent_id",
        (1, "a", None),
        (2, "b", 1),
        (3, "c", 1),
        (4, "d", 2),
        (5, "e", 4),
        (6, "f", 5),
        (7, "b", 3),
    ),
    "companies": _of("id name", (1, "a"), (2, "b"), (3, "empty")),
    "people": _of(
        "id kind name company_id",
        (1, "person", "a", 1),
        (2, "engineer", "b", 1),
        (3, "manager", "c", 1),
        (4, "boss", "d", 2),
        (5, "engineer", "e", 2),
        (6, "engineer", "b", None),
        (7, "boss", "a", 1),
        (8, "manager", "c", None),
    ),
    "managers": _of("id golf", (3, 1), (4, 2), (7, 3), (8, None)),
    "bosses": _of("id car", (4, "red"), (7, None)),
    "engineers": _of("id language notes mentor_id", (2, "py", "n2", 3), (5, "rs", None, 4), (6, "py", "n6", 4)),
    "machines": _of("id name engineer_id", (1, "a", 2), (2, "b", 2), (3, "c", 5), (4, "d", None)),
    "papers": _of("id name person_id", (1, "a", 1), (2, "b", 2), (3, "c", 2), (4, "d", 4), (5, "e", None)),
    "shapes": _of(
        "id kind name company_id",
        (1, "circle", "a", 1),
        (2, "square", "b", 1),
        (3, "circle", "c", 2),
        (4, "shape", "d", None),
        (5, "square", "b", 2),
    ),
    "circles": _of("id radius", (1, 10), (3, 20)),
    "squares": _of("id side", (2, 5), (5, 7)),
    "dots": _of("id name circle_id", (1, "a", 1), (2, "b", 1), (3, "c", 3)),
    "regions": _of("country code name", ("de", 1, "a"), ("de", 2, "b"), ("fr", 1, "c"), ("fr", 9, "none")),
    "towns": _of(
        "id name country code twin_id",
        (1, "a", "de", 1, None),
        (2, "b", "de", 1, 1),
        (3, "c", "de", 2, 2),
        (4, "d", "fr", 1, 3),
        (5, "e", None, None, None),
        (6, "f", "fr", None, 4),
    ),
    "roads": _of("country code town_id", ("de", 1, 3), ("de", 1, 4), ("fr", 1, 3), ("de", 2, 1)),
    "labels": _of("id name", (1, "a"), (2, "b"), (3, "c")),
    "albums": _of("id name label_id", (1, "a", 1), (2, "b", 1), (3, "c", 2), (4, "d", None)),
    "artists": _of("id name", (1, "a"), (2, "b"), (3, "c")),
    "tracks": _of(
        "id name album_id artist_id", (1, "a", 1, 1), (2, "b", 1, 2), (3, "c", 2, 1), (4, "d", 3, 2), (5, "e", 3, 1)
    ),
    "animals": _of(
        "id kind name owner_id mother_id tricks toy lives",
        (1, "animal", "a", 1, None, None, None, None),
        (2, "dog", "b", 1, None, 3, None, None),
        (3, "cat", "c", 2, None, None, None, 9),
        (4, "puppy", "d", 2, 2, 1, "ball", None),
        (5, "dog", "b", None, 2, None, None, None),
        (6, "cat", "a", 4, 3, None, None, 7),
        (7, "puppy", "e", 1, 5, 2, None, None),
    ),
    "ports": _of("id name", (1, "a"), (2, "b"), (3, "c")),
    "vessels": _of("id name tons port_id", (1, "a", 5, 1), (2, "b", None, None)),
    "barges": _of("id name tons port_id length", (11, "b", 50, 1, 9), (12, "c", 60, 2, 3), (13, "a", None, None, 3)),
    "tugs": _of("id name tons port_id power", (21, "a", 7, 1, 4), (22, "q", 8, 2, None)),
    "bones": _of("id name dog_id", (1, "a", 2), (2, "b", 2), (3, "c", 4), (4, "d", None)),
}
