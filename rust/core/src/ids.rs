//! Typed indices: a mapper number cannot be used as a state number.

macro_rules! typed_index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a position in a slice.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The index of a position in a slice; positions past `u32::MAX` saturate.
            #[must_use]
            pub fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }
        }
    };
}

typed_index!(
    /// A mapper inside one flush schema.
    MapperId
);
typed_index!(
    /// A table of a mapper hierarchy, in dependency order.
    TableId
);
typed_index!(
    /// A state registered in one flush, in the order of registration.
    StateId
);
typed_index!(
    /// A dependency processor (one relationship of one mapper) inside one flush schema.
    DependencyId
);
typed_index!(
    /// An attribute of a class hierarchy.
    AttrIx
);
typed_index!(
    /// A column of one mapped table, in mapping order.
    ColumnIx
);
