//! How accounts prove who they are.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use orders_tests::OwnServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::doctor;

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_get_in_by_each_plugin_that_the_server_has_for_passwords() {
    let server = OwnServer::start(&[]).await;
    let plugins: &[&str] = if server.is_mariadb().await {
        &["identified via mysql_native_password using password('secret')"]
    } else {
        &["identified with caching_sha2_password by 'secret'", "identified with sha256_password by 'secret'"]
    };
    for plugin in plugins {
        server.execute("drop user if exists 'other'@'%'").await;
        server.execute(&format!("create user 'other'@'%' {plugin}")).await;
        server.execute("grant all on orders.* to 'other'@'%'").await;

        let (code, text) = doctor(&format!("mysql://other:secret@{}/orders", server.address())).await;

        assert_eq!(code, Some(0), "{plugin}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_a_plugin_that_the_driver_does_not_know_is_one_clear_line() {
    // MariaDB's server has it in another package.
    let server = FakeServer::start("client_ed25519").await;

    let (code, text) = doctor(&format!("mysql://orders:secret@{}/orders", server.address)).await;

    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("client_ed25519"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_the_password_in_clear_gets_it_only_where_tls_is_not_asked_for() {
    const PASSWORD: &str = "for-nobody-elses-eyes";
    let server = FakeServer::start("mysql_clear_password").await;

    for parameters in ["?ssl-mode=REQUIRED", "?ssl-mode=VERIFY_CA", "?ssl-mode=VERIFY_IDENTITY"] {
        let (code, text) = doctor(&format!("mysql://orders:{PASSWORD}@{}/orders{parameters}", server.address)).await;

        assert_eq!(code, Some(1), "{text}");
    }

    assert!(!server.has_heard(PASSWORD), "the password was sent");

    // What the driver does, as docs/SETTINGS.md says: once this fails, it no longer does.
    let _ = doctor(&format!("mysql://orders:{PASSWORD}@{}/orders?ssl-mode=PREFERRED", server.address)).await;
    assert!(server.has_heard(PASSWORD));
}

/// A server without TLS that wants accounts to prove themselves by one plugin, and notes all that it hears.
struct FakeServer {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    _serving: JoinSet<()>,
}

impl FakeServer {
    fn has_heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }

    async fn start(plugin: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::default();
        let notes = Arc::clone(&heard);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let _ = ask(client, plugin, &notes).await;
            }
        });
        Self { address, heard, _serving: serving }
    }
}

async fn ask(mut client: TcpStream, plugin: &str, heard: &Mutex<Vec<u8>>) -> io::Result<()> {
    client.write_all(&packet(0, &greeting(plugin))).await?;
    let mut buffer = [0; 4096];
    while let count @ 1.. = client.read(&mut buffer).await? {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        // Asked again, to change to the plugin, as a second chance.
        client.write_all(&packet(2, &[b"\xfe", plugin.as_bytes(), b"\0"].concat())).await?;
    }
    Ok(())
}

/// The first packet of the protocol, without the capability SSL.
fn greeting(plugin: &str) -> Vec<u8> {
    // CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, PLUGIN_AUTH_LENENC_CLIENT_DATA.
    let [low, lower, high, higher] = 0x0028_8208_u32.to_le_bytes();
    let mut greeting = [b"\x0a9.7.0\0".as_slice(), &[1, 0, 0, 0], b"abcdefgh\0"].concat();
    greeting.extend([low, lower, 255, 2, 0, high, higher, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"123456789012\0");
    greeting.extend([plugin.as_bytes(), b"\0"].concat());
    greeting
}

/// Three bytes of length, a number, the payload.
fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    packet[3] = number;
    packet.extend(payload);
    packet
}
