package connlimit_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/poterne/poterne/pkg/connlimit"
	"github.com/poterne/poterne/pkg/quietconn"
)

// port accepts connections without end, or fails as the test says.
type port struct {
	net.Listener
	fail   error
	closed int
}

func (p *port) Accept() (net.Conn, error) {
	if p.fail != nil {
		return nil, p.fail
	}
	c, _ := net.Pipe()
	return c, nil
}

func (p *port) Close() error {
	p.closed++
	return nil
}

// accepted is what Accept has returned so far.
type accepted struct {
	mu    sync.Mutex
	conns []net.Conn
	err   error
}

func (a *accepted) from(lis net.Listener) {
	for {
		c, err := lis.Accept()
		a.mu.Lock()
		if err != nil {
			a.err = err
			a.mu.Unlock()
			return
		}
		a.conns = append(a.conns, c)
		a.mu.Unlock()
	}
}

func TestASlotIsGivenBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a := new(port), new(accepted)
		lis := connlimit.Listener(p, 2)
		go a.from(lis)
		open := func(want int) {
			t.Helper()
			synctest.Wait()
			if len(a.conns) != want || a.err != nil {
				t.Fatalf("%d were accepted, want %d: %v", len(a.conns), want, a.err)
			}
		}
		open(2)
		first := a.conns[0]
		var both sync.WaitGroup
		for range 10 { // who closes it may not know of the others that do
			both.Go(func() { _ = first.Close() })
		}
		both.Wait()
		open(3)
		_ = first.Close()
		open(3)
		_ = a.conns[1].Close()
		open(4)
		for range 2 {
			_ = lis.Close()
		}
		synctest.Wait()
		if !errors.Is(a.err, net.ErrClosed) || p.closed != 2 {
			t.Errorf("waiting for a slot ends with %v; the port was closed %d times", a.err, p.closed)
		}
	})
}

func TestAFailureTakesNoSlot(t *testing.T) {
	p := &port{fail: errors.New("too many open files")}
	lis := connlimit.Listener(p, 1)
	for range 3 { // one that kept its slot would have the next wait for ever
		if _, err := lis.Accept(); !errors.Is(err, p.fail) {
			t.Fatalf("accepting fails with %v", err)
		}
	}
	p.fail = nil
	if _, err := lis.Accept(); err != nil {
		t.Fatal(err)
	}
}

// A connection of the kernel's can be found by what reads of it.
func TestTheKernelsConnectionIsSeen(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lis = connlimit.Listener(lis, 1)
	t.Cleanup(func() { _ = lis.Close() })
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if quietconn.RawOf(c) == nil {
		t.Error("it is not seen")
	}
}
