"""Row 89, where values are compared in a way of their own: by their type, by their class, or not at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Float, ForeignKey, String, types


class Label:
    """A value with a comparison that may raise."""

    error: BaseException | None = None

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        if Label.error is not None:
            raise Label.error
        return isinstance(other, Label) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]


class LabelType(types.TypeDecorator[Label]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Label | None, dialect: Any) -> str | None:
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Any) -> Label | None:
        return None if value is None else Label(value)


class AnyCase(types.TypeDecorator[str]):
    impl = String
    cache_ok = True

    def compare_values(self, x: Any, y: Any) -> bool:
        return bool(x.lower() == y.lower())


@pytest.fixture
def shop(bench: Any) -> Any:
    orm = bench.orm

    class Product(bench.Base):
        __tablename__ = "products"
        name = orm.mapped_column(String, primary_key=True)
        kind = orm.mapped_column(AnyCase)
        weight = orm.mapped_column(Float)
        label = orm.mapped_column(LabelType, unique=True)
        offers = orm.relationship("Offer", back_populates="product", passive_updates=False)

    class Offer(bench.Base):
        __tablename__ = "offers"
        name = orm.mapped_column(String, primary_key=True)
        label = orm.mapped_column(ForeignKey("products.label"))
        product = orm.relationship(Product, back_populates="offers", passive_updates=False)

    bench.create()
    return SimpleNamespace(Product=Product, Offer=Offer)


def test_089_the_comparison_of_the_type_decides(bench: Any, shop: Any) -> None:
    product = shop.Product(name="a", kind="Nut")
    session = bench.saved(product, expire_on_commit=False)
    product.kind = "NUT"
    assert not session.is_modified(product)
    session.commit()
    assert bench.told() == []
    product.kind = "bolt"
    session.commit()
    assert bench.told() == ["UPDATE products SET kind='bolt' WHERE products.name = 'a'"]


def test_089_value_that_is_not_equal_to_itself_is_written_again(bench: Any, shop: Any) -> None:
    infinite = float("inf")
    nothing = infinite - infinite
    product = shop.Product(name="a", weight=nothing)
    session = bench.saved(product, expire_on_commit=False)
    product.weight = nothing
    assert session.is_modified(product)
    session.commit()
    assert bench.told() == ["UPDATE products SET weight=NULL WHERE products.name = 'a'"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_089_what_a_comparison_raises_is_passed_on(
    bench: Any, shop: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = shop.Product(name="a", label=Label("old"))
    session = bench.saved(product, expire_on_commit=False)
    product.label = Label("new")
    with monkeypatch.context() as patch:
        patch.setattr(Label, "error", error)
        with pytest.raises(type(error)) as raised:
            session.flush()
    assert raised.value is error
    assert bench.told() == []
    assert (session.is_active, product in session, product in session.dirty) == (False, True, False)
    session.rollback()
    assert product.label == Label("old")
    product.label = Label("new")
    session.commit()
    assert bench.told(selects=False) == ["UPDATE products SET label='new' WHERE products.name = 'a'"]
