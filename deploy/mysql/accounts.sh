#!/bin/bash
# Makes the accounts of the Compose deployment what docker-compose.yml says, each time it is started: `orders` for the
# programs, which may read and write, and `orders_migrate` for the migrations, which may change the tables too.
set -euo pipefail

fail() {
    echo "$1" >&2
    exit 1
}

# The passwords that stand in docker-compose.yml are for a port that this machine alone can reach.
case ${API_BIND:-127.0.0.1} in
127.* | ::1) ;;
*)
    [ "$MYSQL_PASSWORD" != orders ] || fail "API_BIND=$API_BIND is reached by others: set MYSQL_PASSWORD"
    [ "$MYSQL_MIGRATE_PASSWORD" != orders-migrate ] || fail "API_BIND=$API_BIND is reached by others: set MYSQL_MIGRATE_PASSWORD"
    [ "$MYSQL_ROOT_PASSWORD" != orders-root ] || fail "API_BIND=$API_BIND is reached by others: set MYSQL_ROOT_PASSWORD"
    ;;
esac
for name in MYSQL_PASSWORD MYSQL_MIGRATE_PASSWORD; do
    [[ ${!name} =~ ^[A-Za-z0-9._~-]+$ ]] || fail "$name becomes part of a URL: use letters, digits, '-', '.', '_' and '~' only"
done

export MYSQL_PWD=$MYSQL_ROOT_PASSWORD
mysql --host=mysql --user=root --execute='select 1' >/dev/null || fail "MYSQL_ROOT_PASSWORD is not root's: it was taken over when \
MySQL made its data. Change it there first: alter user 'root'@'%', 'root'@'localhost' identified by '…'"
# Running programs keep what they may: nothing is taken from them that they need.
exec mysql --host=mysql --user=root <<SQL
create user if not exists 'orders'@'%' identified by '$MYSQL_PASSWORD';
alter user 'orders'@'%' identified by '$MYSQL_PASSWORD';
grant select, insert, update, delete on orders.* to 'orders'@'%';
revoke if exists alter, alter routine, create, create routine, create temporary tables, create view, drop, event, execute,
    index, lock tables, references, show view, trigger on orders.* from 'orders'@'%';
create user if not exists 'orders_migrate'@'%' identified by '$MYSQL_MIGRATE_PASSWORD';
alter user 'orders_migrate'@'%' identified by '$MYSQL_MIGRATE_PASSWORD';
grant select, insert, update, delete, create, alter, drop, index on orders.* to 'orders_migrate'@'%';
SQL
