//! The row plan as data: where in a row an entity's identity and attributes stand.
//!
//! Generic over `P`, the handle of a value's processor, because what turns a database value into an object lives with the
//! objects. The row processor of the binding crate walks this layout; everything it can decide without an object is here.

use std::collections::HashSet;

/// One value of a row that becomes one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnLayout<P> {
    /// Position in the row.
    pub position: usize,
    /// Attribute number.
    pub attribute: usize,
    /// What makes the attribute's value of the row's value; none if it is taken as it is.
    pub processor: Option<P>,
}

/// Where one entity stands in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityLayout<P> {
    /// The identity: one column for each primary key column, in the mapper's order. Empty where the object is given.
    pub key: Box<[ColumnLayout<P>]>,
    /// The attributes the row brings.
    pub columns: Box<[ColumnLayout<P>]>,
    /// Attribute numbers that a new object has as expired: loaded together at the first access.
    pub expired: Box<[usize]>,
    /// Attribute numbers that a load forgets: loaded by their own loader at the next access.
    pub reset: Box<[usize]>,
    /// Whether a key that is partly NULL is a key.
    pub allow_partial_key: bool,
}

/// Why a layout cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The attribute would be filled twice by one row.
    AttributeTwice(usize),
}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AttributeTwice(attribute) => {
                write!(
                    f,
                    "attribute {attribute} stands twice in one entity of a row plan"
                )
            }
        }
    }
}

impl std::error::Error for LayoutError {}

/// What the NULLs of a row's key say about the entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPresence {
    /// The row has this entity.
    Present,
    /// The row has no such entity: an outer join found nothing.
    Absent,
}

impl<P> EntityLayout<P> {
    /// Checks a layout.
    pub fn check(self) -> Result<Self, LayoutError> {
        let mut seen = HashSet::new();
        match self
            .columns
            .iter()
            .find(|column| !seen.insert(column.attribute))
        {
            Some(column) => Err(LayoutError::AttributeTwice(column.attribute)),
            None => Ok(self),
        }
    }

    /// The number of values a row must have at least.
    #[must_use]
    pub fn row_width(&self) -> usize {
        self.key
            .iter()
            .chain(&self.columns)
            .map(|column| column.position + 1)
            .max()
            .unwrap_or(0)
    }

    /// The number of attribute slots an object needs to take a row in.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.columns
            .iter()
            .map(|column| column.attribute)
            .chain(self.expired.iter().copied())
            .map(|attribute| attribute + 1)
            .max()
            .unwrap_or(0)
    }

    /// Whether a key with so many NULLs stands for an entity.
    #[must_use]
    pub fn presence(&self, null_count: usize) -> KeyPresence {
        let is_absent = if self.allow_partial_key {
            null_count == self.key.len()
        } else {
            null_count > 0
        };
        if is_absent {
            KeyPresence::Absent
        } else {
            KeyPresence::Present
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn column(position: usize, attribute: usize) -> ColumnLayout<()> {
        ColumnLayout {
            position,
            attribute,
            processor: None,
        }
    }

    fn layout(key: &[usize], columns: &[(usize, usize)]) -> EntityLayout<()> {
        EntityLayout {
            key: key.iter().map(|&at| column(at, at)).collect(),
            columns: columns.iter().map(|&(at, to)| column(at, to)).collect(),
            expired: Box::new([]),
            reset: Box::new([]),
            allow_partial_key: true,
        }
    }

    #[test]
    fn width_and_slots_cover_all_columns() {
        let entity = layout(&[4], &[(4, 0), (5, 7)]).check().unwrap();
        assert_eq!((entity.row_width(), entity.slot_count()), (6, 8));
    }

    #[test]
    fn an_attribute_is_filled_once() {
        let twice = layout(&[0], &[(0, 3), (1, 3)]).check();
        assert_eq!(twice, Err(LayoutError::AttributeTwice(3)));
    }

    #[test]
    fn a_part_null_key_counts_only_where_it_is_allowed() {
        let mut entity = layout(&[0, 1], &[]);
        assert_eq!(entity.presence(1), KeyPresence::Present);
        assert_eq!(entity.presence(2), KeyPresence::Absent);
        entity.allow_partial_key = false;
        assert_eq!(entity.presence(1), KeyPresence::Absent);
        assert_eq!(entity.presence(0), KeyPresence::Present);
    }
}
