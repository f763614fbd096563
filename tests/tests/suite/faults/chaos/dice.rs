//! Chance that can be repeated.

use std::ops::Range;
use std::time::Duration;

/// `SplitMix64`: a few lines, and good enough to choose faults.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice for a use with an unknown number of rolls, so that later rolls of these stay the same.
    pub(super) fn apart(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("64 bits are enough");
        usize::try_from(self.next() % end).expect("it is below a usize")
    }

    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn rolls_apart_do_not_change_what_comes() {
    let mut dice = [Dice::new(1), Dice::new(1)];

    dice[0].apart();
    let mut apart = dice[1].apart();
    apart.below(100);

    assert_eq!(dice[0].below(10_000), dice[1].below(10_000));
}

#[test]
fn a_seed_decides_what_comes() {
    let roll = |seed| {
        let mut dice = Dice::new(seed);
        [dice.below(100), dice.below(100), dice.below(100), dice.below(100)]
    };

    assert_eq!(roll(1), roll(1));
    assert_ne!(roll(1), roll(2));
}
