//go:build !embedded

package consul

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
)

// maxInstances bounds the set of one service.
const maxInstances = 10_000

// Watch delivers the passing instances of the service.
func (c *Consul) Watch(ctx context.Context, service string) <-chan []discovery.Instance {
	ch := make(chan []discovery.Instance, 1)
	w := &watch{c: c, service: service, out: ch, set: settler{grace: c.cfg.Grace}}
	go w.run(ctx)
	return ch
}

// watch follows one service.
type watch struct {
	c       *Consul
	service string
	out     chan []discovery.Instance
	set     settler
	index   uint64
	errs    int // in a row
	sent    bool
	last    []discovery.Instance
}

// answer is the outcome of one query.
type answer struct {
	found []discovery.Instance
	index uint64
	reset bool // the index went backwards: Consul lost its state
	err   error
}

func (w *watch) run(ctx context.Context) {
	defer close(w.out)
	// Queries run beside the loop, so that a grace ends while one waits.
	answers := make(chan answer)
	go func() {
		defer close(answers)
		w.poll(ctx, answers)
	}()
	var timer clock.Timer
	var due <-chan time.Time
	for {
		select {
		case a, ok := <-answers:
			if !ok {
				return
			}
			if a.err != nil {
				w.set.away()
				continue
			}
			if a.reset {
				w.set.away()
			}
			w.deliver(w.set.seen(w.c.clock.Now(), a.found))
		case <-due:
			w.deliver(w.set.settle(w.c.clock.Now()))
		}
		if timer != nil {
			timer.Stop()
		}
		due = nil
		if wait := w.set.pending(w.c.clock.Now()); wait > 0 {
			timer = w.c.clock.NewTimer(wait)
			due = timer.C()
		}
	}
}

func (w *watch) deliver(set []discovery.Instance) {
	if w.sent && discovery.Equal(w.last, set) {
		return
	}
	w.sent, w.last = true, set
	discovery.Deliver(w.out, set)
}

// poll asks without end, pausing only after errors.
func (w *watch) poll(ctx context.Context, answers chan<- answer) {
	for ctx.Err() == nil {
		a := w.query(ctx)
		if ctx.Err() != nil {
			return
		}
		a.reset = a.err == nil && a.index < w.index
		select {
		case answers <- a:
		case <-ctx.Done():
			return
		}
		w.index = nextIndex(a)
		if a.err == nil {
			w.errs = 0
			continue
		}
		w.errs++
		w.c.log.WarnContext(ctx, "consul query failed", slog.String("backend", w.service),
			slog.Int("failures", w.errs), slog.Any("error", a.err))
		if clock.Sleep(ctx, w.c.clock, w.c.backoff(w.errs)) != nil {
			return
		}
	}
}

// nextIndex follows Consul's rules for blocking queries: start over when the
// index goes backwards or the query failed, and never wait on an index below 1.
// https://developer.hashicorp.com/consul/api-docs/features/blocking
func nextIndex(a answer) uint64 {
	if a.err != nil || a.reset {
		return 0
	}
	return max(a.index, 1)
}

func (w *watch) query(ctx context.Context) answer {
	// Consul adds up to a sixteenth to the wait; the rest is for the network.
	ctx, cancel := context.WithTimeout(ctx, w.c.cfg.WaitTime+w.c.cfg.WaitTime/16+5*time.Second)
	defer cancel()
	opts := &api.QueryOptions{WaitIndex: w.index, WaitTime: w.c.cfg.WaitTime}
	entries, meta, err := w.c.client.Health().Service(w.c.cfg.Prefix+w.service, "", true, opts.WithContext(ctx))
	if err != nil {
		return answer{err: err}
	}
	if len(entries) > maxInstances {
		return answer{err: fmt.Errorf("more than %d instances", maxInstances)}
	}
	a := answer{index: meta.LastIndex, found: make([]discovery.Instance, 0, len(entries))}
	for _, e := range entries {
		a.found = append(a.found, instance(w.service, e))
	}
	discovery.Sort(a.found)
	return a
}

func instance(service string, e *api.ServiceEntry) discovery.Instance {
	host := e.Service.Address
	if host == "" && e.Node != nil {
		host = e.Node.Address
	}
	return discovery.Instance{
		ID: e.Service.ID, Service: service, Meta: e.Service.Meta,
		Addr: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)),
	}
}

// backoff returns the pause after the nth error in a row: doubling, and between
// half and the whole of it at random, so that replicas do not come back at once.
func (c *Consul) backoff(n int) time.Duration {
	d := c.cfg.BackoffBase << min(n-1, 16)
	if d > c.cfg.BackoffMax || d <= 0 {
		d = c.cfg.BackoffMax
	}
	return d/2 + time.Duration(c.jitter()*float64(d/2))
}
