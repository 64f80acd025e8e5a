package grpcclient

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/telemetry"
)

// WithDirect has methods with one request ("/package.Service/Method") called on
// connections of package callwire where the server takes such calls, each time at an
// address that gRPC has a connection to, which is not ejected, and whose turn it is.
// Methods that may be tried again do not belong here: it is gRPC that tries again. Nor do
// streams without an end, which would keep a connection each.
func WithDirect(methods ...string) Option {
	return func(o *options) { o.direct = append(o.direct, methods...) }
}

// direct is the step before a call leaves in the ordinary way.
type direct struct {
	ways    map[string]ways // by method; a few
	calls   *callwire.Pool
	streams *callwire.Pool
	roster  atomic.Pointer[roster] // nil before the first ordinary call
}

// directKey is of a call that tells direct which addresses there are.
type directKey struct{}

func newDirect(cfg Config, o options, tel *telemetry.Telemetry) (*direct, error) {
	counted, err := newWays(tel, o.direct)
	if err != nil {
		return nil, err
	}
	opts := callwire.PoolOptions{
		Credentials: o.creds.Clone(), PerAddress: cfg.DirectConnections, DialTimeout: cfg.ConnectTimeout,
		KeepaliveTime: cfg.KeepaliveTime, KeepaliveTimeout: cfg.KeepaliveTimeout, MaxRecvBytes: cfg.MaxRecvBytes.Int(),
	}
	d := &direct{ways: counted, calls: callwire.NewPool(opts)}
	opts.Streams, opts.PerAddress = true, cfg.DirectStreams
	d.streams = callwire.NewPool(opts)
	return d, nil
}

func (d *direct) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	way, ok := d.ways[method]
	if !ok {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	ctx, p := d.known(ctx)
	if p != nil {
		addr := p.choose().addr
		if carried, err := d.calls.Call(ctx, addr, method, req, reply, opts); carried {
			p.ejector.report(addr, err)
			way.direct(ctx)
			return err
		}
		p.pass()
	}
	way.ordinary(ctx)
	return invoker(ctx, method, req, reply, cc, opts...)
}

func (d *direct) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	way, ok := d.ways[method]
	if !ok || desc.ClientStreams {
		return streamer(ctx, desc, cc, method, opts...)
	}
	ctx, p := d.known(ctx)
	ordinary := func() (grpc.ClientStream, error) {
		way.ordinary(ctx)
		return streamer(ctx, desc, cc, method, opts...)
	}
	if p != nil {
		addr := p.choose().addr
		if s := d.streams.Open(ctx, addr, callwire.Stream{Method: method, Opts: opts, Ordinary: ordinary, Done: func(err error) {
			p.ejector.report(addr, err)
			way.direct(ctx)
		}}); s != nil {
			return s, nil
		}
		p.pass()
	}
	return ordinary()
}

// known returns whom gRPC may call, nil for nobody, and what an ordinary call has as its
// context, which tells while nothing is known.
func (d *direct) known(ctx context.Context) (context.Context, *picker) {
	r := d.roster.Load()
	if r == nil {
		return context.WithValue(ctx, directKey{}, d), nil
	}
	return ctx, r.current.Load()
}

// meet makes the addresses known.
func (d *direct) meet(r *roster) {
	if d.roster.CompareAndSwap(nil, r) {
		r.follow(d.calls)
		r.follow(d.streams)
	}
}

// roster is who may be called on one connection of gRPC's, as its policy has it: an
// address that drains, is away or not healthy is not there.
type roster struct {
	current atomic.Pointer[picker] // nil: nobody

	mu     sync.Mutex
	pools  []*callwire.Pool
	closed bool
}

func (r *roster) set(p *picker) {
	r.current.Store(p)
	addrs := make(map[string]bool)
	if p != nil {
		for _, e := range p.ready {
			addrs[e.addr] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pool := range r.pools {
		pool.Keep(addrs)
	}
}

// follow has the pool close what goes to addresses that are there no more.
func (r *roster) follow(pool *callwire.Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		pool.Close()
		return
	}
	r.pools = append(r.pools, pool)
}

// close closes the pools with the connection.
func (r *roster) close() {
	r.current.Store(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, pool := range r.pools {
		pool.Close()
	}
}
