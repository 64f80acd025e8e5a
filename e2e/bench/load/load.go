// Package load sends requests over HTTP/1.1 as fast as they are answered, and costs
// little itself: a request is bytes that were made before, and of an answer only its
// status and its length are understood. So what a gateway costs is not hidden by what
// asks it. Start reading at Run.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Request is a request as it is sent, again and again.
type Request struct {
	// Addr is host:port.
	Addr string
	// Path, Header and Body are of a POST with a JSON body.
	Path   string
	Header [][2]string
	Body   string
}

// bytes is the request on the wire.
func (r Request) bytes() []byte {
	out := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", r.Path, r.Addr)
	for _, h := range r.Header {
		out = fmt.Appendf(out, "%s: %s\r\n", h[0], h[1])
	}
	return fmt.Appendf(out, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
}

// Sample is what came of one request.
type Sample struct {
	// First is the time until the first bytes of the answer's body, Whole until its end.
	First, Whole time.Duration
	// Events is how many server-sent events it had.
	Events int
	// Times is when each event began to arrive, if Options.Stamp asks for it.
	Times []time.Duration
}

// Options bound a run.
type Options struct {
	// Connections are open at once, with one request each.
	Connections int
	// For ends the run; requests that were begun are answered.
	For time.Duration
	// Requests, when above 0, is how many are sent on all connections together, and For
	// does not count.
	Requests int
	// Stamp has the time of each event noted.
	Stamp bool
}

// Result is what came of a run.
type Result struct {
	Samples []Sample
	// Took is from the first request to the last answer.
	Took time.Duration
}

// Rate is requests a second.
func (r Result) Rate() float64 { return float64(len(r.Samples)) / r.Took.Seconds() }

// Quantile is the q-quantile of what get says of the samples; 0 of none.
func (r Result) Quantile(q float64, get func(Sample) time.Duration) time.Duration {
	if len(r.Samples) == 0 {
		return 0
	}
	all := make([]time.Duration, len(r.Samples))
	for i, s := range r.Samples {
		all[i] = get(s)
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

// Whole and First are for Quantile.
func Whole(s Sample) time.Duration { return s.Whole }

// First is the time to the first bytes of the body.
func First(s Sample) time.Duration { return s.First }

// Run sends r until the options end it. An answer other than 200 is an error, for it
// costs less than one.
func Run(ctx context.Context, r Request, o Options) (Result, error) {
	conns, err := dial(ctx, r.Addr, o.Connections)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	if err != nil {
		return Result{}, err
	}
	var (
		mu   sync.Mutex
		out  Result
		errs []error
		wg   sync.WaitGroup
		raw  = r.bytes()
	)
	begun := time.Now()
	end := begun.Add(o.For)
	for i, c := range conns {
		quota := share(o.Requests, o.Connections, i)
		wg.Go(func() {
			samples, err := ask(ctx, c, raw, o.Stamp, func(n int) bool {
				if o.Requests > 0 {
					return n < quota
				}
				return time.Now().Before(end)
			})
			mu.Lock()
			defer mu.Unlock()
			out.Samples = append(out.Samples, samples...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	out.Took = time.Since(begun)
	if len(errs) > 0 {
		return out, fmt.Errorf("%s: %d of %d connections failed: %w", r.Addr, len(errs), o.Connections, errs[0])
	}
	return out, nil
}

// share is how many of n requests the i-th of so many connections sends.
func share(n, connections, i int) int {
	out := n / connections
	if i < n%connections {
		out++
	}
	return out
}

func dial(ctx context.Context, addr string, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, 0, n)
	for range n {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// ask sends raw on c while more says so, given how many were answered.
func ask(ctx context.Context, c net.Conn, raw []byte, stamp bool, more func(n int) bool) ([]Sample, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answers := newReader(c)
	answers.stamp = stamp
	var out []Sample
	for more(len(out)) {
		begun := time.Now()
		if _, err := c.Write(raw); err != nil {
			return out, errors.Join(context.Cause(ctx), err)
		}
		s, err := answers.next(begun)
		if err != nil {
			return out, errors.Join(context.Cause(ctx), err)
		}
		out = append(out, s)
	}
	return out, nil
}

// Open is streams that are held open.
type Open struct{ conns []net.Conn }

// Close closes them.
func (o *Open) Close() {
	for _, c := range o.conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// Hold opens n streams and returns when each has had its first event. Each has its
// connection just before its request: servers end those that are silent for long.
func Hold(ctx context.Context, r Request, n int) (*Open, error) {
	out := &Open{conns: make([]net.Conn, n)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(holdAtOnce)
	raw := r.bytes()
	for i := range out.conns {
		g.Go(func() error {
			c, err := new(net.Dialer).DialContext(gctx, "tcp", r.Addr)
			if err != nil {
				return err
			}
			out.conns[i] = c
			if _, err := c.Write(raw); err != nil {
				return err
			}
			return newReader(c).first(gctx)
		})
	}
	if err := g.Wait(); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// holdAtOnce is how many streams are waited for at a time.
const holdAtOnce = 64
