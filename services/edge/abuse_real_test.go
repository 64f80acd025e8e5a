//go:build real

package edge_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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

// resets opens streams and resets each at once (CVE-2023-44487), until ctx ends or
// the server has had enough.
func resets(ctx context.Context, c net.Conn, path string, sent *atomic.Int64) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		_ = c.Close()
		return
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
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
	g.alive()
}
