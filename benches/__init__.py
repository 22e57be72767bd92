"""Benchmarks: the same work done by hand-written DB-API code, by SQLAlchemy's ORM and by rustalchemy."""
