//! What others reach of the deployment, and what its parts may do.

use std::process::Command;

use super::deployment::{Deployment, docker};

/// Asks MySQL, at the address that follows, as the programs do.
const ASK: [&str; 6] =
    ["mysql", "--user=orders", "--password=orders", "--connect-timeout=3", "--execute=select 1", "--host"];

/// Of a running deployment.
pub(super) fn keep_strangers_out(deployment: &Deployment) {
    refuses_known_passwords_where_others_reach_it(deployment);
    programs_cannot_change_tables(deployment);
    prometheus_cannot_reach_mysql(deployment);
}

fn refuses_known_passwords_where_others_reach_it(deployment: &Deployment) {
    let start = ["run", "--rm", "--no-deps", "-T", "accounts"];
    let mut env = vec![("API_BIND", "0.0.0.0")];
    for missing in ["MYSQL_PASSWORD", "MYSQL_MIGRATE_PASSWORD", "MYSQL_ROOT_PASSWORD"] {
        let said = deployment.refused(&start, &env);

        assert!(said.contains(&format!("API_BIND=0.0.0.0 is reached by others: set {missing}")), "{said}");
        env.push((missing, "a-password-of-ones-own"));
    }
}

fn programs_cannot_change_tables(deployment: &Deployment) {
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
fn prometheus_cannot_reach_mysql(deployment: &Deployment) {
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
