package grpcguard

import "context"

// SetReady replaces Attempt.Ready.
func (c *Client) SetReady(ready func() error) { c.ready = ready }

// Reasons are the guard's own answers: the code and the advice of each.
func Reasons() map[string][2]string {
	out := map[string][2]string{}
	for name, r := range reasons {
		out[name] = [2]string{r.code.String(), r.retry}
	}
	return out
}

// Patience is how long a duplicate waits.
func Patience(ctx context.Context) (context.Context, context.CancelFunc) { return patience(ctx) }
