"""Types of the native core. Hand-written; checked against the module by ``mypy.stubtest``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

# rows in: plans, hydration, processors --------------------------------------------------------------------------------

@final
class Processor:
    """Bind or result processing of one stock type, or a Python callable."""

    @staticmethod
    def named(kind: str, fallback: Callable[[Any], Any], /, *args: Any) -> Processor: ...
    @staticmethod
    def python(function: Callable[[Any], Any]) -> Processor: ...
    @property
    def kind(self) -> str: ...
    def process(self, value: Any) -> Any: ...

@final
class EagerPlan:
    """A relationship that the same rows bring."""

    def __new__(cls, attr: int, entity: EntityPlan, uselist: bool) -> EagerPlan: ...

@final
class EntityPlan:
    """What one entity of a statement's rows becomes."""

    def __new__(
        cls,
        manager: ClassManager,
        pk: Sequence[int | tuple[int, Processor | None]],
        columns: Sequence[tuple[int, int, Processor | None]],
        *,
        expired: Sequence[int] = ...,
        reset: Sequence[int] = ...,
        eager: Sequence[EagerPlan] = ...,
        identity_token: Any = None,
        polymorphic: tuple[int, Processor | None, dict[Any, EntityPlan | None], Callable[[tuple[Any, ...]], Any] | None] | None = None,
        load_options: tuple[Any, Any] | None = None,
        collect: int | None = None,
        on_new: Callable[[InstanceState, tuple[Any, ...], bool], Any] | None = None,
        allow_partial_pks: bool | None = None,
    ) -> EntityPlan: ...

@final
class ScalarPlan:
    """A plain value of a row."""

    def __new__(cls, position: int, processor: Processor | None = None) -> ScalarPlan: ...

@final
class RowPlan:
    """What the rows of one statement become."""

    def __new__(cls, entities: Sequence[EntityPlan | ScalarPlan], *, single: bool) -> RowPlan: ...

@final
class LoadContext:
    """What one result remembers from chunk to chunk."""

    def __new__(cls, context: Any = None) -> LoadContext: ...
    def take(self, list: int) -> list[tuple[Any, Any, bool]]: ...

def read_loaded(objects: list[Any], attrs: Sequence[int]) -> list[Any]: ...
def store_loaded(objects: list[Any], attr: int, values: list[Any], overwrite: Sequence[bool] | None = None) -> None: ...
def group_rows(rows: Iterable[Sequence[Any]], width: int) -> dict[Any, list[Any]]: ...

# classes and instances ------------------------------------------------------------------------------------------------

class InstanceState: ...

class ClassManager:
    def __new__(cls, class_: type, *args: Any, **kw: Any) -> ClassManager: ...
    class_: type
    mapper: Any
    @property
    def is_inline(self) -> bool: ...
    def allocate(self, key: str) -> int: ...
    def configure_mapper(self, descriptor: Mapping[str, Any]) -> None: ...
    def new_instance(self) -> Any: ...
    def uninstall(self) -> None: ...

class Instance: ...

def install_hooks(hooks: Any) -> None: ...
def mappers_changed() -> None: ...
def symbol(name: str) -> Any: ...

__opt_level__: str
