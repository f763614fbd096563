//! What fails around the programs: the database, the way to it, its clock, and the programs themselves. `chaos` mixes all of
//! it; `fixtures` proves the tools that the other tests use.

mod api;
mod chaos;
mod clock;
mod fixtures;
mod outage;
mod reach;
mod read_view;
mod refused;
mod under_load;
