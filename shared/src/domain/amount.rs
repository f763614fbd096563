use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount of money, exact to four decimals: from 0 to [`Amount::MAX`].
///
/// It travels between the JSON text and the DECIMAL column as text, and is never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    ten_thousandths: i64,
}

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a JSON number (RFC 8259).
    #[error("must be a decimal number")]
    NotANumber,
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It would have to be rounded.
    #[error("must have at most {} decimals", Amount::SCALE)]
    TooManyDecimals,
    /// It does not fit the column.
    #[error("must be at most {}", Amount::MAX)]
    TooLarge,
}

impl AmountError {
    /// The kind of fault, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::Negative => "too_small",
            Self::TooManyDecimals => "too_many_decimals",
            Self::TooLarge => "too_large",
        }
    }
}

impl Amount {
    /// Maximum number of decimals: that of the column.
    pub const SCALE: u16 = 4;

    /// The largest amount, 99999999999999.9999: the most that DECIMAL(18, 4) holds.
    pub const MAX: Self = Self { ten_thousandths: 999_999_999_999_999_999 };

    /// Whether it is a whole number of units of the `decimals`-th decimal.
    #[must_use]
    pub fn has_decimals_within(self, decimals: u16) -> bool {
        self.ten_thousandths % 10_i64.pow(Self::SCALE.saturating_sub(decimals).into()) == 0
    }

    /// Number of digits of [`Amount::MAX`].
    const PRECISION: i64 = 18;
}

/// Reads a JSON number (RFC 8259), the exponent form included. Zeros at the end do not count as decimals.
impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if let Some(opposite) = text.strip_prefix('-') {
            // Minus zero is zero.
            let is_zero = !opposite.starts_with('-') && opposite.parse() == Ok(Self { ten_thousandths: 0 });
            return if is_zero { opposite.parse() } else { Err(AmountError::Negative) };
        }
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| AmountError::NotANumber)?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(AmountError::NotANumber);
        }

        // The value is `significant` × 10^power ten-thousandths.
        let mantissa = format!("{whole}{fraction}");
        let unpadded = mantissa.trim_end_matches('0');
        let significant = unpadded.trim_start_matches('0');
        let zeros_cut = length(&mantissa) - length(unpadded);
        let power = i64::from(exponent) + i64::from(Self::SCALE) + zeros_cut - length(fraction);
        if significant.is_empty() {
            Ok(Self { ten_thousandths: 0 })
        } else if power < 0 {
            Err(AmountError::TooManyDecimals)
        } else if length(significant) + power > Self::PRECISION {
            Err(AmountError::TooLarge)
        } else {
            let scaled = || {
                let factor = 10_i64.checked_pow(u32::try_from(power).ok()?)?;
                significant.parse::<i64>().ok()?.checked_mul(factor)
            };
            scaled().map(|ten_thousandths| Self { ten_thousandths }).ok_or(AmountError::TooLarge)
        }
    }
}

fn length(digits: &str) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

/// Writes the shortest decimal with at least one digit after the point, as the first release did: `100.0`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_i64.pow(Self::SCALE.into());
        let (mut fraction, mut places) = (self.ten_thousandths % unit, usize::from(Self::SCALE));
        while places > 1 && fraction % 10 == 0 {
            fraction /= 10;
            places -= 1;
        }
        write!(f, "{}.{fraction:0places$}", self.ten_thousandths / unit)
    }
}

/// A JSON number, digit for digit.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, AmountError> {
        text.parse::<Amount>().map(|amount| amount.to_string())
    }

    #[test]
    fn amounts_come_back_as_they_were_written() {
        for text in ["0.1", "100.0", "220099.0", "12345678901234.5678", "99999999999999.9999", "0.0", "0.0001"] {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn every_spelling_of_a_number_is_the_same_amount() {
        for text in
            ["100", "100.0", "100.00000", "1e2", "1E+2", "0.1e3", "10000e-2", "100.000000000000000000000000000000"]
        {
            assert_eq!(parsed(text).as_deref(), Ok("100.0"), "{text}");
        }
        for zero in ["0e999999999", "-0", "-0.0"] {
            assert_eq!(parsed(zero).as_deref(), Ok("0.0"), "{zero}");
        }
    }

    #[test]
    fn an_amount_is_refused_and_never_rounded() {
        let refused = [
            ("0.00001", AmountError::TooManyDecimals),
            ("1e-5", AmountError::TooManyDecimals),
            ("1e-999999999", AmountError::TooManyDecimals),
            ("0.1000000000000000000000000000000000001", AmountError::TooManyDecimals),
            ("100000000000000", AmountError::TooLarge),
            ("1e14", AmountError::TooLarge),
            ("1e999999999", AmountError::TooLarge),
            ("-1", AmountError::Negative),
            ("-0.00001", AmountError::Negative),
            ("NaN", AmountError::NotANumber),
            ("Infinity", AmountError::NotANumber),
            ("", AmountError::NotANumber),
            (".5", AmountError::NotANumber),
            ("1e", AmountError::NotANumber),
            ("1e99999999999", AmountError::NotANumber),
        ];
        for (text, error) in refused {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_largest_amount_is_what_the_column_holds() {
        assert_eq!(Amount::MAX.to_string(), "99999999999999.9999");
    }
}
