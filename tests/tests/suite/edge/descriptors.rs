//! Programs that may have few open files.

use futures_util::future::join_all;
use orders_tests::{Api, SOON, Worker, database, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::{connect, request};

#[tokio::test(flavor = "multi_thread")]
async fn with_256_descriptors_a_hundred_clients_are_served_at_once() {
    let database = database().await;
    let api = Api::launch_with_descriptors(256, &database.url);
    api.wait_until_up().await;

    let asked = request("GET", "/queue");
    let mut clients = join_all((0..100).map(|_| connect(&api, asked.as_bytes()))).await;

    for _ in 0..2 {
        for client in &mut clients {
            let mut answer = [0; 4096];
            let length = client.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            client.write_all(asked.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_descriptors_than_they_need_both_programs_refuse_to_run_and_say_why() {
    let database = database().await;
    let api = Api::launch_with_descriptors(127, &database.url);
    let worker = Worker::launch_with_descriptors(127, &database.url);

    for program in [&*api, &*worker] {
        let status = eventually("it has ended", SOON, || async { program.ended() }).await;

        assert_eq!(status.code(), Some(1));
        let said = eventually("it says why", SOON, || async {
            program.logs().lines().find(|line| line.contains("ulimit -n")).map(str::to_owned)
        })
        .await;
        assert!(said.contains("127") && said.contains("128"), "{said}");
    }
    let (api, worker) =
        (Api::launch_with_descriptors(128, &database.url), Worker::launch_with_descriptors(128, &database.url));
    api.wait_until_up().await;
    worker.wait_until_up().await;
}
