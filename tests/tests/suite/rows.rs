//! Orders that a test puts into the table past the API.

use orders_tests::Database;
use sqlx::AssertSqlSafe;

/// The table `numbers`, for a `with`: from 0 to 99,999.
macro_rules! numbers {
    () => {
        "digits as (
            select 0 as d union all select 1 union all select 2 union all select 3 union all select 4
            union all select 5 union all select 6 union all select 7 union all select 8 union all select 9
        ),
        numbers as (
            select a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d as n
            from digits as a, digits as b, digits as c, digits as d, digits as e
        )"
    };
}
pub(crate) use numbers;

/// Adds orders whose columns are expressions of their number `n`, counted from 0.
pub(crate) async fn insert(
    database: &Database,
    count: u32,
    status: &str,
    user_id: &str,
    created_at: &str,
    external_id: &str,
) {
    let sql = format!(
        "insert into orders (
            order_id, user_id, item_ids, total_amount, external_id, status,
            available_at, claim_token, created_at, updated_at
        )
        with
            {numbers},
            seeds as (
                select n, {status} as status, {user_id} as user_id, {created_at} as created_at, {external_id} as external_id
                from numbers
                where n < {count}
            )
        select
            unhex(left(sha2(concat(n, '/', user_id), 256), 32)), user_id, '[1, 2]', 100, external_id, status,
            if(status = 'PENDING', created_at, '9999-12-31'),
            repeat('b', 16),
            created_at,
            created_at
        from seeds;
        replace into claims (claim_token, worker_id, order_ids)
        select token, repeat('w', 16), json_arrayagg(lower(hex(order_id)))
        from orders
        cross join (select repeat('a', 16) as token union all select repeat('b', 16)) as claims_of_before_and_now
        where status = 'PROCESSING'
        group by token;
        insert ignore into external_ids (external_id, order_id)
        select external_id, order_id from orders where external_id is not null",
        numbers = numbers!(),
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
}

/// Orders of the largest kind: 1,000 items of 19 digits, 16 KiB of metadata.
pub(crate) async fn heavy_orders(database: &Database, count: u32) {
    let created_at = "timestamp '2026-01-01 00:00:00' + interval n second";
    insert(database, count, "'COMPLETED'", "1", created_at, "null").await;
    let heavy = "update orders set metadata = json_object('a', repeat('x', 16000)),
        item_ids = concat('[', repeat('9223372036854775807, ', 999), '1]')";
    sqlx::raw_sql(heavy).execute(&database.pool).await.unwrap();
}
