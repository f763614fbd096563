use sqlx::MySqlPool;

use crate::programs::Programs;
use crate::sizes::Sizes;

/// What every shape needs.
pub(crate) struct Bench {
    pub(crate) url: String,
    pub(crate) pool: MySqlPool,
    pub(crate) server_pid: Option<u32>,
    pub(crate) programs: Programs,
    pub(crate) sizes: Sizes,
}
