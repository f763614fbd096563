//! How orders are processed: by code, or by a service that they are pushed to.

mod in_process;
mod outcomes;
