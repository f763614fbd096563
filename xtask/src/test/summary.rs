//! The sum of the "test result:" lines; each test program prints one.

/// The results of all test programs together.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered_out: u64,
    seconds: f64,
}

impl Summary {
    /// Adds up the results in cargo's output.
    pub(super) fn of(output: &str) -> Self {
        let mut sum = Self::default();
        for (_, counts) in output.lines().filter_map(|line| line.split_once("test result: ")) {
            let words: Vec<&str> = counts.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
            for pair in words.windows(2) {
                sum.add(pair);
            }
        }
        sum
    }

    fn add(&mut self, pair: &[&str]) {
        let &[first, second] = pair else { return };
        let count = || first.parse().unwrap_or(0);
        match second {
            "passed" => self.passed += count(),
            "failed" => self.failed += count(),
            "ignored" => self.ignored += count(),
            "filtered" => self.filtered_out += count(),
            _ if first == "in" => self.seconds += second.trim_end_matches('s').parse().unwrap_or(0.0),
            _ => {}
        }
    }

    /// The sum as one such line. `is_success` is cargo's verdict: a test program that crashed prints no line.
    pub(super) fn line(&self, is_success: bool) -> String {
        let verdict = if is_success { "ok" } else { "FAILED" };
        let Self { passed, failed, ignored, filtered_out, seconds } = self;
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; \
             {filtered_out} filtered out; finished in {seconds:.2}s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_all_test_programs_add_up() {
        let output = "
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s
test result: \u{1b}[31mFAILED\u{1b}[0m. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";

        let sum = Summary::of(output);

        assert_eq!(
            sum.line(false),
            "test result: FAILED. 7 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 1.30s"
        );
    }
}
