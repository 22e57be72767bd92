"""ORM extensions under the names of `sqlalchemy.ext`."""
