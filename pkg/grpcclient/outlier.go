package grpcclient

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

// ejector knows which addresses of a backend are left out: after a run of
// failures in a row, for a while that grows each time, and never more than a
// share of them. This is Envoy's "consecutive gateway failure" detection; gRPC's
// own outlier detection (gRFC A50) comes only with the whole of xDS, which would
// cost every service 10 MB.
type ejector struct {
	now func() time.Time

	mu    sync.Mutex
	cfg   Outlier // gRPC configures it anew with each set of addresses
	addrs map[string]*address
}

type address struct {
	failures  int // in a row
	ejections int // in a row
	until     time.Time
}

func newEjector(cfg Outlier, now func() time.Time) *ejector {
	return &ejector{now: now, cfg: cfg, addrs: make(map[string]*address)}
}

// keep forgets the addresses that are not in the list.
func (e *ejector) keep(addrs []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := make(map[string]*address, len(addrs))
	for _, a := range addrs {
		if old, ok := e.addrs[a]; ok {
			next[a] = old
		} else {
			next[a] = new(address)
		}
	}
	e.addrs = next
}

// usable reports whether the address may be called.
func (e *ejector) usable(addr string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.cfg.Enabled {
		return true
	}
	a, ok := e.addrs[addr]
	return !ok || !e.now().Before(a.until)
}

// report notes the outcome of a call to the address.
func (e *ejector) report(addr string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.cfg.Enabled {
		return
	}
	a, ok := e.addrs[addr]
	if !ok {
		return
	}
	now := e.now()
	switch {
	case !failure(err):
		a.failures = 0
		// Good calls that began before the ejection do not end it.
		if !now.Before(a.until) {
			a.ejections = 0
		}
	case now.Before(a.until):
	default:
		a.failures++
		if a.failures >= e.cfg.ConsecutiveFailures && e.mayEject(now) {
			a.failures = 0
			a.ejections++
			a.until = now.Add(min(e.cfg.MaxEjection, e.cfg.BaseEjection*time.Duration(a.ejections)))
		}
	}
}

// mayEject reports whether one more address may be left out; e.mu is held.
func (e *ejector) mayEject(now time.Time) bool {
	out := 0
	for _, a := range e.addrs {
		if now.Before(a.until) {
			out++
		}
	}
	return (out+1)*100 <= e.cfg.MaxEjectedPercent*len(e.addrs)
}

// failure reports whether err speaks of the address and not of the call: what
// gRPC says, and not what the service answered. A deadline is the caller's, who
// may have asked for less time than any address needs: an address that hangs is
// found by the connection's keepalive, whose end is UNAVAILABLE.
func failure(err error) bool {
	if err == nil || apierr.Answered(err) {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Unknown:
		return true
	case codes.OK, codes.Canceled, codes.DeadlineExceeded, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists,
		codes.PermissionDenied, codes.ResourceExhausted, codes.FailedPrecondition, codes.Aborted,
		codes.OutOfRange, codes.Unimplemented, codes.DataLoss, codes.Unauthenticated:
		return false
	default:
		return false
	}
}

// configure changes the limits; what is known of the addresses stays.
func (e *ejector) configure(cfg Outlier) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cfg = cfg
}
