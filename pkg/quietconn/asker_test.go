package quietconn_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/quietconn"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v and not %v", err, want)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%q and not %q", got, want)
	}
}

// pair returns the two ends of a connection of the kernel's.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	ok(t, err)
	t.Cleanup(func() { _ = l.Close() })
	var d net.Dialer
	client, err = d.DialContext(t.Context(), "tcp", l.Addr().String())
	ok(t, err)
	server, err = l.Accept()
	ok(t, err)
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// heard returns when the poller has told of something that happened just now, and so of
// all that happened before.
func heard(t *testing.T) {
	t.Helper()
	client, server := pair(t)
	raw, err := client.(syscall.Conn).SyscallConn() //nolint:errcheck // pair's are the kernel's
	ok(t, err)
	written := false
	ok(t, raw.Read(func(uintptr) bool {
		if written {
			return true
		}
		written = true
		_, err = server.Write([]byte("."))
		return err != nil
	}))
	ok(t, err)
}

// wrapped is a connection that is not the kernel's.
type wrapped struct{ net.Conn }

func TestAnAskersAnswersFollowItsRequests(t *testing.T) {
	// One of them is more than any socket takes at once.
	sizes := []int{2, 200, 10_000, 128 << 10, 32 << 20, 6}
	for _, kernel := range []bool{true, false} {
		client, server := pair(t)
		if !kernel {
			client = wrapped{client}
		}
		ok(t, client.SetDeadline(time.Now().Add(time.Minute)))
		go func() { // it reads each to its end, for nobody reads of it before
			for _, size := range sizes {
				request := make([]byte, size)
				_, _ = io.ReadFull(server, request)
				_, _ = server.Write(request)
			}
		}()
		a := quietconn.NewAsker(client)
		for _, size := range sizes {
			request := bytes.Repeat([]byte{byte(size >> 1), 'x'}, size/2)
			answer := make([]byte, size)
			a.Ask(request, true)
			_, err := io.ReadFull(a, answer)
			ok(t, err)
			ok(t, a.Failed())
			if !bytes.Equal(request, answer) {
				t.Fatalf("another answer to %d bytes", size)
			}
		}
	}
}

func TestAnAskersWaitEnds(t *testing.T) {
	t.Run("with the answer that came before it waited", func(t *testing.T) {
		client, server := pair(t)
		a := quietconn.NewAsker(client)
		for i := range 2000 { // a wake-up that is lost would be waited for until the deadline
			go func() {
				var b [1]byte
				_, _ = io.ReadFull(server, b[:])
				_, _ = server.Write(b[:])
			}()
			ok(t, client.SetDeadline(time.Now().Add(10*time.Second)))
			a.Ask([]byte("?"), i > 0)
			var b [8]byte
			n, err := a.Read(b[:])
			ok(t, err)
			same(t, string(b[:n]), "?")
		}
	})
	t.Run("with the other side's end", func(t *testing.T) {
		client, server := pair(t)
		a := quietconn.NewAsker(client)
		ok(t, server.(*net.TCPConn).CloseWrite()) //nolint:errcheck // pair's are of TCP
		a.Ask([]byte("?"), true)
		_, err := a.Read(make([]byte, 8))
		is(t, err, quietconn.ErrNotQuiet)
		heard(t) // of that end, too
		a.Ask([]byte("!"), false)
		_, err = a.Read(make([]byte, 8))
		is(t, err, io.EOF)
		var b [2]byte
		n, err := server.Read(b[:])
		ok(t, err)
		same(t, string(b[:n]), "!") // what was refused was not written
	})
	t.Run("with what came unasked", func(t *testing.T) {
		client, server := pair(t)
		a := quietconn.NewAsker(client)
		_, err := server.Write([]byte("no"))
		ok(t, err)
		a.Ask([]byte("?"), true)
		_, err = a.Read(make([]byte, 8))
		is(t, err, quietconn.ErrNotQuiet)
	})
	t.Run("with a deadline, set before or meanwhile", func(t *testing.T) {
		client, _ := pair(t)
		a := quietconn.NewAsker(client)
		a.Ask([]byte("?"), true)
		time.AfterFunc(20*time.Millisecond, func() { _ = client.SetDeadline(time.Unix(1, 0)) })
		_, err := a.Read(make([]byte, 8))
		is(t, err, os.ErrDeadlineExceeded)
		a.Ask([]byte("?"), false)
		_, err = a.Read(make([]byte, 8))
		is(t, err, os.ErrDeadlineExceeded)
		is(t, a.Failed(), os.ErrDeadlineExceeded)
	})
}

func TestWhatAnAskerCannotWriteMayHaveBeenAnswered(t *testing.T) {
	client, server := pair(t)
	a := quietconn.NewAsker(client)
	ok(t, client.(*net.TCPConn).CloseWrite()) //nolint:errcheck // pair's are of TCP
	_, err := server.Write([]byte("no"))
	ok(t, err)
	a.Ask([]byte("?"), false)
	var b [8]byte
	n, err := a.Read(b[:])
	ok(t, err)
	same(t, string(b[:n]), "no")
	if err := a.Failed(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection failed with %v", err)
	}
}
