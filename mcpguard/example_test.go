package mcpguard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
	"github.com/onceguard/onceguard/memstore"
)

// refundInput are the arguments of the tool in the examples.
type refundInput struct {
	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

// bank is the service behind the tool.
type bank struct{ refunds int }

var errClosedAccount = errors.New("the account is closed")

func (b *bank) refund(_ context.Context, order string, _ int, key string) (string, error) {
	if order == "A-9" {
		return "", errClosedAccount
	}
	b.refunds++
	return fmt.Sprintf("refund %d of %s, key %t", b.refunds, order, key != ""), nil
}

func exampleServer(ctx context.Context, guard *onceguard.Guard, provider *bank) (*mcp.Server, error) {
	// doc: mcp-server
	policy, err := mcpguard.NewPolicy("payments", mcpguard.Tool{
		Name:     "create_refund",
		Identity: mcpguard.Identity{Key: []string{"/order_id"}, ShowValues: []string{"/cents"}},
		Inject:   mcpguard.Inject{Meta: "example.com/provider-key"}, // for the provider's own idempotency
		Repeat:   mcpguard.RepeatMoney,
	})
	if err != nil {
		return nil, err
	}
	guarded, err := mcpguard.Receiving(ctx, guard, mcpguard.Options{Policy: policy, Scope: mcpguard.SingleTenant})
	if err != nil {
		return nil, err
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "payments", Version: "1.0.0"}, nil)
	server.AddReceivingMiddleware(guarded.Wrap)
	mcp.AddTool(server, &mcp.Tool{Name: "create_refund", Description: "Refunds an order."},
		func(ctx context.Context, r *mcp.CallToolRequest, in refundInput) (*mcp.CallToolResult, any, error) {
			key, _ := r.Params.Meta["example.com/provider-key"].(string)
			done, err := provider.refund(ctx, in.OrderID, in.Cents, key)
			switch {
			case errors.Is(err, errClosedAccount):
				return nil, nil, onceguard.Refused(err) // it surely did not happen
			case err != nil:
				return nil, nil, err // nobody knows
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: done}}}, nil, nil
		})
	// end doc
	return server, nil
}

// A model that calls a tool twice, and then changes its mind about the amount,
// refunds once.
func ExampleReceiving() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	provider := &bank{}
	server, err := exampleServer(ctx, guard, provider)
	if err != nil {
		fmt.Println(err)
		return
	}
	here, there := mcp.NewInMemoryTransports()
	if _, err := server.Connect(ctx, there, nil); err != nil {
		fmt.Println(err)
		return
	}
	host, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(ctx, here, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = host.Close() }()
	for _, in := range []refundInput{{"A-1", 500}, {"A-1", 500}, {"A-1", 600}, {"A-9", 100}} {
		result, err := host.CallTool(ctx, &mcp.CallToolParams{Name: "create_refund", Arguments: in})
		if err != nil {
			fmt.Println(err)
			return
		}
		if v, ok := mcpguard.ReadVerdict(result); ok {
			fmt.Println(v.Name, v.ChangedFields)
			continue
		}
		fmt.Println(result.Content[0].(*mcp.TextContent).Text)
	}
	fmt.Println(provider.refunds, "refund")
	// Output:
	// refund 1 of A-1, key true
	// repeat []
	// drift [/cents]
	// the account is closed
	// 1 refund
}

// A Go host that is started again gives its calls the keys of what it decided,
// and the tools of a server that knows nothing of this run once.
func ExampleSending() {
	ctx := context.Background()
	store := memstore.New(memstore.Options{})
	guard, err := onceguard.New(ctx, store, onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	mails := 0
	server := mcp.NewServer(&mcp.Implementation{Name: "mail", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "send_mail"}, func(context.Context, *mcp.CallToolRequest, struct {
		To string `json:"to"`
	},
	) (*mcp.CallToolResult, any, error) {
		mails++
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("mail ", mails)}}}, nil, nil
	})
	for range 2 { // the job runs, dies, and runs again
		here, there := mcp.NewInMemoryTransports()
		if _, err := server.Connect(ctx, there, nil); err != nil {
			fmt.Println(err)
			return
		}
		result, err := exampleHost(ctx, guard, here)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(result.Content[0].(*mcp.TextContent).Text)
	}
	// Output:
	// mail 1
	// mail 1
}

func exampleHost(ctx context.Context, guard *onceguard.Guard, transport mcp.Transport) (*mcp.CallToolResult, error) {
	// doc: mcp-host
	guarded, err := mcpguard.Sending(ctx, guard, mcpguard.Options{Server: "mail"})
	if err != nil {
		return nil, err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "billing", Version: "1.0.0"}, nil)
	client.AddSendingMiddleware(guarded.Wrap)
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return nil, err
	}
	ctx = mcpguard.WithKey(ctx, onceguard.KeyOf("invoice", 117, "step", "mail"))
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "send_mail", Arguments: map[string]any{"to": "ann@example.com"}})
	if err != nil {
		return nil, err
	}
	if v, ok := mcpguard.ReadVerdict(result); ok && v.Name == "uncertain" {
		return nil, fmt.Errorf("the mail may have been sent; %s must be settled first", v.RequestID)
	}
	// end doc
	return result, nil
}
