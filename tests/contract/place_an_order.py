"""Places, follows, lists, cancels and retries orders through the generated client: place_an_order.py URL

Orders of user 2 must fail for good (SIMULATED_FAULTS=reject=user:2).
"""

import sys
from uuid import UUID, uuid4

import httpx
from orders_client import Client
from orders_client.api.first_release import create_order, list_orders_by_status
from orders_client.api.orders import (
    cancel_order,
    explain_order,
    get_order,
    list_order_events,
    list_orders,
    place_order,
    place_orders,
    retry_order,
)
from orders_client.api.queue import get_queue, pause_queue, resume_queue
from orders_client.models import (
    BatchCreated,
    CreateOrder,
    Explanation,
    ListedOrder,
    Order,
    OrderBatchRequest,
    OrderCreated,
    OrderEventKind,
    OrderPage,
    OrderRequest,
    OrderStatus,
    PauseState,
    Problem,
    Queue,
    Story,
    WhyCode,
)

# A worker looks for orders many times a second.
DONE_WITHIN_SECS = 30


def placed(client: Client, user_id: int) -> UUID:
    order = OrderRequest(user_id=user_id, item_ids=[1, 2], total_amount=100.0, currency="EUR")
    answer = place_order.sync_detailed(client=client, body=order, x_request_id="a-name-of-my-own")
    assert answer.status_code == 201, answer
    assert answer.headers["X-Request-Id"] == "a-name-of-my-own", answer.headers
    assert isinstance(answer.parsed, Order)
    assert answer.headers["Location"] == f"/orders/{answer.parsed.order_id}", answer.headers
    return answer.parsed.order_id


def ended(client: Client, order_id: UUID, status: OrderStatus) -> Order:
    """The order once it has reached an end, which must be this one."""
    order = get_order.sync(order_id, client=client, wait=DONE_WITHIN_SECS)
    assert isinstance(order, Order) and order.status == status, order
    return order


def an_order_is_placed_followed_and_listed(client: Client) -> None:
    order_id = placed(client, user_id=1)

    order = ended(client, order_id, OrderStatus.COMPLETED)

    assert (order.user_id, order.item_ids, order.total_amount) == (1, [1, 2], 100.0), order
    assert order.completed_at is not None and order.completed_at >= order.created_at
    page = list_orders.sync(client=client, status=OrderStatus.COMPLETED, user_id=1)
    assert isinstance(page, OrderPage) and page.orders[0].order_id == order_id, page
    listed = list_orders_by_status.sync(OrderStatus.COMPLETED, client=client, limit=10)
    assert isinstance(listed, list), listed
    assert [one.order_id for one in listed if isinstance(one, ListedOrder)][0] == order_id
    refused = cancel_order.sync(order_id, client=client)
    assert isinstance(refused, Problem) and refused.status == 409, refused
    assert refused.order_status == OrderStatus.COMPLETED


def an_order_is_canceled_while_it_waits(client: Client) -> None:
    paused = pause_queue.sync(client=client)
    assert isinstance(paused, PauseState) and paused.paused_at is not None
    order_id = placed(client, user_id=1)
    why = explain_order.sync(order_id, client=client)
    assert isinstance(why, Explanation) and why.code == WhyCode.QUEUE_PAUSED, why

    canceled = cancel_order.sync(order_id, client=client)

    assert isinstance(canceled, Order) and canceled.status == OrderStatus.CANCELED, canceled
    resumed = resume_queue.sync(client=client)
    assert isinstance(resumed, PauseState) and resumed.paused_at is None
    queue = get_queue.sync(client=client)
    assert isinstance(queue, Queue) and not queue.paused and len(queue.workers) == 1, queue


def a_failed_order_is_retried(client: Client) -> None:
    order_id = placed(client, user_id=2)
    assert ended(client, order_id, OrderStatus.FAILED).last_error

    retried = retry_order.sync(order_id, client=client)

    assert isinstance(retried, Order) and retried.status == OrderStatus.PENDING, retried
    ended(client, order_id, OrderStatus.FAILED)
    story = list_order_events.sync(order_id, client=client)
    assert isinstance(story, Story)
    assert OrderEventKind.RETRIED in [event.event for event in story.events], story


def a_request_is_safe_to_repeat(client: Client) -> None:
    order = CreateOrder(user_id=1, item_ids=[1], total_amount=1.5)
    key = str(uuid4())

    first = create_order.sync_detailed(client=client, body=order, idempotency_key=key)
    again = create_order.sync_detailed(client=client, body=order, idempotency_key=key)

    assert isinstance(first.parsed, OrderCreated) and first.parsed == again.parsed, (first, again)
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    other = CreateOrder(user_id=2, item_ids=[1], total_amount=1.5)
    reused = create_order.sync(client=client, body=other, idempotency_key=key)
    assert isinstance(reused, Problem) and reused.type_ == "/problems/idempotency-key-reused", reused


def a_batch_is_placed_whole_or_not_at_all(client: Client) -> None:
    external_id = str(uuid4())
    first = OrderRequest(user_id=3, item_ids=[1], total_amount=1.5, external_id=external_id)
    second = OrderRequest(user_id=3, item_ids=[2], total_amount=2.5)

    answer = place_orders.sync(client=client, body=OrderBatchRequest(orders=[first, second]))

    assert isinstance(answer, BatchCreated) and len(answer.orders) == 2, answer
    refused = place_orders.sync(client=client, body=OrderBatchRequest(orders=[second, first]))
    assert isinstance(refused, Problem) and refused.order_id == answer.orders[0].order_id, refused
    mine = list_orders.sync(client=client, user_id=3)
    assert isinstance(mine, OrderPage) and len(mine.orders) == 2 and mine.next_cursor is None, mine


def a_bad_order_is_refused_with_all_its_faults(client: Client) -> None:
    order = CreateOrder(user_id=0, item_ids=[], total_amount=-1.0)

    refused = create_order.sync(client=client, body=order)

    assert isinstance(refused, Problem) and refused.status == 422, refused
    assert isinstance(refused.errors, list)
    assert {fault.pointer for fault in refused.errors} == {"/user_id", "/item_ids", "/total_amount"}, refused


def main() -> None:
    timeout = httpx.Timeout(2 * DONE_WITHIN_SECS)
    with Client(base_url=sys.argv[1], raise_on_unexpected_status=True, timeout=timeout) as client:
        for claim in (
            an_order_is_placed_followed_and_listed,
            an_order_is_canceled_while_it_waits,
            a_failed_order_is_retried,
            a_request_is_safe_to_repeat,
            a_batch_is_placed_whole_or_not_at_all,
            a_bad_order_is_refused_with_all_its_faults,
        ):
            claim(client)
            print("ok", claim.__name__.replace("_", " "))


if __name__ == "__main__":
    main()
