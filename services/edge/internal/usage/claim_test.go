package usage

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

// Whoever asks again just after the answer is told that it was answered, and not that
// it may be soon.
func TestAKeyIsSettledWithItsAnswer(t *testing.T) {
	o := newOffice(t, nil)
	ctx := func() context.Context {
		return arrival.OfHTTP(as(t.Context()), &http.Request{Header: http.Header{"Idempotency-Key": {"once"}}})
	}
	first, err := o.ask(ctx(), chat(10, 10))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.ask(ctx(), chat(10, 10)); err == nil || !strings.Contains(err.Error(), "not settled yet") {
		t.Errorf("in hand: %v", err)
	}
	first.Note(used(3, 4))
	first.End(t.Context(), nil) // in the journal, and not in the store
	if _, err := o.ask(ctx(), chat(10, 10)); err == nil || !strings.Contains(err.Error(), "was answered before") {
		t.Errorf("answered: %v", err)
	}
	if got := o.total(); got.Requests != 1 || got.Input != 3 || got.Output != 4 {
		t.Errorf("%+v", got)
	}
}

// slow is a store of claims that answers after a while, or when its request is over; it
// may have done what was asked all the same.
type slow struct {
	Claims
	after time.Duration
	does  bool
}

func (s *slow) Claim(ctx context.Context, claim, entry string, now, expire time.Time) error {
	select {
	case <-time.After(s.after):
		return s.Claims.Claim(ctx, claim, entry, now, expire)
	case <-ctx.Done():
		if s.does {
			_ = s.Claims.Claim(context.WithoutCancel(ctx), claim, entry, now, expire)
		}
		return ctx.Err()
	}
}

// free has every claim free.
type free struct{ given map[string]bool }

func (f *free) Claim(_ context.Context, _, entry string, _, _ time.Time) error {
	if len(f.given) > 0 {
		return ledger.ErrInHand
	}
	f.given[entry] = true
	return nil
}

func (f *free) Unclaim(_ context.Context, entry string) error {
	delete(f.given, entry)
	return nil
}

// Who sends a key waits for a busy store, longer than others do, and for as long as the
// settings and the request have it; what a store did without telling is undone.
func TestAClaimWaitsForABusyStore(t *testing.T) {
	o := newOffice(t, nil)
	claims := o.Meter.claims
	key := func(ctx context.Context, key string) context.Context {
		return arrival.OfHTTP(as(ctx), &http.Request{Header: http.Header{"Idempotency-Key": {key}}})
	}
	synctest.Test(t, func(t *testing.T) {
		o.Meter.claims = &slow{Claims: &free{given: map[string]bool{}}, after: 4 * time.Second}
		begun := time.Now()
		h, err := o.ask(key(t.Context(), "waits"), chat(10, 10))
		if err != nil || time.Since(begun) != 4*time.Second {
			t.Fatalf("%v after %v", err, time.Since(begun))
		}
		h.End(t.Context(), errors.New("nothing was used"))
		store := &free{given: map[string]bool{}}
		o.Meter.claims = &slow{Claims: store, after: time.Hour, does: true}
		for _, test := range []struct{ has, want time.Duration }{{time.Minute, o.cfg.ClaimTimeout}, {2 * time.Second, 2 * time.Second}} {
			ctx, cancel := context.WithTimeout(t.Context(), test.has)
			begun = time.Now()
			_, err = o.ask(key(ctx, "is refused"), chat(10, 10))
			cancel()
			if apierr.ReasonOf(err) != apierr.Unavailable || !strings.Contains(err.Error(), "Idempotency-Key") || time.Since(begun) != test.want {
				t.Errorf("%v after %v", err, time.Since(begun))
			}
			if len(store.given) != 0 {
				t.Errorf("nobody can make the request: %v", store.given)
			}
		}
	})
	o.Meter.claims = claims
}
