use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Amount;

/// A currency: an ISO 4217 code, in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

/// The text is not a [`Currency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an ISO 4217 code in capitals, such as EUR")]
pub struct NotACurrency;

impl Currency {
    /// The currency as read from an order's row. A later release may have stored one that this release does not know.
    pub(crate) fn stored(code: &str) -> Option<Self> {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Decimals of an amount in this currency: those of its minor unit, or of [`Amount`] if it has none, like gold.
    #[must_use]
    pub fn decimals(&self) -> u16 {
        iso_currency::Currency::from_code(self.code())
            .and_then(iso_currency::Currency::exponent)
            .unwrap_or(Amount::SCALE)
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(code: &str) -> Result<Self, NotACurrency> {
        let known = iso_currency::Currency::from_code(code).ok_or(NotACurrency)?;
        Self::stored(known.code()).filter(|currency| currency.code() == code).ok_or(NotACurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Its code.
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_has_the_decimals_of_its_minor_unit() {
        for (code, decimals) in [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4), ("XAU", 4)] {
            assert_eq!(code.parse::<Currency>().map(|currency| currency.decimals()), Ok(decimals), "{code}");
        }
    }

    #[test]
    fn only_codes_in_capitals_are_currencies() {
        for code in ["", "eur", "EURO", "ABC", "E R", "€", "978"] {
            assert_eq!(code.parse::<Currency>(), Err(NotACurrency), "{code}");
        }
    }
}
