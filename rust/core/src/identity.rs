//! The identity table: which object stands for a row, found by a key that only the caller can compare.
//!
//! The table knows nothing about keys. It stores a hash and a handle for every object and asks the caller whether a
//! handle's key is the one looked for. The caller first answers from what it can see at once (*fast*); where that does not
//! decide, the candidates are copied out and the caller compares them at leisure (*slow*). A slow comparison may fail and
//! may change the table, therefore nothing of the table is borrowed while it runs.

use hashbrown::HashTable;
use smallvec::SmallVec;

/// Handles whose keys could not be compared at once, in no particular order.
pub type Candidates<H> = SmallVec<[H; 4]>;

/// What a fast comparison of two keys came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The keys are equal.
    Equal,
    /// The keys differ.
    Different,
    /// Only a slow comparison can tell.
    Unknown,
}

/// What one look into the table came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe<H> {
    /// The object with this key.
    Hit(H),
    /// No object has this key.
    Miss,
    /// One of these may have this key; no other can.
    Ask(Candidates<H>),
}

/// Hash of an identity, as the table and whoever is in it keep it: [`fold`] makes one.
pub type KeyHash = u32;

/// When an object came in: objects are listed in this order, across all tables of a session.
pub type Turn = u32;

/// One object of the table.
#[derive(Clone, Copy, Debug)]
struct Entry<H> {
    hash: KeyHash,
    turn: Turn,
    handle: H,
}

/// A hash table of borrowed handles, one for each identity.
#[derive(Debug, Default)]
pub struct IdentityTable<H> {
    entries: HashTable<Entry<H>>,
    /// Counts changes, so that a slow comparison can see whether the table moved under it.
    epoch: u64,
}

