use sqlx::MySqlPool;

/// The stored orders minus the counted ones, for each status and for the microseconds of processing; then the number of
/// orders in work that no claim lists.
const DIFFERENCE: &str = "
    select cast(concat_ws(' ',
        (select count(*) from orders where status = 'PENDING') - coalesce(sum(pending), 0),
        (select count(*) from orders where status = 'PROCESSING') - coalesce(sum(processing), 0),
        (select count(*) from orders where status = 'COMPLETED') - coalesce(sum(completed), 0),
        (select count(*) from orders where status = 'FAILED') - coalesce(sum(failed), 0),
        (select count(*) from orders where status = 'CANCELED') - coalesce(sum(canceled), 0),
        (select coalesce(sum(timestampdiff(microsecond, created_at, completed_at)), 0) from orders)
            - coalesce(sum(processing_us), 0),
        (select count(*) from orders where status = 'PROCESSING' and not exists (
            select 1 from claims
            where claims.claim_token = orders.claim_token and claims.worker_id = orders.worker_id
                and json_contains(claims.order_ids, json_quote(lower(hex(orders.order_id))))
        ))
    ) as char)
    from order_counts
";

/// Proves that the stored counts equal a full count at this moment, whatever is under way, and that claims list all
/// orders in work.
pub async fn assert_counts_are_exact(pool: &MySqlPool) {
    let difference: String = sqlx::query_scalar(DIFFERENCE).fetch_one(pool).await.expect("the orders can be counted");
    assert_eq!(difference, "0 0 0 0 0 0 0", "orders that are not counted, or in work and in no claim");
}
