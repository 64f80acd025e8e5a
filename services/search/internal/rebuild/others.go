package rebuild

import (
	"context"
	"fmt"

	"github.com/poterne/poterne/services/search/internal/store"
)

// awaits reports whether other processes have no index yet of an embedding
// generation that is ready, and notes it as the reason why that does not serve:
// their searches would have to wait for it. Those that have not been heard of for
// the time of a lease are not waited for.
func (b *Builder) awaits(ctx context.Context, l store.Live, lease store.Lease) (bool, error) {
	n, err := b.o.Store.Awaited(ctx, l.Collection, b.o.Holder, b.o.Clock.Now().Add(-b.o.Lease))
	if err != nil || n == 0 {
		return false, err
	}
	reason := fmt.Sprintf("%d other search processes have no index of it yet", n)
	if n == 1 {
		reason = "another search process has no index of it yet"
	}
	if l.Reason == reason {
		return true, nil
	}
	return true, b.o.Store.Waiting(ctx, lease, reason)
}
