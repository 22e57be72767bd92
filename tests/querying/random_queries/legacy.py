"""Writes queries of the `Query` API."""

from __future__ import annotations

from .clauses import ClauseWriter
from .steps import Query


class QueryWriter(ClauseWriter):
    """One `session.query()`."""

    def write(self) -> Query:
        roots = [self._root()]
        items = [roots[0].name]
        if self._chance(0.15):
            items.append(self.scope.column(roots[0]))
        elif self._chance(0.1):
            items = [self.scope.column(roots[0]) for _ in range(2)]
        calls = self._joins(roots, 0.35) + self._filters("filter", "filter_by")
        calls += self._order_and_limit()
        calls += self._options(roots, 0.7)
        extra = (
            ".distinct()",
            ".populate_existing()",
            f".yield_per({self.rnd.randrange(1, 4)})",
            ".enable_eagerloads(False)",
            ".autoflush(False)",
            ".with_for_update()",
            f".add_columns({self.scope.column(roots[0])})",
            f".with_entities({self.scope.column(roots[0])})",
            ".slice(1, 3)",
            ".order_by(None)",
            ".reset_joinpoint()",
            f".union(s.query({roots[0].name}))",
            f".union_all(s.query({roots[0].name}).filter({self.scope.simple(roots[0])}))",
            f".except_(s.query({roots[0].name}).filter({self.scope.simple(roots[0])}))",
            f".filter({self.scope.simple(roots[0])})",
            ".execution_options(populate_existing=True)",
            f".group_by({self.scope.column(roots[0])})",
            ".only_return_tuples(True)",
            f".select_from({roots[0].name})",
            ".enable_assertions(False)",
            f".intersect(s.query({roots[0].name}))",
            f".union(s.query({roots[0].name}).order_by({self.scope.column(roots[0])}).limit(2))",
            ".limit(2)",
            ".offset(1)",
            ".limit(None)",
            f".having({self.scope.simple(roots[0])})",
            f".params(n={self.scope.value('name', roots[0])}).filter({roots[0].name}.name == bindparam('n'))",
            f".from_statement(select({roots[0].name}))",
            ".set_label_style(LABEL_STYLE_DISAMBIGUATE_ONLY)",
            ".prefix_with('ALL')",
            ".correlate(None)",
            f".add_entity({roots[0].name})",
            f".with_entities({roots[0].name}, {self.scope.expression(roots[0])})",
            f".select_from({roots[0].name}).with_entities(func.count())",
            ".with_session(s)",
            f".distinct({self.scope.column(roots[0])})",
            f".add_columns(Bundle('b', {self.scope.column(roots[0])}, {self.scope.column(roots[0])}))",
        )
        while self._chance(0.25):
            calls.append(self.rnd.choice(extra))
        end = self.rnd.choice(
            (
                "{}.all()",
                "{}.all()",
                "{}.all()",
                "{}.first()",
                "{}.one_or_none()",
                "{}.count()",
                "list({})",
                "{}[1:3]",
                "{}[0]",
                "s.query({}.exists()).scalar()",
                "{}.scalar()",
                "s.execute({}.statement).unique().all()",
                "s.query({}.subquery()).all()",
                "{}.column_descriptions and None",
                "str({})",
                "{}.one()",
                "{}[:2]",
                "{}[-2:]",
                "{}[1::2]",
                "{}.subquery().c.keys()",
                "{}.is_single_entity",
                "str({}.whereclause)",
                "str({}.selectable)",
                "s.query({}.cte()).all()",
                "s.query({}.label('l')).all()",
                "s.scalars({}).unique().all()",
                "{}.update(dict(name='q'), synchronize_session='fetch')",
                "{}.update(dict(name='q'), synchronize_session='evaluate')",
                "{}.delete(synchronize_session='fetch')",
                "{}.delete()",
                "{}.delete(synchronize_session=False)",
                "{}.delete(synchronize_session='evaluate')",
                "{}.update(dict(name='q'), synchronize_session=False)",
                "{}.with_entities(func.count()).scalar()",
                "{}.yield_per(1).enable_eagerloads(False).first()",
                "[o for o, _ in zip({}.yield_per(2).enable_eagerloads(False), range(1))]",
                "{}.get(1)",
                "{}.statement.compile().params",
                "s.query({}.statement.subquery()).count()",
                "{}.exists().select().compile().params",
            )
        )
        return Query(tuple(self.scope.setup), f"s.query({', '.join(items)})", tuple(calls), end)
