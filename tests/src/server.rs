//! The database server that all tests of a run share.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Url;
use sqlx::{Connection, MySqlConnection};
use testcontainers::core::{Host, IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt, ReuseDirective};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use xtask::interrupt::Interrupt;
use xtask::servers::{CLIENTS_NAME, Engine};

use crate::eventually::eventually;

/// A first start takes some ten seconds; a loaded machine several times as long.
const READY_WITHIN: Duration = Duration::from_mins(3);

static SERVER: OnceCell<Url> = OnceCell::const_new();

/// Where the server listens in its container.
const PORT: u16 = 3306;

/// The server's address, without a database: the one of `TEST_DATABASE_URL`, otherwise a container's.
pub(crate) async fn url() -> Url {
    let mut url = SERVER.get_or_init(find_or_start).await.clone();
    // Spelled out, so that no program warns of it.
    url.set_query(Some("ssl-mode=PREFERRED"));
    url
}

async fn find_or_start() -> Url {
    let Ok(url) = env::var("TEST_DATABASE_URL") else {
        return start_container().await.expect("no TEST_DATABASE_URL, and no container: run `cargo xtask test`");
    };
    let mut url = Url::parse(&url).expect("TEST_DATABASE_URL is mysql://user:password@host:port");
    url.set_path("");
    wait_until_answers(&url).await;
    url
}

/// The container outlives the tests that use it; `cargo xtask test` removes it. It is reached at its own address if it
/// is one of this machine, otherwise at its published port.
async fn start_container() -> Result<Url> {
    let name = env::var("ORDERS_TEST_CONTAINER").unwrap_or_else(|_| "orders-tests".to_owned());
    let container = GenericImage::new("mysql", "9.7")
        .with_exposed_port(PORT.tcp())
        .with_container_name(&name)
        .with_reuse(ReuseDirective::Always)
        .with_env_var("MYSQL_ROOT_PASSWORD", "orders")
        .with_env_var("MYSQL_ROOT_HOST", "%")
        .with_mount(Mount::tmpfs_mount("/var/lib/mysql"))
        .with_host(CLIENTS_NAME, Host::HostGateway)
        .with_cmd(["--max-connections=1000"])
        .start()
        .await?;
    let host = container.get_host().await?;
    let port = container.get_host_port_ipv4(PORT.tcp()).await?;
    let url = |address: String| {
        Url::parse(&format!("mysql://root:orders@{address}")).context("the container's address is no URL")
    };
    let published = url(format!("{host}:{port}"))?;
    wait_until_answers(&published).await;
    let own = spawn_blocking(move || Engine::find(&Interrupt::never())?.reached_address_of(&name)).await??;
    own.map_or(Ok(published), |address| url(address.to_string()))
}

async fn wait_until_answers(url: &Url) {
    // The image's first server listens on no port, so the one that answers here is the real one.
    eventually("the database server answers", READY_WITHIN, || answer(url)).await;
}

pub(crate) async fn answer(url: &Url) -> Option<()> {
    let mut connection = MySqlConnection::connect(url.as_str()).await.ok()?;
    connection.ping().await.ok()
}
