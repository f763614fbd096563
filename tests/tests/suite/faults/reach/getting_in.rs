//! Addresses, passwords and parameters in `DATABASE_URL`.

use orders_tests::{Api, OwnServer, Proxy, run};
use reqwest::Url;
use tokio::net::TcpListener;

use super::{doctor, wait_until_an_order_is_taken};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_at_an_address_of_version_6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return; // A machine without it.
    };
    let server = OwnServer::start(&[]).await;
    let proxy = Proxy::start_at(listener, &server.url);
    assert!(proxy.url.contains("@[::1]:"), "{}", proxy.url);

    let api = Api::start(&proxy.url, &[]).await;

    wait_until_an_order_is_taken(&api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_with_any_character_is_taken_percent_encoded() {
    const PASSWORD: &str = "a#b/c?d@e:f%g h&i=j+k";
    let server = OwnServer::start(&[]).await;
    server.execute(&format!("alter user 'orders'@'%' identified by '{PASSWORD}'")).await;
    let encoded = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let url = format!("mysql://orders:{encoded}@{}/orders", server.address());

    let (code, text) = doctor(&url).await;

    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_cannot_be_meant_is_one_line_that_says_how_to_mend_it() {
    for (url, said) in [
        ("mysql://u:p@127.0.0.1:1/orders?ssl_mode=REQUIRED", ["ssl_mode", "ssl-mode"]),
        ("mysql://u:p@127.0.0.1:1/orders?sslmode=REQUIRED", ["sslmode", "ssl-mode"]),
        ("mysql://u:p@127.0.0.1:1/orders?ssl-mode=REQUIRED&tls=1", ["tls", "ssl-ca"]),
        ("mysql://u:p#hunter@127.0.0.1:1/orders", ["DATABASE_URL", "percent-encode"]),
        ("mysql://u:p/hunter@127.0.0.1:1/orders", ["DATABASE_URL", "percent-encode"]),
        ("mysql://u:p?hunter@127.0.0.1:1/orders", ["DATABASE_URL", "percent-encode"]),
    ] {
        for (program, command) in [("orders-api", "doctor"), ("orders-api", "serve"), ("orders-worker", "run")] {
            let env = [
                ("DATABASE_URL", url),
                ("API_LISTEN", "127.0.0.1:0"),
                ("WORKER_LISTEN", "127.0.0.1:0"),
                ("RUST_BACKTRACE", "0"),
            ];
            let output = run(program, &[command], &env).await;
            let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();

            assert_eq!(output.status.code(), Some(1), "{url}: {program} {command}: {text}");
            assert_eq!(text.lines().count(), 1, "{url}: {program} {command}: {text}");
            for word in said {
                assert!(text.contains(word), "{url}: {program} {command} does not say {word}: {text}");
            }
            assert!(!text.contains("hunter"), "it shows the password: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_a_url_may_have_any_form() {
    // The line says of each that nobody answers there, not that it is no address.
    for host in ["[::1]", "[fd00::dead]", "127.0.0.1", "localhost"] {
        let url = format!("mysql://u:p@{host}:1/orders?ssl-mode=DISABLED");
        assert!(Url::parse(&url).is_ok());
        let (code, text) = doctor(&url).await;

        assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
        assert!(text.starts_with("FAIL  reachable"), "{text}");
        assert!(!text.contains("lookup"), "{host} is looked up as a name: {text}");
    }
}
