//! The service in Python.

use std::path::Path;
use std::process::{Command, Stdio};

use orders_tests::System;
use serde_json::json;
use xtask::addresses::free_port;
use xtask::process::Process;

use super::{OTHER_SECRET, SECRET, order_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_forty_lines_fulfils_pushed_orders() {
    let system = System::start().await;
    let port = free_port().unwrap().to_string();
    let url = format!("http://127.0.0.1:{port}/");
    let _service = service(&port);
    // As during a rotation.
    let secrets = format!("{} {}", OTHER_SECRET.1, SECRET.1);
    let _worker = system.start_worker(&[("FULFILMENT_URL", &url), ("FULFILMENT_SECRET", &secrets)]).await;

    let shipped = system.place(&order_with(1, &[1, 2])).await;
    let rejected = system.place(&order_with(1, &[13])).await;

    let order = system.wait_for_status(shipped, "COMPLETED").await;
    assert_eq!(order["result"], json!({"tracking_number": format!("PARCEL-{shipped}")}));
    let order = system.wait_for_status(rejected, "FAILED").await;
    assert_eq!(order["attempt"], 1, "{order}");
    system.end().await;
}

fn service(port: &str) -> Process {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fulfilment.py");
    let mut command = Command::new("python3");
    command.arg(program).arg(port).env(SECRET.0, SECRET.1).stderr(Stdio::null());
    Process::start_in_our_group("fulfilment.py", &mut command).unwrap()
}
