//go:build real

package search_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/testkit"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// The states of a wire.
const (
	whole   = iota
	cut     // connections are reset
	stalled // connections are accepted, and nothing passes
)

// wire carries connections to a server until it is damaged.
type wire struct {
	addr string

	mu    sync.Mutex
	state int
	open  map[net.Conn]bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String(), open: make(map[net.Conn]bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c, to)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		w.set(cut)
	})
	return w
}

// set damages or mends the wire. Connections from before do not outlive it.
func (w *wire) set(state int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
}

func (w *wire) carry(c net.Conn, to string) {
	w.mu.Lock()
	state := w.state
	w.open[c] = true
	w.mu.Unlock()
	switch state {
	case cut:
		_ = c.Close()
	case stalled: // until set closes it
	default:
		far, err := net.Dial("tcp", to)
		if err != nil {
			_ = c.Close()
			return
		}
		w.mu.Lock()
		w.open[far] = true
		w.mu.Unlock()
		go func() { _, _ = io.Copy(far, c); _ = far.Close() }()
		_, _ = io.Copy(c, far)
		_ = c.Close()
	}
}

// TestRealElasticsearchOutages damages the way to a real node: what does not
// need it goes on, what does is refused soon, and nothing written is lost.
func TestRealElasticsearchOutages(t *testing.T) {
	w := newWire(t, strings.TrimPrefix(testkit.Elasticsearch(t).URL, "http://"))
	b := newBinary(t, fmt.Sprintf(
		`{kind: elasticsearch, poll_interval: 100ms, elasticsearch: {addresses: ["http://%s"], timeout: 3s, search_timeout: 2s}}`, w.addr))
	b.start()
	as := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
	if _, err := b.client.CreateCollection(as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	b.upsert(as, 0, doc("a", "first plan"), doc("b", "second plan"))
	b.awaitHits(as, "a#0 b#0")

	w.set(cut)
	for range 20 {
		b.refused(as, time.Second)
	}
	b.refused(as, 250*time.Millisecond) // not even tried
	b.upsert(as, 1, doc("c", "third plan"))
	if _, err := b.client.DeleteDocument(as, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "a"}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if got, err := b.client.GetDocument(as, &searchv1.GetDocumentRequest{Collection: "c", Document: "c"}); err != nil || got.GetDocument().GetText() != "third plan" {
		t.Errorf("get: %v, %v", got, err)
	}
	if r := b.readiness(); !r.Ready || !r.Degraded {
		t.Errorf("readiness: %+v", r)
	}
	w.set(whole)
	b.awaitHits(as, "b#0 c#0")

	w.set(stalled)
	began := time.Now()
	ctx, cancel := context.WithTimeout(as, 700*time.Millisecond)
	defer cancel()
	if _, err := b.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan"}); apierr.ReasonOf(err) != apierr.DeadlineExceeded || time.Since(began) > 1500*time.Millisecond {
		t.Errorf("with a deadline: %v after %v", err, time.Since(began))
	}
	b.refused(as, 4*time.Second)
	b.upsert(as, -1, doc("d", "fourth plan"))
	w.set(whole)
	b.awaitHits(as, "b#0 c#0 d#0")
	if r := b.readiness(); !r.Ready {
		t.Errorf("readiness: %+v", r)
	}
}

// upsert writes documents that must all be kept, with so many warnings; -1 for
// any.
func (b *binary) upsert(ctx context.Context, warnings int, docs ...*searchv1.Document) {
	b.t.Helper()
	resp, err := b.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: docs})
	if err != nil || int(resp.GetSucceeded()) != len(docs) || warnings >= 0 && len(resp.GetWarnings()) != warnings {
		b.t.Fatalf("upsert: %v, %v", resp, err)
	}
}

// refused makes a search that must be refused, in time and with a time to come
// back.
func (b *binary) refused(ctx context.Context, within time.Duration) {
	b.t.Helper()
	began := time.Now()
	_, err := b.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: "lexical"})
	took := time.Since(began)
	if e := apierr.From(err); e == nil || e.Reason != apierr.Unavailable || e.RetryAfter <= 0 || took > within {
		b.t.Errorf("got %v after %v; want a refusal within %v", err, took, within)
	}
}

// awaitHits waits until both legs find these chunks and nothing else.
func (b *binary) awaitHits(ctx context.Context, want string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got := make([]string, 0, 2)
		var last error
		for _, mode := range []string{"lexical", "vector"} {
			resp, err := b.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: mode})
			if err != nil {
				last = err
			}
			got = append(got, strings.Join(strings.Fields(chunkIDs(resp)), " "))
		}
		if last == nil && sameIDs(got[0], want) && sameIDs(got[1], want) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("found %q, last %v; want %s", got, last, want)
		}
	}
}

func (b *binary) readiness() health.Report {
	b.t.Helper()
	resp, err := http.Get("http://" + b.ops + "/readyz")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var r health.Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		b.t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Name == search.CheckIndexes {
			return r
		}
	}
	b.t.Errorf("%+v says nothing of the indexes", r)
	return r
}

// sameIDs compares ids whatever their order.
func sameIDs(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
