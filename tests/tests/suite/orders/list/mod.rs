//! The list of orders: what it shows, page by page, and what a page costs.

mod cost;
mod cursors;
mod filters;
mod heavy;
mod seeds;
