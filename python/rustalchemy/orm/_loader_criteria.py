"""``with_loader_criteria()``: WHERE criteria that follow an entity through a whole statement and its loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import inspection
from sqlalchemy.sql import coercions, lambdas, roles, visitors
from sqlalchemy.sql.elements import ColumnElement

from .._sa import _deep_annotate
from .interfaces import CriteriaOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .mapper import Mapper


class _WrapUserEntity:
    """Stands in for an unmapped mixin in a criteria lambda, so that its declared attributes can be read."""

    __slots__ = ("subject",)

    def __init__(self, subject: type[Any]) -> None:
        self.subject = subject

    def __getattribute__(self, name: str) -> Any:
        from .decl_api import declared_attr

        subject = object.__getattribute__(self, "subject")
        member = subject.__dict__.get(name)
        if isinstance(member, declared_attr):
            return member.fget(subject)
        return getattr(subject, name)


class LoaderCriteriaOption(CriteriaOption):
    """The option made by ``with_loader_criteria()``."""

    __slots__ = (
        "_where_crit_orig",
        "deferred_where_criteria",
        "entity",
        "include_aliases",
        "propagate_to_loaders",
        "root_entity",
        "where_criteria",
    )

    _traverse_internals = [
        ("root_entity", visitors.ExtendedInternalTraversal.dp_plain_obj),
        ("entity", visitors.ExtendedInternalTraversal.dp_has_cache_key),
        ("where_criteria", visitors.InternalTraversal.dp_clauseelement),
        ("include_aliases", visitors.InternalTraversal.dp_boolean),
        ("propagate_to_loaders", visitors.InternalTraversal.dp_boolean),
    ]

    # exactly one of the two is set: an unmapped base, or a mapped entity
    root_entity: type[Any] | None
    entity: Any

    def __init__(
        self,
        entity_or_base: Any,
        where_criteria: Any | Callable[[Any], Any],
        loader_only: bool = False,
        include_aliases: bool = False,
        propagate_to_loaders: bool = True,
        track_closure_variables: bool = True,
    ) -> None:
        self.entity = inspection.inspect(entity_or_base, False)
        self.root_entity = entity_or_base if self.entity is None else None
        self._where_crit_orig = where_criteria
        self.include_aliases = include_aliases
        self.propagate_to_loaders = propagate_to_loaders
        self.deferred_where_criteria = callable(where_criteria)
        self.where_criteria: Any
        if self.deferred_where_criteria:
            # called once with a sample entity to learn its cache key, and again for each entity it applies to
            mapped: Any = cast("Any", self.entity)
            sample = mapped.entity if self.root_entity is None else self.root_entity
            self.where_criteria = lambdas.DeferredLambdaElement(
                where_criteria,
                roles.WhereHavingRole,
                lambda_args=(_WrapUserEntity(sample),),
                opts=lambdas.LambdaOptions(track_closure_variables=track_closure_variables),
            )
        else:
            self.where_criteria = coercions.expect(roles.WhereHavingRole, where_criteria)

    @classmethod
    def _unreduce(
        cls, entity: Any, where_criteria: Any, include_aliases: bool, propagate_to_loaders: bool
    ) -> LoaderCriteriaOption:
        return LoaderCriteriaOption(
            entity, where_criteria, include_aliases=include_aliases, propagate_to_loaders=propagate_to_loaders
        )

    def __reduce__(self) -> tuple[Any, ...]:
        subject = self.entity.class_ if self.entity else self.root_entity
        return (
            LoaderCriteriaOption._unreduce,
            (subject, self._where_crit_orig, self.include_aliases, self.propagate_to_loaders),
        )

    def _all_mappers(self) -> Iterator[Mapper[Any]]:
        if self.entity:
            yield from self.entity.mapper.self_and_descendants
            return
        assert self.root_entity is not None
        pending = list(self.root_entity.__subclasses__())
        while pending:
            subclass = pending.pop(0)
            entity = inspection.inspect(subclass, raiseerr=False)
            if entity:
                yield from entity.mapper.self_and_descendants
            else:
                pending.extend(subclass.__subclasses__())

    def _should_include(self, compile_state: Any) -> bool:
        # a criterion that selects from the entity itself must not apply inside of itself
        return self not in compile_state._containing_loader_criteria

    def _resolve_where_criteria(self, ext_info: Any) -> ColumnElement[bool]:
        criteria = self.where_criteria
        if self.deferred_where_criteria:
            criteria = criteria._resolve_with_args(ext_info.entity)
        annotated: ColumnElement[bool] = _deep_annotate(
            criteria, {"for_loader_criteria": self}, detect_subquery_cols=True, ind_cols_on_fromclause=True
        )
        return annotated

    def process_compile_state_replaced_entities(self, compile_state: Any, mapper_entities: Iterable[Any]) -> None:
        self.process_compile_state(compile_state)

    def process_compile_state(self, compile_state: Any) -> None:
        self.get_global_criteria(compile_state.global_attributes)

    def get_global_criteria(self, attributes: dict[Any, Any]) -> None:
        for mapper in self._all_mappers():
            attributes.setdefault(("additional_entity_criteria", mapper), []).append(self)
