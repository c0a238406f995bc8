package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Pending counts the messages of an actor's mailbox that it has not
// acknowledged yet.
func Pending(ctx context.Context, js jetstream.JetStream, actor string) (uint64, error) {
	c, err := js.PushConsumer(ctx, MailboxStream(actor), actor+"-"+Shard)
	if err != nil {
		return 0, fmt.Errorf("bus: pending of %s: %w", actor, err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(info.NumAckPending), nil
}
