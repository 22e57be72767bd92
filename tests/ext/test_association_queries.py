"""Operators of association proxies in SQL: the same statements, and the rows they mean."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sql

Model = SimpleNamespace


def model(sa: SimpleNamespace) -> Model:
    """Users have a boss, accounts and, through them, roles: every kind of target over every kind of relationship."""
    orm, proxy = sa.orm, sa.associationproxy.association_proxy

    class Base(orm.DeclarativeBase):
        pass

    class Role(Base):
        __tablename__ = "role"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)

    class Account(Base):
        __tablename__ = "account"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        user_id = orm.mapped_column(sql.ForeignKey("user.id"))
        role_id = orm.mapped_column(sql.ForeignKey("role.id"))
        login = orm.mapped_column(sql.String)
        same = orm.synonym("login")
        role = orm.relationship(Role)
        role_name = proxy("role", "name")

    class User(Base):
        __tablename__ = "user"
        id = orm.mapped_column(sql.Integer, primary_key=True)
        name = orm.mapped_column(sql.String)
        boss_id = orm.mapped_column(sql.ForeignKey("user.id"))
        boss = orm.relationship("User", remote_side=[id])
        accounts = orm.relationship(Account)
        logins = proxy("accounts", "login")
        sames = proxy("accounts", "same")
        roles = proxy("accounts", "role")
        role_names = proxy("accounts", "role_name")
        boss_name = proxy("boss", "name")
        boss_boss = proxy("boss", "boss")
        boss_accounts = proxy("boss", "accounts")
        boss_logins = proxy("boss", "logins")

    return SimpleNamespace(
        User=User, Account=Account, Role=Role, admin=Role(id=7, name="admin"), alias=orm.aliased(User)
    )


QUERIES = [
    "User.logins == 'a'", "User.logins != 'a'", "User.logins == None", "User.logins.in_(['a', 'b'])",
    "User.logins.like('a%')", "User.logins.contains('a')", "~User.logins.startswith('a')", "'a' == User.logins",
    "User.logins > 'a'", "User.logins.any()", "User.logins.any(Account.login == 'a')", "User.logins.has()",
    "User.logins.any(login='a')", "User.sames == 'a'", "User.logins.is_(None)", "User.logins",
    "User.roles.any()", "User.roles.any(Role.name == 'a')", "User.roles.any(name='a')", "User.roles.has()",
    "User.roles.contains(admin)", "~User.roles.contains(admin)", "User.roles == admin", "User.roles != admin",
    "User.role_names.any()", "User.role_names.contains('admin')", "User.role_names == 'admin'",
    "User.boss_name == 'a'", "User.boss_name == None", "User.boss_name != 'a'", "User.boss_name.has()",
    "User.boss_name.has(User.name == 'a')", "User.boss_name.any()", "User.boss_name.between('a', 'c')",
    "User.boss_boss == None", "User.boss_boss.has(name='a')", "User.boss_boss.any()", "User.boss_boss.contains(3)",
    "User.boss_accounts.any(login='a')", "User.boss_accounts.has()", "User.boss_logins.contains('a')",
    "User.boss_logins.any()", "alias.boss_boss == None", "alias.roles.any(name='a')", "alias.roles.contains(admin)",
]  # fmt: skip


def statement(m: Model, code: str) -> str:
    """What it compiles to, or the error."""
    try:
        criterion = eval(code, dict(vars(m)))
        compiled = sql.select(m.User.id).where(criterion).compile()
        return f"{compiled} {compiled.params}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def models() -> list[Model]:
    from .conftest import extensions

    return [model(extensions("sqlalchemy")), model(extensions("rustalchemy"))]


@pytest.mark.sqlalchemy21
@pytest.mark.parametrize("code", QUERIES)
def test_statement(models: list[Model], code: str) -> None:
    theirs, ours = (statement(m, code) for m in models)
    assert ours == theirs


ROWS: list[tuple[Callable[[Any], Any], list[str]]] = [
    (lambda m: m.User.logins == "b1", ["bob"]),
    (lambda m: m.User.logins.startswith("b"), ["bob"]),
    (lambda m: m.User.logins == None, ["ann"]),  # noqa: E711
    (lambda m: m.User.roles.contains(m.admin), ["bob"]),
    (lambda m: m.User.role_names.contains("admin"), ["bob"]),
    (lambda m: m.User.boss_name == "bob", ["ann", "cid"]),
    (lambda m: m.User.boss_name == None, ["bob"]),  # noqa: E711
    (lambda m: m.User.boss_logins.contains("b2"), ["ann", "cid"]),
    (lambda m: sql.and_(m.User.logins.any(), ~m.User.roles.any()), ["cid"]),
]


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_rows(sa: SimpleNamespace, number: int) -> None:
    criterion, names = ROWS[number]
    m = model(sa)
    engine = sql.create_engine("sqlite://")
    m.User.metadata.create_all(engine)
    with sa.orm.Session(engine) as session:
        bob = m.User(name="bob", accounts=[m.Account(login="b1", role=m.admin), m.Account(login="b2")])
        session.add_all([bob, m.User(name="ann", boss=bob), m.User(name="cid", boss=bob, logins=[])])
        session.flush()
        session.add(m.Account(login="c", user_id=3))
        session.commit()
        found = session.scalars(sql.select(m.User.name).where(criterion(m)).order_by(m.User.name))
        assert found.all() == names


def test_join_over_both_attributes(sa: SimpleNamespace) -> None:
    m = model(sa)
    local, remote = m.User.roles.attr
    text = str(sql.select(m.User.id).join(local).join(remote))
    assert " JOIN account ON " in text and " JOIN role ON " in text
    text = str(sql.select(m.alias.id).join(m.alias.roles.local_attr))
    assert "FROM user AS user_1 JOIN account ON user_1.id = account.user_id" in text.replace('"', "")


def test_filter_by(sa: SimpleNamespace) -> None:
    m = model(sa)
    assert "EXISTS" in str(sql.select(m.User.id).filter_by(logins="a"))


def test_column_of_an_alias(sa: SimpleNamespace) -> None:
    """SQLAlchemy forgets the alias and asks whether anybody at all has such a login."""
    m = model(sa)
    text = str(sql.select(m.alias.id).where(m.alias.logins == "a")).replace('"', "").replace("\n", "")
    around = "FROM user AS user_1 WHERE EXISTS (SELECT 1 "
    if sa.name == "sqlalchemy":
        assert f"{around}FROM account, user WHERE user.id = account.user_id" in text
    else:
        assert f"{around}FROM account WHERE user_1.id = account.user_id" in text
