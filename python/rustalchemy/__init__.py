"""SQLAlchemy's Session with a Rust core."""
