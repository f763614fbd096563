//! Settings that may be given empty.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// What a setting says, unless it is absent or empty. Compose hands a variable through as empty if it has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given<T>(pub(crate) Option<T>);

impl<T> Given<T> {
    pub(crate) fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

/// Reads the values that the parser in it reads, or an empty one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrEmpty<P>(pub(crate) P);

impl<P: TypedValueParser> TypedValueParser for OrEmpty<P> {
    type Value = Given<P::Value>;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Self::Value, Error> {
        if value.is_empty() { Ok(Given(None)) } else { self.0.parse_ref(command, arg, value).map(Some).map(Given) }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}
