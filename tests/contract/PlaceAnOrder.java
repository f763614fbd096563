import java.math.BigDecimal;
import java.util.List;
import orders.api.OrdersApi;
import orders.client.ApiClient;
import orders.client.ApiException;
import orders.model.Order;
import orders.model.OrderRequest;

/** Places orders through the generated client and reads them back, to the last digit: PlaceAnOrder URL */
public class PlaceAnOrder {
    /** The first is not what a float has, the second, the largest there is, not what a double has. */
    private static final List<BigDecimal> AMOUNTS =
            List.of(new BigDecimal("220099.99"), new BigDecimal("99999999999999.9999"));

    public static void main(String[] arguments) throws ApiException {
        ApiClient client = new ApiClient();
        client.updateBaseUri(arguments[0]);
        for (BigDecimal amount : AMOUNTS) {
            anOrderIsReadAsItWasPlaced(new OrdersApi(client), amount);
            System.out.println("ok an order of " + amount + " is read as it was placed");
        }
    }

    private static void anOrderIsReadAsItWasPlaced(OrdersApi api, BigDecimal amount) throws ApiException {
        List<Long> itemIds = List.of(1L, Long.MAX_VALUE);
        OrderRequest request = new OrderRequest().userId(Long.MAX_VALUE).itemIds(itemIds).totalAmount(amount);

        Order placed = api.placeOrder(request, null, null);
        Order order = api.getOrder(placed.getOrderId(), null, null, null);

        // 100 and 100.0 are the same amount in other digits, and `equals` tells them apart.
        if (order.getTotalAmount().compareTo(amount) != 0) {
            throw new AssertionError(amount + " is read as " + order.getTotalAmount());
        }
        if (!order.getUserId().equals(Long.MAX_VALUE) || !order.getItemIds().equals(itemIds)) {
            throw new AssertionError(request + " is read as " + order);
        }
    }
}
