"""The public namespace: the names of `sqlalchemy.orm`, from the modules that define them."""
