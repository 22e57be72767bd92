//! Statement shapes: rows whose statements read the same go to the database together.

use smallvec::SmallVec;

use crate::ids::ColumnIx;

/// What a statement does to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatementKind {
    /// New rows.
    Insert,
    /// Changed rows.
    Update,
    /// Rows taken away.
    Delete,
}

impl StatementKind {
    /// Its SQL verb.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    /// Its lower-case name, as Python sees it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A set of columns of one table, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ColumnSet {
    words: SmallVec<[u64; 2]>,
}

impl ColumnSet {
    /// Adds a column.
    pub fn insert(&mut self, column: ColumnIx) {
        let (word, bit) = (column.index() / 64, column.index() % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Takes a column out; trailing empty words go with it, so that equal sets stay equal.
    pub fn remove(&mut self, column: ColumnIx) {
        let (word, bit) = (column.index() / 64, column.index() % 64);
        if let Some(bits) = self.words.get_mut(word) {
            *bits &= !(1 << bit);
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Whether the column is in the set.
    #[must_use]
    pub fn contains(&self, column: ColumnIx) -> bool {
        let (word, bit) = (column.index() / 64, column.index() % 64);
        self.words
            .get(word)
            .is_some_and(|bits| bits & (1 << bit) != 0)
    }

    /// Whether no column is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&bits| bits == 0)
    }

    /// The columns, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ColumnIx> + '_ {
        self.words.iter().enumerate().flat_map(|(word, &bits)| {
            (0..64)
                .filter(move |bit| bits & (1 << bit) != 0)
                .map(move |bit| ColumnIx::from_index(word * 64 + bit))
        })
    }
}

/// Everything that makes the statement of one row different from that of another row of the same table and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Columns that are sent.
    pub columns: ColumnSet,
    /// A SQL expression is among the values: such a row travels alone.
    pub has_sql: bool,
    /// The primary key is known.
    pub has_key: bool,
    /// No server default has to be fetched.
    pub has_defaults: bool,
}

/// Cuts rows into the longest runs that may travel together, in row order.
#[must_use]
pub fn runs(shapes: &[Shape]) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (row, shape) in shapes.iter().enumerate() {
        match found.last_mut() {
            Some(run) if !shape.has_sql && shapes[run.start] == *shape => run.end = row + 1,
            _ => found.push(row..row + 1),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{ColumnSet, Shape, runs};
    use crate::ids::ColumnIx;

    fn shape(columns: &[u32]) -> Shape {
        let mut set = ColumnSet::default();
        for &column in columns {
            set.insert(ColumnIx(column));
        }
        Shape {
            columns: set,
            ..Shape::default()
        }
    }

    #[test]
    fn only_neighbours_travel_together() {
        let rows = [shape(&[0, 1]), shape(&[1, 0]), shape(&[0]), shape(&[0, 1])];
        assert_eq!(runs(&rows), [0..2, 2..3, 3..4]);
    }

    #[test]
    fn a_sql_expression_travels_alone() {
        let mut rows = [shape(&[0]), shape(&[0]), shape(&[0])];
        rows[0].has_sql = true;
        rows[1].has_sql = true;
        assert_eq!(runs(&rows), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn a_removed_column_leaves_no_trace() {
        let mut wide = shape(&[1, 200]);
        wide.columns.remove(ColumnIx(200));
        assert_eq!(wide, shape(&[1]));
        assert_eq!(wide.columns.iter().collect::<Vec<_>>(), [ColumnIx(1)]);
    }
}
