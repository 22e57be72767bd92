"""The other side of a relationship: found for ``back_populates``, made for ``backref``, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa_exc

from .interfaces import MANYTOONE, ONETOMANY, PropComparator


class _RelationshipBackrefs:
    """Mixin of ``RelationshipProperty``: the pair of relationships that keep each other in step."""

    # what the property itself provides
    if TYPE_CHECKING:

        def __getattr__(self, key: str) -> Any: ...

    @property
    def _effective_sync_backref(self) -> bool:
        return not self.viewonly and self.sync_backref is not False

    @staticmethod
    def _check_sync_backref(rel_a: Any, rel_b: Any) -> None:
        if rel_a.viewonly and rel_b.sync_backref:
            raise sa_exc.InvalidRequestError(
                f"Relationship {rel_b} cannot specify sync_backref=True since {rel_a} includes viewonly=True."
            )
        if rel_a.viewonly and not rel_b.viewonly and rel_b.sync_backref is not False:
            rel_b.sync_backref = False

    def _add_reverse_property(self, key: str) -> None:
        from .relationships import RelationshipProperty

        other = self.mapper.get_property(key, _configure_mappers=False)
        if not isinstance(other, RelationshipProperty):
            raise sa_exc.InvalidRequestError(
                f"back_populates on relationship '{self}' refers to attribute '{other}' that is not a relationship.  "
                "The back_populates parameter should refer to the name of a relationship on the target class."
            )
        self._check_sync_backref(self, other)
        self._check_sync_backref(other, self)
        self._reverse_property.add(other)
        other._reverse_property.add(self)  # type: ignore[arg-type]  # the mixin is always a RelationshipProperty
        other._setup_entity()
        if not other.mapper.common_parent(self.parent):
            raise sa_exc.ArgumentError(
                f"reverse_property {key!r} on relationship {self} references relationship {other}, which does not "
                f"reference mapper {self.parent}"
            )
        if other._configure_started and self.direction in (ONETOMANY, MANYTOONE) and self.direction == other.direction:
            raise sa_exc.ArgumentError(
                f"{other} and back-reference {self} are both of the same direction {self.direction!r}.  Did you mean "
                "to set remote_side on the many-to-one side ?"
            )

    def _generate_backref(self) -> None:
        """Make the other side for ``backref``, or find it for ``back_populates``."""
        resolved = self._init_args.back_populates.resolved
        if self.backref is not None and not resolved:
            if isinstance(self.backref, str):
                key, kwargs = self.backref, dict[str, Any]()
            else:
                key, kwargs = self.backref
            self._make_backref(key, kwargs)
        if not resolved:
            return
        if isinstance(resolved, PropComparator):
            resolved = resolved.prop.key
        elif not isinstance(resolved, str):
            raise sa_exc.ArgumentError(f"Invalid back_populates value: {resolved!r}")
        self._add_reverse_property(resolved)

    def _make_backref(self, key: str, kwargs: dict[str, Any]) -> None:
        from .relationships import RelationshipProperty

        mapper = self.mapper.primary_mapper()
        if not mapper.concrete:
            for relative in {*mapper.iterate_to_root(), *mapper.self_and_descendants}:
                if relative.has_property(key) and not relative.concrete:
                    raise sa_exc.ArgumentError(
                        f"Error creating backref '{key}' on relationship '{self}': property of that name exists on "
                        f"mapper '{relative}'"
                    )
        condition = self._join_condition
        if self.secondary is not None:
            # the conditions change places
            primaryjoin = kwargs.pop("primaryjoin", condition.secondaryjoin_minus_local)
            secondaryjoin = kwargs.pop("secondaryjoin", condition.primaryjoin_minus_local)
        else:
            primaryjoin = kwargs.pop("primaryjoin", condition.primaryjoin_reverse_remote)
            secondaryjoin = kwargs.pop("secondaryjoin", None)
            if secondaryjoin:
                raise sa_exc.InvalidRequestError(
                    "Can't assign 'secondaryjoin' on a backref against a non-secondary relationship."
                )
        foreign_keys = kwargs.pop("foreign_keys", self._user_defined_foreign_keys)
        for name in ("viewonly", "post_update", "passive_updates", "sync_backref"):
            kwargs.setdefault(name, getattr(self, name))
        self.back_populates = key
        other: RelationshipProperty[Any] = RelationshipProperty(
            self.parent.primary_mapper(),
            self.secondary,
            primaryjoin=primaryjoin,
            secondaryjoin=secondaryjoin,
            foreign_keys=foreign_keys,
            back_populates=self.key,
            **kwargs,
        )
        mapper._configure_property(key, other, warn_for_existing=True)
