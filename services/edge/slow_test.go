package edge_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// protocol returns a client that speaks HTTP/1.1 or, in the clear, HTTP/2.
func protocol(t *testing.T, version int) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), ReadBufferSize: 4 << 10, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	tr.Protocols.SetHTTP1(version == 1)
	tr.Protocols.SetUnencryptedHTTP2(version == 2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// trickle writes piece and piece again, until the reader is gone or it did so n
// times, and then closes.
func trickle(piece string, every time.Duration, n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		for range n {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			<-time.After(every)
		}
		_ = w.Close()
	}()
	return r
}

// sendBody posts a body and returns the answer's status and text.
func (g *gate) sendBody(client *http.Client, path, contentType string, body io.Reader) (int, string, error) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// A streamed body that comes byte by byte is given up, one that comes steadily is
// not, however long it takes, on either version of HTTP.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	g, _, _ := serve(t, func(c *edge.Config) {
		c.HTTP.BodyTimeout, c.HTTP.MinBodyRate = time.Second, 1024
	})
	for version := 1; version <= 2; version++ {
		client := protocol(t, version)
		const restore, octets = "/v1/collections:restore?collection=copy", "application/octet-stream"
		began := time.Now()
		status, text, err := g.sendBody(client, restore, octets, trickle("x", 20*time.Millisecond, 1000))
		if took := time.Since(began); took > 10*time.Second || status != http.StatusRequestTimeout || !strings.Contains(text, "REQUEST_TIMEOUT") {
			t.Errorf("HTTP/%d: a byte in 20 ms: %d %q %v after %v", version, status, text, err, took)
		}
		status, text, err = g.sendBody(client, importPath, "application/x-ndjson", trickle(" ", 20*time.Millisecond, 1000))
		if status != http.StatusOK || !strings.Contains(text, "REQUEST_TIMEOUT") {
			t.Errorf("HTTP/%d: an import: %d %q %v", version, status, text, err)
		}
		// Of which each piece comes within the time for a piece, and is worth it.
		status, text, err = g.sendBody(client, restore, octets, trickle(strings.Repeat("x", 4096), 100*time.Millisecond, 18))
		if status != http.StatusOK {
			t.Errorf("HTTP/%d: 40 KB a second: %d %q %v", version, status, text, err)
		}
	}
	found := 0
	for _, r := range g.records("RestoreCollection") {
		if strings.Contains(r, "slow/body block") {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d records tell of a slow body", found)
	}
}

// records returns the records of a method, as JSON, once there are any.
func (g *gate) records(method string) (out []string) {
	g.t.Helper()
	for range 100 {
		list, ok := g.do(http.MethodGet, "/v1/admin/audit?page_size=200", "").at("records").([]any)
		for _, r := range list {
			raw, err := json.Marshal(r)
			if ok && err == nil && strings.Contains(string(raw), "/"+method) {
				out = append(out, string(raw))
			}
		}
		if len(out) > 0 {
			return out
		}
		<-time.After(20 * time.Millisecond)
	}
	return nil
}

// A client that takes a few bytes at a time of a stream is disconnected, and the
// engine told to stop; one that reads what there is waits for the engine as long
// as it likes.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	g, _, _ := serve(t, func(c *edge.Config) {
		c.HTTP.WriteTimeout, c.HTTP.MinAnswerRate, c.HTTP.KeepAlive = 400*time.Millisecond, 64<<10, time.Minute
	})
	ended := make(chan error, 1)
	gap := 0 * time.Millisecond
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		err := sendServedBy(out)
		chunk := strings.Replace(helloChunk, `Hel\nlo`, strings.Repeat("x", 16<<10), 1)
		if gap > 0 {
			chunk = helloChunk
		}
		for i := 0; err == nil && (gap == 0 || i < 6); i++ {
			err = sendChunk(out, chunk)
			<-time.After(gap)
		}
		ended <- err
		return err
	}
	for version := 1; version <= 2; version++ {
		client := protocol(t, version)
		open := func() *http.Response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+chatPath, strings.NewReader(streamed))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+g.key)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = resp.Body.Close() })
			return resp
		}
		gap = 0
		resp := open()
		stop := make(chan struct{})
		go func() {
			one := make([]byte, 64)
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond): // some 6 KB a second
				}
				if _, err := resp.Body.Read(one); err != nil {
					return
				}
			}
		}()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("HTTP/%d: the engine was let end", version)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("HTTP/%d: a slow reader is still served", version)
		}
		close(stop)
		_ = resp.Body.Close()

		gap = 250 * time.Millisecond // longer in all than the client's time for one write
		whole, err := io.ReadAll(open().Body)
		if n := strings.Count(string(whole), "Hel"); err != nil || n != 6 {
			t.Errorf("HTTP/%d: a patient reader got %q, %v", version, whole, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("HTTP/%d: the engine was told %v", version, err)
		}
	}
}
