"""Expired objects that meet a statement which does not bring all of them."""

from __future__ import annotations

from types import ModuleType

import sqlalchemy as sa
from orm_models import make_database, make_models


def test_what_the_statement_leaves_out_stays_expired(orm: ModuleType) -> None:
    """Whether or not the rest is overwritten, and also where the option only says what the class says."""
    models = make_models(orm)
    with orm.Session(make_database(models)) as session:
        address = session.get(models.Address, 2)
        for option in (orm.load_only(models.Address.email), orm.defer(models.Address.user_id)):
            for populate_existing in (False, True):
                session.expire(address)
                statement = sa.select(models.Address).where(models.Address.id == 2).options(option)
                session.scalars(statement, execution_options={"populate_existing": populate_existing}).one()
                assert "user_id" in sa.inspect(address).expired_attributes
                assert "email" not in sa.inspect(address).expired_attributes
                assert address.user_id == 8
