"""The part of the zoo that is about keys, versions and inheritance."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def declare(orm: Any, Base: Any) -> dict[str, Any]:
    """The classes by name."""
    column, relationship = orm.mapped_column, orm.relationship

    # --- natural keys: the ORM, or the database, carries a changed key to the rows that point to it ---

    class Country(Base):
        __tablename__ = "country"
        code = column(sa.String, primary_key=True)
        name = column(sa.String)
        cities = relationship("City", back_populates="country", passive_updates=False, order_by="City.id")

    class City(Base):
        __tablename__ = "city"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        country_code = column(sa.ForeignKey("country.code"))
        country = relationship("Country", back_populates="cities", passive_updates=False)

    class Region(Base):
        __tablename__ = "region"
        code = column(sa.String, primary_key=True)
        name = column(sa.String)
        towns = relationship("Town", back_populates="region", order_by="Town.id", cascade="all, delete-orphan")

    class Town(Base):
        __tablename__ = "town"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        region_code = column(sa.ForeignKey("region.code", onupdate="CASCADE"))
        region = relationship("Region", back_populates="towns")

    # --- an association object whose key is made of foreign keys ---

    class Student(Base):
        __tablename__ = "student"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        enrollments = relationship(
            "Enrollment", back_populates="student", cascade="all, delete-orphan", order_by="Enrollment.course_id"
        )

    class Course(Base):
        __tablename__ = "course"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        enrollments = relationship(
            "Enrollment", back_populates="course", cascade="all, delete-orphan", order_by="Enrollment.student_id"
        )

    class Enrollment(Base):
        __tablename__ = "enrollment"
        student_id = column(sa.ForeignKey("student.id"), primary_key=True)
        course_id = column(sa.ForeignKey("course.id"), primary_key=True)
        name = column(sa.String)
        student = relationship("Student", back_populates="enrollments")
        course = relationship("Course", back_populates="enrollments")

    # --- rows with a version ---

    class Document(Base):
        __tablename__ = "document"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        version = column(sa.Integer, nullable=False)
        sections = relationship("Section", back_populates="document", cascade="all", order_by="Section.id")
        __mapper_args__ = {"version_id_col": version}

    class Section(Base):
        __tablename__ = "section"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        document_id = column(sa.ForeignKey("document.id"))
        document = relationship("Document", back_populates="sections")

    # --- joined tables, and one table for two classes ---

    class Keeper(Base):
        __tablename__ = "keeper"
        id = column(sa.Integer, primary_key=True)
        name = column(sa.String)
        animals = relationship("Animal", back_populates="keeper", order_by="Animal.id")

    class Animal(Base):
        __tablename__ = "animal"
        id = column(sa.Integer, primary_key=True)
        kind = column(sa.String)
        name = column(sa.String)
        keeper_id = column(sa.ForeignKey("keeper.id"))
        keeper = relationship("Keeper", back_populates="animals")
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}

    class Dog(Animal):
        __tablename__ = "animal_dog"
        id = column(sa.ForeignKey("animal.id"), primary_key=True)
        trick = column(sa.String)
        enemy_id = column(sa.ForeignKey("animal_cat.id"))
        enemy = relationship("Cat", foreign_keys=[enemy_id], back_populates="hunters")
        __mapper_args__ = {"polymorphic_identity": "dog", "inherit_condition": id == Animal.id}

    class Cat(Animal):
        __tablename__ = "animal_cat"
        id = column(sa.ForeignKey("animal.id"), primary_key=True)
        lives = column(sa.Integer, default=9)
        hunters = relationship("Dog", foreign_keys="Dog.enemy_id", back_populates="enemy", order_by="Dog.id")
        __mapper_args__ = {"polymorphic_identity": "cat", "inherit_condition": id == Animal.id}

    class Puppy(Dog):
        __mapper_args__ = {"polymorphic_identity": "puppy"}

    found = (Country, City, Region, Town, Student, Course, Enrollment, Document, Section)
    return {cls.__name__: cls for cls in (*found, Keeper, Animal, Dog, Cat, Puppy)}
