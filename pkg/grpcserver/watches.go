package grpcserver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/pkg/apierr"
)

// watches counts the open streams about the server itself, which need no
// caller and may last.
type watches struct {
	most, mostOfOne int

	mu    sync.Mutex
	all   int
	addrs map[netip.Prefix]int
}

func newWatches(most, mostOfOne int) *watches {
	return &watches{most: most, mostOfOne: mostOfOne, addrs: make(map[netip.Prefix]int)}
}

// retryWatch is how long a client should wait that was refused a watch.
const retryWatch = 5 * time.Second

// open counts one more stream, whose end is to be told with done, or refuses it.
func (w *watches) open(ctx context.Context) (done func(), err error) {
	addr := addressOf(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.addrs[addr] >= w.mostOfOne:
		return nil, apierr.New(apierr.RateLimited, "this address has %d streams about the server open already", w.mostOfOne).
			WithRetryAfter(retryWatch)
	case w.all >= w.most:
		return nil, apierr.New(apierr.Overloaded, "%d streams about the server are open already", w.most).
			WithRetryAfter(retryWatch)
	}
	w.all++
	w.addrs[addr]++
	return func() { w.close(addr) }, nil
}

func (w *watches) close(addr netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.addrs[addr]--; w.addrs[addr] == 0 {
		delete(w.addrs, addr)
	}
}

// addressOf returns who is at the other end, as one who is given an IPv6
// network has all of a /64; peers without an address count as one.
func addressOf(ctx context.Context) netip.Prefix {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Prefix{}
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr, bits := tcp.AddrPort().Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
