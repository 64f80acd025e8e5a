package quietconn_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/poterne/poterne/pkg/buffers"
	"github.com/poterne/poterne/pkg/quietconn"
	"github.com/poterne/poterne/pkg/testkit"
)

// ahead is what Reader has of bufio's.
type ahead interface {
	io.Reader
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
	Size() int
}

// passed is what a sequence of calls that chance chose has seen, to the end.
func passed(t *testing.T, r ahead, chance *rand.Rand) (seen []byte) {
	t.Helper()
	for {
		n := 1 + chance.IntN(r.Size())
		var err error
		switch chance.IntN(3) {
		case 0:
			var b []byte
			b, err = r.Peek(n)
			seen = append(append(seen, 'p'), b...)
			if err == nil {
				_, err = r.Discard(chance.IntN(n + 1))
			}
		case 1:
			n, err = r.Discard(2 * n)
			seen = append(seen, 'd', byte(n), byte(n>>8))
		default:
			b := make([]byte, 2*n)
			n, err = io.ReadFull(r, b)
			seen = append(append(seen, 'r'), b[:n]...)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		if err != nil {
			is(t, err, io.EOF)
			return seen
		}
	}
}

func TestAReaderReadsAsBufiosDoes(t *testing.T) {
	const size = 64
	b := buffers.New(size, size)
	for seed := range uint64(200) {
		chance := func() *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
		text := make([]byte, rand.New(rand.NewPCG(seed, 2)).IntN(2000))
		for i := range text {
			text[i] = byte(i)
		}
		want := passed(t, bufio.NewReaderSize(bytes.NewReader(text), size), chance())
		client, server := pair(t)
		go func() {
			for part := text; len(part) > 0; {
				n := min(len(part), 1+int(seed))
				_, _ = server.Write(part[:n])
				part = part[n:]
			}
			_ = server.Close()
		}()
		for name, r := range map[string]*quietconn.Reader{
			"the kernel's": quietconn.NewReader(client, quietconn.RawOf(client), b),
			"another":      quietconn.NewReader(bytes.NewReader(text), nil, b),
			"byte by byte": quietconn.NewReader(iotest.OneByteReader(bytes.NewReader(text)), nil, b),
			"with its end": quietconn.NewReader(iotest.DataErrReader(bytes.NewReader(text)), nil, b),
		} {
			if got := passed(t, r, chance()); !bytes.Equal(got, want) {
				t.Fatalf("%s, %d: %q and not %q", name, seed, got, want)
			}
		}
	}
}

func TestAReaderThatWaitsHoldsNoBuffer(t *testing.T) {
	const size, many = 1 << 20, 32
	b := buffers.New(size, size)
	before := testkit.Heap()
	var servers []net.Conn
	done := make(chan error, many)
	for range many {
		client, server := pair(t)
		servers = append(servers, server)
		r := quietconn.NewReader(client, quietconn.RawOf(client), b)
		_, err := server.Write([]byte("ab"))
		ok(t, err)
		got, err := r.Peek(2)
		ok(t, err)
		same(t, string(got), "ab")
		_, err = r.Discard(2)
		ok(t, err)
		go func() {
			_, err := r.Peek(1)
			done <- err
		}()
	}
	heard(t)
	if held := testkit.Heap() - before; held > many/2*size {
		t.Errorf("%d that wait hold %d bytes", many, held)
	}
	for _, s := range servers {
		_, err := s.Write([]byte("."))
		ok(t, err)
		ok(t, <-done)
	}
}

func TestAReadersWaitEnds(t *testing.T) {
	client, server := pair(t)
	r := quietconn.NewReader(client, quietconn.RawOf(client), buffers.New(8, 8))
	ok(t, client.SetReadDeadline(time.Unix(1, 0)))
	_, err := r.Peek(1)
	is(t, err, os.ErrDeadlineExceeded)
	ok(t, client.SetReadDeadline(time.Time{}))
	_, err = server.Write([]byte("abc"))
	ok(t, err)
	_, err = r.Peek(3)
	ok(t, err)
	ok(t, client.SetReadDeadline(time.Unix(1, 0)))
	got, err := r.Peek(4)
	is(t, err, os.ErrDeadlineExceeded)
	same(t, string(got), "abc") // it is there for the next
	_, err = r.Peek(9)
	is(t, err, bufio.ErrBufferFull)
	ok(t, client.SetReadDeadline(time.Time{}))
	ok(t, server.(*net.TCPConn).SetLinger(0)) //nolint:errcheck // pair's are of TCP
	ok(t, server.Close())
	_, err = r.Peek(4)
	is(t, err, syscall.ECONNRESET)
}

// secret is a connection of whose bytes the kernel knows others, as of TLS, and which
// tells of the kernel's side all the same, as gRPC's do.
type secret struct{ *net.TCPConn }

func (s secret) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	for i := range p[:n] {
		p[i] ^= 1
	}
	return n, err
}

func TestAReaderReadsWhatTheConnectionSays(t *testing.T) {
	client, server := pair(t)
	_, err := server.Write([]byte{'a' ^ 1})
	ok(t, err)
	c := secret{client.(*net.TCPConn)} //nolint:errcheck // pair's are of TCP
	got, err := quietconn.NewReader(c, quietconn.RawOf(c), buffers.New(8, 8)).Peek(1)
	ok(t, err)
	same(t, string(got), "a")
}
