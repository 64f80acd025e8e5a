//go:build real

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/testkit"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// told is the revisions that a receiver was told of, in their order.
type told struct {
	mu        sync.Mutex
	revisions []int64
}

func (r *told) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, _ := io.ReadAll(req.Body)
	var m struct{ Data struct{ Revision int64 } }
	if json.Unmarshal(raw, &m) != nil || m.Data.Revision == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	<-time.After(5 * time.Millisecond) // so that a kill meets messages that wait
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revisions = append(r.revisions, m.Data.Revision)
}

func (r *told) has() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int64(nil), r.revisions...)
}

// Two processes share a PostgreSQL database. The one that delivers is killed while
// messages wait, twice over, and the other goes on: every change is told, in its
// order, and none but the one that was being sent is told twice.
func TestRealAnotherProcessDelivers(t *testing.T) {
	server := testkit.Postgres(t)
	env := []string{"POTERNE_STORE_DSN=" + server.DSN, "POTERNE_WEBHOOKS_ALLOW_ADDRESSES=127.0.0.0/8", "POTERNE_WEBHOOKS_LEASE_BEAT=200ms"}
	receiver := new(told)
	target := httptest.NewServer(receiver)
	t.Cleanup(target.Close)
	first := startProcess(t, "", env...)
	ctx := t.Context()
	_, err := first.client.CreateWebhook(ctx, &registryv1.CreateWebhookRequest{Name: "ci", Url: target.URL, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, grpc.WaitForReady(true))
	fatal(t, err)
	changes := 0
	change := func(p *process, n int) {
		t.Helper()
		for range n {
			changes++
			_, err := p.client.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m" + strconv.Itoa(changes)}, grpc.WaitForReady(true))
			fatal(t, err)
		}
	}
	const kills, each = 2, 60
	for range kills {
		second := startProcess(t, "", env...)
		change(first, each)
		first.Kill()
		change(second, each)
		first = second
	}
	deadline := time.Now().Add(time.Minute)
	for last := int64(0); last < int64(changes); {
		if time.Now().After(deadline) {
			t.Fatalf("told of %d changes of %d: %v", last, changes, receiver.has())
		}
		<-time.After(20 * time.Millisecond)
		if got := receiver.has(); len(got) > 0 {
			last = got[len(got)-1]
		}
	}
	last, twice := int64(0), 0
	for _, revision := range receiver.has() {
		switch revision {
		case last:
			twice++
		case last + 1:
		default:
			t.Fatalf("after %d comes %d", last, revision)
		}
		last = revision
	}
	if twice > kills {
		t.Errorf("%d were told twice, after %d kills", twice, kills)
	}
}
