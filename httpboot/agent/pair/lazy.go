package pair

import (
	"context"
	"time"

	"muster/httpboot/agent"
)

// lazy is a Server that reads the session at its first word: some actions say none.
type lazy struct{}

// Call implements Server.
func (lazy) Call(ctx context.Context, timeout time.Duration, op string, in, out any) error {
	c, err := agent.NewCaller("", nil)
	if err != nil {
		return err
	}
	return c.Call(ctx, timeout, op, in, out)
}
