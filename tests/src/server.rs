//! The database server that all tests of a run share.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Url;
use sqlx::{Connection, MySqlConnection};
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt, ReuseDirective};
use tokio::sync::OnceCell;

use crate::eventually;

/// A first start takes some ten seconds; a loaded machine several times as long.
const READY_WITHIN: Duration = Duration::from_mins(3);

static SERVER: OnceCell<Url> = OnceCell::const_new();

/// The server's address, without a database: the one of `TEST_DATABASE_URL`, otherwise a container's.
pub(crate) async fn url() -> Url {
    SERVER.get_or_init(find_or_start).await.clone()
}

async fn find_or_start() -> Url {
    let url = match env::var("TEST_DATABASE_URL") {
        Ok(url) => {
            let mut url = Url::parse(&url).expect("TEST_DATABASE_URL is mysql://user:password@host:port");
            url.set_path("");
            url
        }
        Err(_) => start_container().await.expect("no TEST_DATABASE_URL, and no container: run `cargo xtask test`"),
    };
    // The image's first server listens on no port, so the one that answers here is the real one.
    eventually("the database server answers", READY_WITHIN, || async {
        let mut connection = MySqlConnection::connect(url.as_str()).await.ok()?;
        connection.ping().await.ok()
    })
    .await;
    url
}

/// The container outlives the tests that use it; `cargo xtask test` removes it.
async fn start_container() -> Result<Url> {
    let name = env::var("ORDERS_TEST_CONTAINER").unwrap_or_else(|_| "orders-tests".to_owned());
    let container = GenericImage::new("mysql", "9.7")
        .with_exposed_port(3306.tcp())
        .with_container_name(name)
        .with_reuse(ReuseDirective::Always)
        .with_env_var("MYSQL_ROOT_PASSWORD", "orders")
        .with_env_var("MYSQL_ROOT_HOST", "%")
        .with_mount(Mount::tmpfs_mount("/var/lib/mysql"))
        .with_cmd(["--max-connections=1000"])
        .start()
        .await?;
    let host = container.get_host().await?;
    let port = container.get_host_port_ipv4(3306.tcp()).await?;
    Url::parse(&format!("mysql://root:orders@{host}:{port}")).context("the container's address is no URL")
}
