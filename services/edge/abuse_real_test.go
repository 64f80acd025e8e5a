//go:build real

package edge_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poterne/poterne/services/edge"
)

// dialFrom connects from an address of this machine.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// p99 is of requests that others make in the meantime.
func (g *gate) p99(n int) time.Duration {
	g.t.Helper()
	times := make([]time.Duration, 0, n)
	for range n {
		begin := time.Now()
		if a := g.do(http.MethodGet, "/v1/models", ""); a.status != http.StatusOK {
			g.t.Fatalf("another caller gets %d %s", a.status, a.text)
		}
		times = append(times, time.Since(begin))
		<-time.After(time.Millisecond)
	}
	slices.Sort(times)
	return times[len(times)*99/100]
}

// resets opens streams and resets each at once (CVE-2023-44487), until ctx ends or
// the server has had enough; it connects again then.
func resets(ctx context.Context, from, to, path string, sent *atomic.Int64) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for ctx.Err() == nil {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Second}
		c, err := d.DialContext(ctx, "tcp", to)
		if err != nil {
			continue
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = io.WriteString(c, http2.ClientPreface)
		f := http2.NewFramer(c, nil)
		_ = f.WriteSettings()
		// A fresh encoder's block is valid for the first stream; the table is the same after.
		for id := uint32(1); id < 1<<30 && ctx.Err() == nil; id += 2 {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}) != nil ||
				f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				break
			}
			sent.Add(1)
			if id%16 == 1 {
				<-time.After(time.Millisecond) // this machine sends and serves
			}
		}
		_ = c.Close()
	}
}

// Two thousand connections that send a byte now and then, and floods of resets on
// both ports, leave other callers what they had, and memory where it was.
func TestRealFloods(t *testing.T) {
	g, web, rpc := serve(t, func(c *edge.Config) {
		c.Security.Abuse.ConnectionsPerAddress = 3000
		c.Security.Abuse.Bans.Never = []string{"127.0.0.1/32"}
	})
	g.p99(200)
	quiet := max(g.p99(500), 5*time.Millisecond) // below, the scheduler is what is measured
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var alive, sent atomic.Int64
	for i := range 2000 {
		to := web
		if i%4 == 0 {
			to = rpc
		}
		c := dialFrom(t, "127.0.1.1", to)
		alive.Add(1)
		wg.Go(func() {
			request := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("x", 1000)
			for j := 0; ctx.Err() == nil && j < len(request); j++ {
				if _, err := io.WriteString(c, request[j:j+1]); err != nil {
					alive.Add(-1)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(3 * time.Second):
				}
			}
		})
	}
	wg.Go(func() { resets(ctx, "127.0.1.2", web, "/v1/chat/completions", &sent) })
	wg.Go(func() { resets(ctx, "127.0.1.3", rpc, "/poterne.edge.v1.OpenAIService/ListModels", &sent) })
	busy := g.p99(1000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)
	t.Logf("p99 %v quiet, %v under the floods; %d resets; %d MiB more, with the attackers' own", quiet, busy, sent.Load(), grown>>20)
	// Attackers and tests share this machine's processors, so that the scheduler's
	// turns are added to what the gateway adds.
	if busy > 2*quiet+25*time.Millisecond {
		t.Errorf("others' p99 went from %v to %v", quiet, busy)
	}
	if grown > 150<<20 {
		t.Errorf("%d MiB more", grown>>20)
	}
	if sent.Load() < 1000 {
		t.Errorf("only %d resets were sent: this was no flood", sent.Load())
	}
	cancel()
	wg.Wait()
	g.p99(10)
}

// A header that never ends (CONTINUATION without END_HEADERS, CVE-2023-45288), and
// floods of pings and settings, end the connection before they cost much.
func TestRealHTTP2Floods(t *testing.T) {
	g, web, rpc := serve(t, nil)
	floods := map[string]func(f *http2.Framer, i int) error{
		"continuation": func(f *http2.Framer, i int) error {
			block := []byte{0x00, 0x01, 'a', 0x7d}
			block = append(block, bytes.Repeat([]byte("x"), 0x7d)...)
			block = bytes.Repeat(block, 100)
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			}
			return f.WriteContinuation(1, false, block)
		},
		"ping": func(f *http2.Framer, _ int) error { return f.WritePing(false, [8]byte{1}) },
		"settings": func(f *http2.Framer, _ int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		},
	}
	for name, flood := range floods {
		for port, to := range map[string]string{"http": web, "grpc": rpc} {
			t.Run(name+"/"+port, func(t *testing.T) {
				c := dialFrom(t, "127.0.1.1", to) // nobody reads what the server answers
				_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
				_, _ = io.WriteString(c, http2.ClientPreface)
				f := http2.NewFramer(c, nil)
				_ = f.WriteSettings()
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				n := 0
				for ; n < 200_000; n++ {
					if flood(f, n) != nil {
						break
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20
				t.Logf("%d frames, %d MiB", n, grown)
				if n == 200_000 && name == "continuation" {
					t.Error("the server took all of them")
				}
				if grown > 16 {
					t.Errorf("%d MiB more", grown)
				}
			})
		}
	}
	g.p99(10)
}
