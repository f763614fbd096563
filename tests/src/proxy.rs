//! A line between a program and its database that can be cut.

use std::net::SocketAddr;

use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Passes TCP connections on to the database; while it is cut, ends them all and answers no new one.
#[derive(Debug)]
pub struct Proxy {
    /// The database's URL by way of the proxy.
    pub url: String,
    is_up: watch::Sender<bool>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Starts passing on to the database of `url`.
    pub async fn start(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the database's URL is sound");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(3306));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("a bound listener has an address");
        url.set_host(Some("127.0.0.1")).expect("an address is a host");
        url.set_port(Some(address.port())).expect("the URL takes a port");
        let (is_up, state) = watch::channel(true);
        let accepting = tokio::spawn(accept(listener, target, state)).abort_handle();
        Self { url: url.into(), is_up, accepting }
    }

    /// The database is away from now on.
    pub fn cut(&self) {
        self.is_up.send_replace(false);
    }

    /// The database is back.
    pub fn restore(&self) {
        self.is_up.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: String, state: watch::Receiver<bool>) {
    while let Ok((program, _)) = listener.accept().await {
        if *state.borrow() {
            tokio::spawn(pass_on(program, target.clone(), state.clone()));
        }
    }
}

/// Ends with either side, with the cut, or with the proxy itself.
async fn pass_on(mut program: TcpStream, target: String, mut state: watch::Receiver<bool>) {
    let Ok(mut database) = TcpStream::connect(target).await else { return };
    let _ = program.set_nodelay(true);
    let _ = database.set_nodelay(true);
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut program, &mut database) => {}
        _ = state.wait_for(|is_up| !is_up) => {}
    }
}
