//! How accounts prove who they are.

use std::sync::{Arc, Mutex};

use orders_tests::{OwnServer, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{doctor, is_mariadb};

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_get_in_by_each_plugin_that_the_server_has_for_passwords() {
    let server = OwnServer::start(&[]).await;
    let plugins: &[&str] = if is_mariadb(&server).await {
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
    let server = OwnServer::start(&[]).await;
    if !is_mariadb(&server).await {
        return; // MySQL has none of the kind.
    }
    server.execute("install soname 'auth_ed25519'").await;
    server.execute("create user 'other'@'%' identified via ed25519 using password('secret')").await;
    server.execute("grant all on orders.* to 'other'@'%'").await;

    let (code, text) = doctor(&format!("mysql://other:secret@{}/orders", server.address())).await;

    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("client_ed25519"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_the_password_in_clear_does_not_get_it() {
    const PASSWORD: &str = "for-nobody-elses-eyes";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let server = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(ask_for_clear_text(client, Arc::clone(&hears)));
        }
    });

    for parameters in ["", "?ssl-mode=DISABLED"] {
        let url = format!("mysql://orders:{PASSWORD}@{address}/orders{parameters}");
        let output = run("orders-api", &["doctor"], &[("DATABASE_URL", url.as_str())]).await;

        assert_eq!(output.status.code(), Some(1));
    }

    server.abort();
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty(), "nobody came");
    let is_told = heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
    assert!(!is_told, "the password was sent: {:?}", String::from_utf8_lossy(&heard));
}

/// A server without TLS whose greeting names `mysql_clear_password`; it notes all that it hears.
async fn ask_for_clear_text(mut client: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    let mut greeting = vec![10];
    greeting.extend(b"9.7.0\0");
    greeting.extend([1, 0, 0, 0]);
    greeting.extend(b"12345678\0");
    // PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, CONNECT_WITH_DB, PLUGIN_AUTH_LENENC_DATA; no SSL.
    let capabilities: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x0000_0008 | 0x0020_0000;
    let [low, lower, high, higher] = capabilities.to_le_bytes();
    greeting.extend([low, lower, 255, 2, 0, high, higher, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"123456789012\0");
    greeting.extend(b"mysql_clear_password\0");
    let mut packet = u32::try_from(greeting.len()).unwrap().to_le_bytes().to_vec();
    packet.extend(greeting);
    if client.write_all(&packet).await.is_err() {
        return;
    }
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        // Asked again by a change of method (AuthSwitchRequest), as a second chance to give it away.
        let switch = b"\xfemysql_clear_password\0";
        let mut packet = u32::try_from(switch.len()).unwrap().to_le_bytes().to_vec();
        packet[3] = 2;
        packet.extend(switch);
        if client.write_all(&packet).await.is_err() {
            return;
        }
    }
}
