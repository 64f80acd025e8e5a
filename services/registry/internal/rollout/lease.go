package rollout

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// leaseName is the lease of the one controller that acts.
const leaseName = "rollouts"

// LeaseStore keeps leases.
type LeaseStore interface {
	Lease(ctx context.Context, name string) (store.Lease, error)
	TakeLease(ctx context.Context, name, holder string, seen store.Lease) (store.Lease, error)
	RenewLease(ctx context.Context, f store.Fence) error
	ReleaseLease(ctx context.Context, f store.Fence) error
}

// tenure is one replica's side of the lease. It takes a lease whose row has stayed
// as it is for ttl of this replica's own clock, so that replicas need not agree on
// the time; that an old holder writes nothing more is for the fence. It is for one
// goroutine.
type tenure struct {
	store  LeaseStore
	clock  clock.Clock
	holder string
	ttl    time.Duration

	held    store.Lease // zero while somebody else has it
	renewed time.Time
	seen    store.Lease // somebody else's, and since when it is so
	since   time.Time
}

// hold returns the fence of the lease, or nil while somebody else has it. Without
// an answer of the store nobody holds anything.
func (t *tenure) hold(ctx context.Context) (*store.Fence, error) {
	now := t.clock.Now()
	if t.held.Token != 0 {
		if now.Sub(t.renewed) < t.ttl/3 {
			return t.fence(), nil
		}
		err := t.store.RenewLease(ctx, *t.fence())
		if err == nil {
			t.renewed = now
			return t.fence(), nil
		}
		if apierr.ReasonOf(err) != apierr.Conflict {
			return nil, err
		}
		t.held = store.Lease{}
	}
	l, err := t.store.Lease(ctx, leaseName)
	if err != nil {
		return nil, err
	}
	if l != t.seen {
		t.seen, t.since = l, now
	}
	if l.Holder != "" && now.Sub(t.since) < t.ttl {
		return nil, nil //nolint:nilnil // it is somebody else's
	}
	taken, err := t.store.TakeLease(ctx, leaseName, t.holder, l)
	if apierr.ReasonOf(err) == apierr.Conflict {
		return nil, nil //nolint:nilnil // another one was faster
	}
	if err != nil {
		return nil, err
	}
	t.held, t.renewed = taken, now
	return t.fence(), nil
}

func (t *tenure) fence() *store.Fence { return &store.Fence{Name: leaseName, Token: t.held.Token} }

// lost notes that a write was refused.
func (t *tenure) lost() { t.held = store.Lease{} }

// release gives the lease back when it is held.
func (t *tenure) release(ctx context.Context) error {
	if t.held.Token == 0 {
		return nil
	}
	f := *t.fence()
	t.held = store.Lease{}
	if err := t.store.ReleaseLease(ctx, f); apierr.ReasonOf(err) != apierr.Conflict {
		return err
	}
	return nil
}
