package grpcclient

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/callwire"
)

// WithDirect has unary methods ("/package.Service/Method") called on connections of
// package callwire where the server takes such calls, each time at an address that gRPC
// has a connection to, which is not ejected, and whose turn it is. Methods that may be
// tried again do not belong here: it is gRPC that tries again.
func WithDirect(methods ...string) Option {
	return func(o *options) { o.direct = append(o.direct, methods...) }
}

// direct is the step before a call leaves in the ordinary way.
type direct struct {
	methods []string // a few
	pool    *callwire.Pool
	roster  atomic.Pointer[roster] // nil before the first ordinary call
}

// directKey is of a call that tells direct which addresses there are.
type directKey struct{}

func newDirect(cfg Config, o options) *direct {
	return &direct{methods: o.direct, pool: callwire.NewPool(callwire.PoolOptions{
		Credentials: o.creds.Clone(), PerAddress: cfg.DirectConnections, DialTimeout: cfg.ConnectTimeout,
		KeepaliveTime: cfg.KeepaliveTime, KeepaliveTimeout: cfg.KeepaliveTimeout, MaxRecvBytes: cfg.MaxRecvBytes.Int(),
	})}
}

func (d *direct) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if !slices.Contains(d.methods, method) {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	r := d.roster.Load()
	if r == nil {
		return invoker(context.WithValue(ctx, directKey{}, d), method, req, reply, cc, opts...)
	}
	if p := r.current.Load(); p != nil {
		addr := p.choose().addr
		if carried, err := d.pool.Call(ctx, addr, method, req, reply, opts); carried {
			p.ejector.report(addr, err)
			return err
		}
	}
	return invoker(ctx, method, req, reply, cc, opts...)
}

// meet makes the addresses known.
func (d *direct) meet(r *roster) {
	if d.roster.CompareAndSwap(nil, r) {
		r.follow(d.pool)
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
