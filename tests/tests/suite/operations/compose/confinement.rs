//! What others reach of the deployment, and what its parts may do.

use std::process::Command;

use super::deployment::{Deployment, docker};

/// Asks MySQL, at the address that follows, as the programs do.
const ASK: [&str; 6] =
    ["mysql", "--user=orders", "--password=orders", "--connect-timeout=3", "--execute=select 1", "--host"];

/// Of a running deployment.
pub(super) async fn assert_strangers_are_kept_out(deployment: &Deployment) {
    assert_known_passwords_are_refused_where_others_reach_it(deployment);
    assert_it_says_how_roots_password_is_changed(deployment);
    assert_it_answers_to_its_own_names_alone(deployment).await;
    assert_each_part_has_limits(deployment);
    assert_programs_cannot_change_tables(deployment);
    assert_prometheus_cannot_reach_mysql(deployment);
}

fn assert_known_passwords_are_refused_where_others_reach_it(deployment: &Deployment) {
    let names = ["MYSQL_PASSWORD", "MYSQL_MIGRATE_PASSWORD", "MYSQL_ROOT_PASSWORD"];
    let mut env = vec![("API_BIND", "0.0.0.0")];
    for (set, name) in names.into_iter().enumerate() {
        let said = deployment.refused(&alone("passwords"), &env);

        let missing = names[set..].join(" ");
        assert!(said.contains(&format!("others reach the API at 0.0.0.0 (API_BIND): set {missing}\n")), "{said}");
        env.push((name, "a-password-of-ones-own"));
    }
    deployment.compose_with(&alone("passwords"), &env);
}

/// One service, without those that it depends on.
fn alone(service: &str) -> [&str; 5] {
    ["run", "--rm", "--no-deps", "-T", service]
}

/// Follows what it says, and undoes it.
fn assert_it_says_how_roots_password_is_changed(deployment: &Deployment) {
    const NEW: &str = "another-one";
    let env = [("MYSQL_ROOT_PASSWORD", NEW)];
    let said = deployment.refused(&alone("accounts"), &env);
    let (_, cure) = said.split_once("as root: ").unwrap_or_else(|| panic!("{said}"));
    let cure = |password| cure.lines().next().unwrap().replace('…', password);

    deployment.compose(&["exec", "-T", "-e", "MYSQL_PWD=orders-root", "mysql", "mysql", "-uroot", "-e", &cure(NEW)]);
    deployment.compose_with(&alone("accounts"), &env);

    let old = format!("MYSQL_PWD={NEW}");
    deployment.compose(&["exec", "-T", "-e", &old, "mysql", "mysql", "-uroot", "-e", &cure("orders-root")]);
}

async fn assert_it_answers_to_its_own_names_alone(deployment: &Deployment) {
    let url = format!("{}/queue", deployment.published("api", 8000));
    let client = reqwest::Client::new();
    for (host, status) in [("evil.example", 403), ("localhost", 200), ("api:8000", 200)] {
        let answer = client.get(&url).header("host", host).send().await.expect("the published port answers");

        assert_eq!(answer.status(), status, "{host}");
    }
}

fn assert_each_part_has_limits(deployment: &Deployment) {
    for service in ["mysql", "api", "worker", "prometheus"] {
        let format = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}";
        let limits = docker(&["inspect", "--format", format, &deployment.container(service)]);

        let limits: Vec<u64> = limits.split(' ').map(|limit| limit.parse().unwrap_or_default()).collect();
        assert!(limits.len() == 2 && limits.iter().all(|limit| *limit > 0), "{service}: {limits:?}");
    }
}

fn assert_programs_cannot_change_tables(deployment: &Deployment) {
    // As a volume has it in which the programs' account was the database's owner.
    let all = "grant all on orders.* to 'orders'@'%'";
    deployment.compose(&["exec", "-T", "-e", "MYSQL_PWD=orders-root", "mysql", "mysql", "-uroot", "-e", all]);
    deployment.compose(&alone("accounts"));
    deployment.compose(&as_the_programs("select count(*) from orders"));

    for change in ["create table others (id int)", "alter table orders add column other int", "drop table orders"] {
        let said = deployment.refused(&as_the_programs(change), &[]);

        assert!(said.contains("command denied to user 'orders'"), "{said}");
    }
}

fn as_the_programs(sql: &str) -> [&str; 10] {
    ["exec", "-T", "-e", "MYSQL_PWD=orders", "mysql", "mysql", "--user=orders", "--execute", sql, "orders"]
}

/// By MySQL's client in the network of each container, since their images have none.
fn assert_prometheus_cannot_reach_mysql(deployment: &Deployment) {
    let address = docker(&[
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &deployment.container("mysql"),
    ]);

    for (service, reaches) in [("worker", true), ("prometheus", false)] {
        let network = format!("container:{}", deployment.container(service));
        for host in ["mysql", &address] {
            let ask = [&["run", "--rm", "--network", &network, "mysql:9.7"], ASK.as_slice(), &[host]].concat();
            let output = Command::new("docker").args(&ask).output().expect("the docker command can be started");

            assert_eq!(output.status.success(), reaches, "{service} asks {host}: {output:?}");
        }
    }
}

/// Asserts of the running process itself, not of its settings: it is the container's first (so that SIGTERM reaches it),
/// not root, without capabilities and ways to gain any, and cannot write to the image's files.
pub(super) fn assert_confined(deployment: &Deployment, service: &str, program: &str) {
    let status = deployment.compose(&["exec", "-T", service, "cat", "/proc/1/status"]);
    let mounts = deployment.compose(&["exec", "-T", service, "cat", "/proc/1/mounts"]);

    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel lists the field");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Name:"), program);
    assert_eq!(field("Uid:"), "10001 10001 10001 10001", "{program} runs as a user of its own");
    for capabilities in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{program} has no capability");
    }
    assert_eq!(field("NoNewPrivs:"), "1", "{program} cannot gain privileges");

    let root_mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|mount| mount[1] == "/");
    let root_options = root_mount.expect("the kernel lists the root file system")[3];
    assert!(root_options.split(',').any(|option| option == "ro"), "{program} has a root file system of {root_options}");
}
