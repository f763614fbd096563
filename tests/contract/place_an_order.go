// Places orders through the generated client and reads them back, to the last digit: place_an_order URL
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"

	"contract/orders"
)

// The first is not what a float of 32 bits has, the second, the largest there is, not what one of 64 bits has.
var amounts = []json.Number{"220099.99", "99999999999999.9999"}

func main() {
	configuration := orders.NewConfiguration()
	configuration.Servers[0].URL = os.Args[1]
	client := orders.NewAPIClient(configuration)
	for _, amount := range amounts {
		if err := anOrderIsReadAsItWasPlaced(client, amount); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ok an order of", amount, "is read as it was placed")
	}
}

func anOrderIsReadAsItWasPlaced(client *orders.APIClient, amount json.Number) error {
	request := orders.NewOrderRequest(math.MaxInt64, []int64{1, math.MaxInt64}, amount)

	placed, _, err := client.OrdersAPI.PlaceOrder(context.Background()).OrderRequest(*request).Execute()
	if err != nil {
		return fmt.Errorf("%s is not placed: %w", amount, err)
	}
	order, _, err := client.OrdersAPI.GetOrder(context.Background(), placed.OrderId).Execute()
	if err != nil {
		return fmt.Errorf("%s is not read: %w", amount, err)
	}

	if !areEqual(order.TotalAmount, amount) {
		return fmt.Errorf("%s is read as %s", amount, order.TotalAmount)
	}
	if order.UserId != request.UserId || !reflect.DeepEqual(order.ItemIds, request.ItemIds) {
		return fmt.Errorf("%v is read as %v", request, order)
	}
	return nil
}

// 100 and 100.0 are the same amount in other digits.
func areEqual(one, other json.Number) bool {
	exact, isNumber := new(big.Rat).SetString(one.String())
	expected, isExpected := new(big.Rat).SetString(other.String())
	return isNumber && isExpected && exact.Cmp(expected) == 0
}
