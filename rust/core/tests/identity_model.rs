//! The identity table against a plain map, over arbitrary sequences of operations.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rustalchemy_core::identity::{
    Candidates, IdentityTable, KeyEquality, KeyHash, Verdict, insert, lookup,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Handles of the model: the key and a serial number.
type Handle = (u8, u32);

/// Compares keys; odd ones only slowly.
struct ByKey(u8);

impl KeyEquality<Handle> for ByKey {
    type Error = Infallible;

    fn fast(&self, handle: Handle) -> Verdict {
        match (self.0 % 2, handle.0 == self.0) {
            (1, _) => Verdict::Unknown,
            (_, true) => Verdict::Equal,
            (_, false) => Verdict::Different,
        }
    }

    fn pin(&mut self, _candidates: &Candidates<Handle>) {}

    fn slow(&mut self, handle: Handle) -> Result<bool, Infallible> {
        Ok(handle.0 == self.0)
    }
}

/// One step of a test.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Remove(u8),
    Lookup(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..40_u8;
    prop_oneof![
        key.clone().prop_map(Step::Insert),
        key.clone().prop_map(Step::Remove),
        key.prop_map(Step::Lookup),
    ]
}

/// Few distinct hashes, so that most keys collide.
fn hash_of(key: u8) -> KeyHash {
    KeyHash::from(key / 8)
}

proptest! {
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 0..200)) {
        let table = RefCell::new(IdentityTable::new());
        let mut model: BTreeMap<u8, Handle> = BTreeMap::new();
        for (serial, step) in (0..).zip(steps) {
            match step {
                Step::Insert(key) => {
                    let got = insert(&table, hash_of(key), (key, serial), &mut ByKey(key)).unwrap();
                    let expected = model.get(&key).copied();
                    model.entry(key).or_insert((key, serial));
                    prop_assert_eq!(got, expected);
                }
                Step::Remove(key) => {
                    if let Some(handle) = model.remove(&key) {
                        prop_assert!(table.borrow_mut().remove(hash_of(key), handle));
                        prop_assert!(!table.borrow_mut().remove(hash_of(key), handle));
                    }
                }
                Step::Lookup(key) => {
                    let got = lookup(&table, hash_of(key), &mut ByKey(key)).unwrap();
                    prop_assert_eq!(got, model.get(&key).copied());
                }
            }
            prop_assert_eq!(table.borrow().len(), model.len());
        }
        let mut handles: Vec<_> = table.borrow().handles().collect();
        handles.sort_unstable();
        let serials: Vec<_> = handles.iter().map(|&(_, (_, serial))| serial).collect();
        prop_assert!(serials.is_sorted(), "turns follow the order of insertion");
        let mut handles: Vec<_> = handles.into_iter().map(|(_, handle)| handle).collect();
        handles.sort_unstable();
        prop_assert_eq!(handles, model.into_values().collect::<Vec<_>>());
    }
}
