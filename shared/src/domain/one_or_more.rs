use std::iter::{Chain, Once, once};
use std::{slice, vec};

/// A list that is never empty: a request always has an order, so its answer always has one to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMore<T> {
    first: T,
    rest: Vec<T>,
}

impl<T> OneOrMore<T> {
    /// A list of one.
    #[must_use]
    pub fn one(only: T) -> Self {
        Self { first: only, rest: Vec::new() }
    }

    /// The list, or `None` if it is empty.
    #[must_use]
    pub fn of(list: Vec<T>) -> Option<Self> {
        let mut list = list.into_iter();
        Some(Self { first: list.next()?, rest: list.collect() })
    }

    /// The first entry.
    #[must_use]
    pub fn first(&self) -> &T {
        &self.first
    }

    /// The first entry by itself.
    #[must_use]
    pub fn into_first(self) -> T {
        self.first
    }

    /// Number of entries.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.rest.len()
    }

    /// The entries.
    pub fn iter(&self) -> Chain<Once<&T>, slice::Iter<'_, T>> {
        once(&self.first).chain(&self.rest)
    }

    /// What `read` finds in each entry.
    #[must_use]
    pub fn each<U>(&self, mut read: impl FnMut(&T) -> U) -> OneOrMore<U> {
        OneOrMore { first: read(&self.first), rest: self.rest.iter().map(read).collect() }
    }

    /// What `change` makes of each entry.
    #[must_use]
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> OneOrMore<U> {
        OneOrMore { first: change(self.first), rest: self.rest.into_iter().map(change).collect() }
    }

    /// Each entry with its counterpart in `other`, up to the end of the shorter list.
    #[must_use]
    pub fn zip<U>(self, other: OneOrMore<U>) -> OneOrMore<(T, U)> {
        OneOrMore { first: (self.first, other.first), rest: self.rest.into_iter().zip(other.rest).collect() }
    }
}

impl<T> IntoIterator for OneOrMore<T> {
    type Item = T;
    type IntoIter = Chain<Once<T>, vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        once(self.first).chain(self.rest)
    }
}

impl<'a, T> IntoIterator for &'a OneOrMore<T> {
    type Item = &'a T;
    type IntoIter = Chain<Once<&'a T>, slice::Iter<'a, T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_is_never_empty() {
        let list = OneOrMore::of(vec![3, 1, 2]).unwrap();

        assert_eq!((list.first(), list.count()), (&3, 3));
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [3, 1, 2]);
        let pairs = list.map(|number| 10 * number).zip(OneOrMore::of(vec!['a', 'b', 'c']).unwrap());
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [(30, 'a'), (10, 'b'), (20, 'c')]);
        assert_eq!(OneOrMore::<i32>::of(Vec::new()), None);
    }
}