impl<H: Copy + PartialEq> IdentityTable<H> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: HashTable::new(),
            epoch: 0,
        }
    }

    /// The number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of changes so far.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes room for `additional` more objects.
    pub fn reserve(&mut self, additional: usize) {
        self.entries.reserve(additional, |entry| spread(entry.hash));
    }

    /// Looks for a key of this hash. `fast` must not run foreign code.
    pub fn probe(&self, hash: KeyHash, mut fast: impl FnMut(H) -> Verdict) -> Probe<H> {
        let mut unknown = Candidates::new();
        let found = self.entries.find(spread(hash), |entry| {
            entry.hash == hash
                && match fast(entry.handle) {
                    Verdict::Equal => true,
                    Verdict::Different => false,
                    Verdict::Unknown => {
                        unknown.push(entry.handle);
                        false
                    }
                }
        });
        match found {
            Some(entry) => Probe::Hit(entry.handle),
            None if unknown.is_empty() => Probe::Miss,
            None => Probe::Ask(unknown),
        }
    }

    /// Enters an object whose key is known to be absent.
    pub fn insert_absent(&mut self, hash: KeyHash, turn: Turn, handle: H) {
        self.epoch += 1;
        self.entries
            .insert_unique(spread(hash), Entry { hash, turn, handle }, |entry| {
                spread(entry.hash)
            });
    }

    /// Takes out this very handle, without any comparison of keys. Whether it was there.
    pub fn remove(&mut self, hash: KeyHash, handle: H) -> bool {
        match self
            .entries
            .find_entry(spread(hash), |entry| entry.handle == handle)
        {
            Ok(occupied) => {
                self.epoch += 1;
                occupied.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Whether this very handle is in the table under this hash.
    #[must_use]
    pub fn contains(&self, hash: KeyHash, handle: H) -> bool {
        self.entries
            .find(spread(hash), |entry| entry.handle == handle)
            .is_some()
    }

    /// Puts `with` where `handle` is, keeping hash and turn. Whether `handle` was there.
    pub fn replace(&mut self, hash: KeyHash, handle: H, with: H) -> bool {
        match self
            .entries
            .find_mut(spread(hash), |entry| entry.handle == handle)
        {
            Some(entry) => {
                self.epoch += 1;
                entry.handle = with;
                true
            }
            None => false,
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.epoch += 1;
        self.entries.clear();
    }

    /// The handles, each with its turn, in table order.
    pub fn handles(&self) -> impl Iterator<Item = (Turn, H)> + '_ {
        self.entries.iter().map(|entry| (entry.turn, entry.handle))
    }
}

/// A place where a table lives, lent out for short moments.
pub trait TableAccess<H> {
    /// Runs `short` on the table. `short` never runs foreign code.
    fn with_table<R>(&self, short: impl FnOnce(&mut IdentityTable<H>) -> R) -> R;
    /// The turn of the object that comes in next.
    fn next_turn(&self) -> Turn;
}

impl<H> TableAccess<H> for std::cell::RefCell<IdentityTable<H>> {
    fn with_table<R>(&self, short: impl FnOnce(&mut IdentityTable<H>) -> R) -> R {
        short(&mut self.borrow_mut())
    }
    fn next_turn(&self) -> Turn {
        Turn::try_from(self.borrow().epoch).unwrap_or(Turn::MAX)
    }
}

/// How a caller compares the key it looks for with the key of an object.
pub trait KeyEquality<H> {
    /// What a slow comparison may fail with.
    type Error;
    /// Compares as far as that is possible without foreign code.
    fn fast(&self, handle: H) -> Verdict;
    /// Takes measures so that the candidates stay alive while they are compared.
    fn pin(&mut self, candidates: &Candidates<H>);
    /// Compares for good; may run foreign code, which may change the table.
    fn slow(&mut self, handle: H) -> Result<bool, Self::Error>;
}

/// The object with the key that `equality` stands for.
///
/// A candidate that leaves the table during its own comparison is not a result.
pub fn lookup<H: Copy + PartialEq, Q: KeyEquality<H>>(
    access: &impl TableAccess<H>,
    hash: KeyHash,
    equality: &mut Q,
) -> Result<Option<H>, Q::Error> {
    let probe = access.with_table(|table| {
        let probe = table.probe(hash, |handle| equality.fast(handle));
        if let Probe::Ask(candidates) = &probe {
            // Inside of the access: afterwards nothing keeps the candidates alive.
            equality.pin(candidates);
        }
        probe
    });
    match probe {
        Probe::Hit(handle) => Ok(Some(handle)),
        Probe::Miss => Ok(None),
        Probe::Ask(candidates) => {
            for handle in candidates {
                if equality.slow(handle)? && access.with_table(|table| table.contains(hash, handle))
                {
                    return Ok(Some(handle));
                }
            }
            Ok(None)
        }
    }
}

/// Enters an object unless another one has its key; that other one is returned then, or `handle` itself if it was in.
///
/// If comparing keys changed the table, the search starts again; the number of attempts is bounded, so that a comparison
/// that always inserts cannot keep this busy for ever: after [`ATTEMPTS`] rounds the last look stands.
pub fn insert<H: Copy + PartialEq, Q: KeyEquality<H>>(
    access: &impl TableAccess<H>,
    hash: KeyHash,
    handle: H,
    equality: &mut Q,
) -> Result<Option<H>, Q::Error> {
    for attempt in 1.. {
        let before = access.with_table(|table| table.epoch());
        if let Some(existing) = lookup(access, hash, equality)? {
            return Ok(Some(existing));
        }
        let turn = access.next_turn();
        let entered = access.with_table(|table| {
            let settled = table.epoch() == before || attempt >= ATTEMPTS;
            if settled {
                table.insert_absent(hash, turn, handle);
            }
            settled
        });
        if entered {
            break;
        }
    }
    Ok(None)
}

/// Rounds an insertion makes when comparisons keep changing the table.
pub const ATTEMPTS: u32 = 8;

/// Makes a table hash of a key's hash.
///
/// The hash of an integer is the integer, and objects are mostly asked for in the order of their keys. So neighbours stay
/// neighbours: keys that differ in their last eight bits only share a stretch of the table, which stays in the processor's
/// cache, while the stretches lie anywhere. The table tells entries of a stretch apart by the upper seven bits.
#[inline]
fn spread(hash: KeyHash) -> u64 {
    let hash = u64::from(hash);
    mix(hash >> 8).wrapping_add(hash & 0xff) ^ (hash << 57)
}

/// The hash of a key, made smaller: every object keeps it. Neighbours stay neighbours.
#[inline]
#[must_use]
#[allow(clippy::cast_possible_truncation)] // the upper half is in the lower one by then
pub fn fold(hash: u64) -> KeyHash {
    (hash ^ mix(hash >> 32)) as KeyHash
}

/// Distributes a hash over all bits.
#[inline]
fn mix(hash: u64) -> u64 {
    let product = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    #[allow(clippy::cast_possible_truncation)] // the two halves are folded on purpose
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded
}

/// Hash of a composite key from the hashes of its parts.
#[must_use]
pub fn combine_hashes(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0x2545_f491_4f6c_dd1d, |hash, part| {
        mix(hash.rotate_left(23) ^ part)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Compares the digits of handles modulo ten; "slow" keys go through a callback.
    struct Digit<'a> {
        ones: u32,
        is_slow: bool,
        pinned: usize,
        callback: Box<dyn FnMut(u32) -> Result<(), &'static str> + 'a>,
    }

    impl<'a> Digit<'a> {
        fn fast(digit: u32) -> Self {
            Self {
                ones: digit,
                is_slow: false,
                pinned: 0,
                callback: Box::new(|_| Ok(())),
            }
        }

        fn slow(digit: u32, callback: impl FnMut(u32) -> Result<(), &'static str> + 'a) -> Self {
            Self {
                ones: digit,
                is_slow: true,
                pinned: 0,
                callback: Box::new(callback),
            }
        }
    }

    impl KeyEquality<u32> for Digit<'_> {
        type Error = &'static str;

        fn fast(&self, handle: u32) -> Verdict {
            match (self.is_slow, handle % 10 == self.ones) {
                (true, _) => Verdict::Unknown,
                (false, true) => Verdict::Equal,
                (false, false) => Verdict::Different,
            }
        }

        fn pin(&mut self, candidates: &Candidates<u32>) {
            self.pinned += candidates.len();
        }

        fn slow(&mut self, handle: u32) -> Result<bool, Self::Error> {
            (self.callback)(handle)?;
            Ok(handle % 10 == self.ones)
        }
    }

    fn table_of(handles: &[u32]) -> RefCell<IdentityTable<u32>> {
        let table = RefCell::new(IdentityTable::new());
        for &handle in handles {
            table.borrow_mut().insert_absent(7, handle, handle);
        }
        table
    }

    #[test]
    fn a_key_is_found_among_equal_hashes() {
        let table = table_of(&[11, 12, 13]);
        assert_eq!(lookup(&table, 7, &mut Digit::fast(2)), Ok(Some(12)));
        assert_eq!(lookup(&table, 7, &mut Digit::fast(4)), Ok(None));
        assert_eq!(lookup(&table, 8, &mut Digit::fast(2)), Ok(None));
    }

    #[test]
    fn the_first_of_two_objects_stays() {
        let table = table_of(&[]);
        assert_eq!(insert(&table, 7, 15, &mut Digit::fast(5)), Ok(None));
        assert_eq!(insert(&table, 7, 25, &mut Digit::fast(5)), Ok(Some(15)));
        assert_eq!(table.borrow().len(), 1);
    }

    #[test]
    fn a_failing_comparison_leaves_the_table_alone() {
        let table = table_of(&[11]);
        let failed = insert(&table, 7, 12, &mut Digit::slow(2, |_| Err("no")));
        assert_eq!(failed, Err("no"));
        assert_eq!(table.borrow().handles().collect::<Vec<_>>(), [(11, 11)]);
    }

    #[test]
    fn a_comparison_may_remove_what_it_compares() {
        let table = table_of(&[12]);
        let mut equality = Digit::slow(2, |handle| {
            table.borrow_mut().remove(7, handle);
            Ok(())
        });
        assert_eq!(lookup(&table, 7, &mut equality), Ok(None));
    }

    #[test]
    fn a_comparison_may_enter_the_same_key() {
        let table = table_of(&[11]);
        let mut is_first = true;
        let mut equality = Digit::slow(2, |_| {
            if std::mem::take(&mut is_first) {
                table.borrow_mut().insert_absent(7, 22, 22);
            }
            Ok(())
        });
        assert_eq!(insert(&table, 7, 12, &mut equality), Ok(Some(22)));
    }

    #[test]
    fn a_comparison_that_always_inserts_comes_to_an_end() {
        let table = table_of(&[11]);
        let mut next = 100;
        let mut equality = Digit::slow(2, |_| {
            next += 10;
            table.borrow_mut().insert_absent(8, next, next);
            Ok(())
        });
        assert_eq!(insert(&table, 7, 12, &mut equality), Ok(None));
        drop(equality);
        assert!(table.borrow().contains(7, 12));
    }

    #[test]
    fn candidates_are_pinned_before_they_are_compared() {
        let table = table_of(&[11, 21]);
        let mut equality = Digit::slow(3, |_| Ok(()));
        assert_eq!(lookup(&table, 7, &mut equality), Ok(None));
        assert_eq!(equality.pinned, 2);
    }

    #[test]
    fn a_handle_is_replaced_in_place() {
        let table = table_of(&[11]);
        assert!(table.borrow_mut().replace(7, 11, 31));
        assert!(!table.borrow_mut().replace(7, 11, 41));
        assert_eq!(lookup(&table, 7, &mut Digit::fast(1)), Ok(Some(31)));
        assert_eq!(table.borrow().handles().collect::<Vec<_>>(), [(11, 31)]);
    }

    /// The most keys of a pattern that want the same sixteen places of a table that is half full.
    fn worst_crowd(key: impl Fn(u64) -> u64) -> usize {
        let mut places = vec![0; 1 << 13];
        for number in 0..1 << 16 {
            let place = usize::try_from(spread(fold(key(number))) & 0x1_ffff).unwrap();
            places[place >> 4] += 1;
        }
        places.into_iter().max().unwrap()
    }

    #[test]
    fn regular_keys_do_not_crowd() {
        for shift in 0..48 {
            let crowd = worst_crowd(|number| number << shift);
            assert!(
                crowd <= 160,
                "{crowd} keys in one place at stride 1 << {shift}"
            );
        }
        for factor in [3, 7, 10, 100, 1_000, 65_537, 1_000_003, (1 << 32) + 1] {
            let crowd = worst_crowd(|number| number.wrapping_mul(factor));
            assert!(crowd <= 160, "{crowd} keys in one place at stride {factor}");
        }
    }

    #[test]
    fn order_of_parts_matters() {
        assert_ne!(combine_hashes([1, 2]), combine_hashes([2, 1]));
        assert_ne!(combine_hashes([1]), combine_hashes([1, 0]));
    }
}
