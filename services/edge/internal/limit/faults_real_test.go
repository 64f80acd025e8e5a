//go:build real

package limit

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge/internal/redisscript"
)

// fault is what a network does to what passes; the zero one passes all at once.
type fault struct {
	delay     time.Duration
	perSecond int  // bytes
	blackhole bool // nothing passes, and nobody is told
	halfOpen  bool // what is asked arrives, what is answered does not, and nobody is told
	cutAfter  int  // an answer ends after so many bytes, and its connection with it
	refused   bool // no connection is made
}

// proxy stands between a client and a server.
type proxy struct {
	t    *testing.T
	addr string

	mu    sync.Mutex
	fault fault
	conns []net.Conn
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, addr: lis.Addr().String()}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := lis.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			refused := p.fault.refused
			p.mu.Unlock()
			behind, err := new(net.Dialer).DialContext(t.Context(), "tcp", server)
			if err == nil && refused {
				err = errors.Join(net.ErrClosed, behind.Close())
			}
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, behind)
			p.mu.Unlock()
			group.Go(func() { p.pass(behind, client, false) })
			group.Go(func() { p.pass(client, behind, true) })
		}
	})
	t.Cleanup(func() {
		_ = lis.Close()
		p.set(fault{})
		p.reset()
		group.Wait()
	})
	return p
}

func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// reset breaks every connection.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // RST
		}
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) pass(to, from net.Conn, answers bool) {
	defer func() { _ = errors.Join(to.Close(), from.Close()) }()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		f := p.fault
		p.mu.Unlock()
		wait := f.delay
		if f.perSecond > 0 {
			wait += time.Duration(n) * time.Second / time.Duration(f.perSecond)
		}
		if wait > 0 {
			<-time.After(wait)
		}
		if answers && f.cutAfter > 0 && n > f.cutAfter {
			_, _ = to.Write(buf[:f.cutAfter])
			return
		}
		if !f.blackhole && (!answers || !f.halfOpen) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestRealFaultsBetweenEdgesAndRedis has two replicas ask through a network that is
// slow, narrow, silent, silent in one direction, breaks connections, ends them within an
// answer, or makes none: nobody waits for that, and what is let in is what the limit says.
func TestRealFaultsBetweenEdgesAndRedis(t *testing.T) {
	server, db := testkit.Redis(t), 0
	for what, f := range map[string]struct {
		fault
		resets bool
		one    bool // of the two
	}{
		"delay":            {fault: fault{delay: 20 * time.Millisecond}},
		"delay of one":     {fault: fault{delay: 20 * time.Millisecond}, one: true},
		"bandwidth":        {fault: fault{perSecond: 10_000}},
		"blackhole":        {fault: fault{blackhole: true}},
		"blackhole of one": {fault: fault{blackhole: true}, one: true},
		"half open":        {fault: fault{halfOpen: true}},
		"half open of one": {fault: fault{halfOpen: true}, one: true},
		"reset":            {resets: true},
		"cut":              {fault: fault{cutAfter: 3}},
		"refused":          {fault: fault{refused: true}, resets: true},
	} {
		t.Run(what, func(t *testing.T) {
			db++ // who was alive before counts for a while
			var proxies [2]*proxy
			var replicas [2]*Leased
			seen := new(counting)
			for i := range replicas {
				proxies[i] = newProxy(t, server.Addr)
				client := redisscript.Open(redisscript.Options{Addrs: []string{proxies[i].addr}, DB: db})
				replicas[i] = runningOn(t, client, waitsFor, seen)
				t.Cleanup(func() { _ = client.Close() })
			}
			sleep(t, 1500*time.Millisecond) // they know of each other
			limit := Limit{Amount: 400, Period: time.Second}
			const took, fromTo = 4 * time.Second, time.Second
			var mu sync.Mutex
			var waits []time.Duration
			admitted := 0
			begun := time.Now()
			var group sync.WaitGroup
			group.Go(func() { // from the first second to the third
				sleep(t, fromTo)
				for i, p := range proxies {
					if i == 0 || !f.one {
						p.set(f.fault)
					}
				}
				for range 20 {
					sleep(t, 100*time.Millisecond)
					if f.resets {
						proxies[0].reset()
						proxies[1].reset()
					}
				}
				proxies[0].set(fault{})
				proxies[1].set(fault{})
			})
			for c := range 16 {
				group.Go(func() {
					for n := c; time.Since(begun) < took; n++ {
						d, waited := askOnce(t, replicas[n%2], what, 1, limit, AwayLocal)
						mu.Lock()
						waits = append(waits, waited)
						if d.Allowed {
							admitted++
						}
						mu.Unlock()
						sleep(t, 16*time.Millisecond)
					}
				})
			}
			group.Wait()
			slices.Sort(waits)
			want := float64(limit.AtOnce()) + float64(limit.Amount)*time.Since(begun).Seconds()
			t.Logf("%d of %.0f (%+.2f %%) of %d; waits: median %v, p99 %v, most %v; %d alone", admitted, want, 100*(float64(admitted)/want-1), len(waits),
				waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1], seen.local.Load())
			if m := waits[len(waits)/2]; m > waitsFor {
				t.Errorf("half of the requests waited more than %v", m)
			}
			lost := f.resets || f.halfOpen || f.cutAfter > 0
			if !lost && float64(admitted) < want*0.95 { // a lost answer costs what it gave
				t.Errorf("%d were let in, %.0f may be", admitted, want)
			}
			// Who is cut off has its share besides, until it can tell.
			most := want * 1.02
			if f.blackhole || f.halfOpen || f.cutAfter > 0 || f.refused {
				most += float64(limit.Amount) // half of the rate, for two seconds
			}
			if float64(admitted) > most {
				t.Errorf("%d were let in, %.0f may be", admitted, most)
			}
		})
	}
}
