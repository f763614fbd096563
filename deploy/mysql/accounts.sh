#!/bin/bash
# The accounts of the Compose deployment.
#
#   accounts.sh check    refuses passwords that everybody knows where others reach the API
#   accounts.sh make     makes the accounts what docker-compose.yml says, each time it is started: `orders` for the
#                        programs, which may read and write, and `orders_migrate` for the migrations, which may change
#                        the tables too
set -euo pipefail

fail() {
    echo "$1" >&2
    exit 1
}

check() {
    local name known=()
    for name in MYSQL_PASSWORD MYSQL_MIGRATE_PASSWORD; do
        [[ ${!name} =~ ^[A-Za-z0-9._~-]+$ ]] ||
            fail "$name becomes part of a URL: use letters, digits, '-', '.', '_' and '~' only"
    done
    [ "$MYSQL_PASSWORD" != orders ] || known+=(MYSQL_PASSWORD)
    [ "$MYSQL_MIGRATE_PASSWORD" != orders-migrate ] || known+=(MYSQL_MIGRATE_PASSWORD)
    [ "$MYSQL_ROOT_PASSWORD" != orders-root ] || known+=(MYSQL_ROOT_PASSWORD)
    case $API_BIND in
    127.* | ::1 | '[::1]') ;;
    *) [ ${#known[@]} = 0 ] || fail "others reach the API at $API_BIND (API_BIND): set ${known[*]}" ;;
    esac
}

make() {
    export MYSQL_PWD=$MYSQL_ROOT_PASSWORD
    mysql --host=mysql --user=root --execute='select 1' >/dev/null || fail "MYSQL_ROOT_PASSWORD is not root's, which was \
taken over when MySQL made its data. Change it there first, as root: \
alter user 'root'@'%' identified by '…', 'root'@'localhost' identified by '…'"
    # What the programs need is never taken from them, as they may be running.
    mysql --host=mysql --user=root <<SQL
create user if not exists 'orders'@'%' identified by '$MYSQL_PASSWORD';
alter user 'orders'@'%' identified by '$MYSQL_PASSWORD';
grant select, insert, update, delete on orders.* to 'orders'@'%';
revoke if exists alter, alter routine, create, create routine, create temporary tables, create view, drop, event, execute,
    index, lock tables, references, show view, trigger on orders.* from 'orders'@'%';
create user if not exists 'orders_migrate'@'%' identified by '$MYSQL_MIGRATE_PASSWORD';
alter user 'orders_migrate'@'%' identified by '$MYSQL_MIGRATE_PASSWORD';
grant select, insert, update, delete, create, alter, drop, index on orders.* to 'orders_migrate'@'%';
SQL
}

"$1"
