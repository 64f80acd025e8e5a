//go:build real

package search_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// replica is one of several search processes on one PostgreSQL.
type replica struct {
	*binary

	process *testkit.Process
	// built is how many calls the building of embedding generations has made.
	built atomic.Int64
	// cluster is the URL of its indexes in Elasticsearch; empty for its own ones.
	cluster string
}

// replicas are two of them, with the database to look into.
type replicas struct {
	t    *testing.T
	as   context.Context // whom every call is on behalf of
	both [2]*replica
	db   *sqldb.DB
	// killed is the one that is not running at the moment.
	killed atomic.Pointer[replica]
}

// startReplicas starts two; index is that section of each one's configuration.
func startReplicas(t *testing.T, index func(i int) string) *replicas {
	t.Helper()
	for name, value := range map[string]string{
		"POTERNE_EMBEDDING_REBUILD_LEASE": "2s", "POTERNE_EMBEDDING_REBUILD_SHARE": "1",
		"POTERNE_EMBEDDING_REBUILD_CHUNKS_PER_SECOND": "300", "POTERNE_EMBEDDING_KEEP_RETIRED": "0s",
		"POTERNE_INDEX_POLL_INTERVAL": "100ms", "POTERNE_EXPIRY_INTERVAL": "100ms",
	} {
		t.Setenv(name, value)
	}
	dsn, path := testkit.Postgres(t).DSN, buildBinary(t)
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig(dsn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &replicas{t: t, db: db, as: identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "root", Roles: []string{"admin"}})}
	for i := range r.both {
		one := &replica{binary: newBinaryOn(t, path, dsn, index(i))}
		one.inference.hook = func(req *inferencev1.EmbedRequest) error {
			if req.GetPriority() == inferencev1.Priority_PRIORITY_BATCH {
				one.built.Add(1)
			}
			return nil
		}
		one.process = one.start()
		r.both[i] = one
	}
	return r
}

// eventually waits until why returns nothing.
func (r *replicas) eventually(what string, why func() string) {
	r.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		left := why()
		if left == "" {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			r.t.Fatalf("%s: %s", what, left)
		}
	}
}

// find returns the ids of the documents that one finds by a word, each as often
// as it is found.
func (r *replicas) find(by *replica, word, mode string) ([]string, error) {
	resp, err := by.client.Search(r.as, &searchv1.SearchRequest{Collection: "c", Query: word, Mode: mode, TopK: 1000})
	var ids []string
	for _, h := range resp.GetHits() {
		ids = append(ids, h.GetDocumentId())
	}
	slices.Sort(ids)
	return ids, err
}

func (r *replicas) put(by *replica, docs ...*searchv1.Document) {
	r.t.Helper()
	resp, err := by.client.BatchUpsertDocuments(r.as, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: docs})
	if err != nil || int(resp.GetSucceeded()) != len(docs) {
		r.t.Fatalf("%v, %v", resp, err)
	}
}

// rows returns the numbers that a query of one column finds.
func (r *replicas) rows(query string) (out []int64) {
	r.t.Helper()
	rows, err := r.db.QueryContext(r.t.Context(), query)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, n)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// alike waits until both have followed, and compares what they find.
func (r *replicas) alike(l *ledger) {
	r.t.Helper()
	r.eventually("both find the same", func() string {
		for _, mode := range []string{"lexical", "vector", "hybrid"} {
			first, err := r.find(r.both[0], "common", mode)
			second, err2 := r.find(r.both[1], "common", mode)
			if err != nil || err2 != nil || !slices.Equal(first, second) {
				return fmt.Sprintf("%s: %d and %d, %v, %v", mode, len(first), len(second), err, err2)
			}
		}
		return ""
	})
	for _, one := range r.both {
		one.compare(r.as, l)
	}
}

// What is written through one of two processes is found through both, a document
// that ends is removed once, and an import that is cut off goes on at the other.
// An embedding generation is built by one: when that is killed the other goes on,
// while it is written and read.
func TestRealReplicasOnOnePostgreSQL(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		testReplicas(t, startReplicas(t, func(int) string { return "" }))
	})
	t.Run("elasticsearch", func(t *testing.T) {
		url := testkit.Elasticsearch(t).URL
		r := startReplicas(t, func(i int) string {
			return fmt.Sprintf("{kind: elasticsearch, elasticsearch: {addresses: [%q], prefix: replica%d}}", url, i)
		})
		for i, one := range r.both {
			one.cluster = fmt.Sprintf("%s/replica%d-*", url, i)
		}
		testReplicas(t, r)
	})
}

func testReplicas(t *testing.T, r *replicas) {
	t.Helper()
	if _, err := r.both[0].client.CreateCollection(r.as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	l := &ledger{acknowledged: map[string]int{}, sent: map[string]int{}, enough: make(chan struct{}, 1)}
	r.writesAreFoundByBoth(l)
	r.documentsEndOnce()
	r.importGoesOn(l)
	r.rebuildGoesOn(l)
	for _, one := range r.both { // and after a restart
		one.process.Stop()
		if code := one.process.ExitCode(); code != 0 {
			t.Errorf("exit code %d after SIGTERM\n%s", code, one.process.Output())
		}
		one.process = one.start()
	}
	r.alike(l)
}

func (r *replicas) writesAreFoundByBoth(l *ledger) {
	r.t.Helper()
	for i := range 10 {
		id := fmt.Sprint("both", i)
		l.note(id, 1, true)
		r.put(r.both[i%2], doc(id, textOf(id, 1)))
	}
	r.put(r.both[0], doc("gone", "common vanishing"))
	r.eventually("a document", func() string {
		if ids, err := r.find(r.both[1], "vanishing", "lexical"); len(ids) != 1 {
			return fmt.Sprint(ids, err)
		}
		return ""
	})
	if _, err := r.both[1].client.DeleteDocument(r.as, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "gone"}); err != nil {
		r.t.Fatal(err)
	}
	// What is gone is shown by neither from then on, whatever their indexes have.
	for _, one := range r.both {
		if ids, err := r.find(one, "vanishing", "lexical"); err != nil || len(ids) > 0 {
			r.t.Errorf("found %v, %v", ids, err)
		}
	}
	r.alike(l)
}

// documentsEndOnce has both remove what has ended.
func (r *replicas) documentsEndOnce() {
	r.t.Helper()
	before := r.rows(`SELECT document_count FROM search_collections`)[0]
	var docs []*searchv1.Document
	for i := range 100 {
		d := doc(fmt.Sprint("short", i), "common ephemeral")
		d.Ttl = durationpb.New(500 * time.Millisecond)
		docs = append(docs, d)
	}
	r.put(r.both[0], docs...)
	r.eventually("documents that end", func() string {
		if n := r.rows(`SELECT count(*) FROM search_documents WHERE expire_time > 0`)[0]; n > 0 {
			return fmt.Sprint(n, " are there")
		}
		return ""
	})
	if twice := r.rows(`SELECT no FROM search_removals GROUP BY no HAVING count(*) > 1`); len(twice) > 0 {
		r.t.Errorf("removed more than once: %v", twice)
	}
	if after := r.rows(`SELECT document_count FROM search_collections`)[0]; after != before {
		r.t.Errorf("%d documents are counted, there were %d", after, before)
	}
}

// importGoesOn kills the process that takes in an import, and resumes it at the
// other.
func (r *replicas) importGoesOn(l *ledger) {
	r.t.Helper()
	const n = 600
	all := make([]*searchv1.Document, n)
	for i := range all {
		id := fmt.Sprint("import", i)
		all[i] = doc(id, textOf(id, 1))
	}
	settled := r.sendImport(r.both[0], all, 0, n/4)
	if settled == 0 || settled == n {
		r.t.Fatalf("%d of %d lines were settled when it was killed", settled, n)
	}
	if settled = r.sendImport(r.both[1], all, settled, n); settled != n {
		r.t.Fatalf("%d of %d lines are settled", settled, n)
	}
	for _, d := range all {
		l.note(d.GetId(), 1, false)
	}
	for _, d := range all[:40] { // all are counted; some are looked for
		l.note(d.GetId(), 1, true)
	}
	for _, one := range r.both {
		r.eventually("the import", func() string {
			ids, err := r.find(one, "common", "lexical")
			ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, "import") })
			if err != nil || len(ids) != n || len(slices.Compact(ids)) != n {
				return fmt.Sprint(len(ids), " found, ", err)
			}
			return ""
		})
	}
}

// sendImport sends the lines after the first so many, and returns how many are
// settled at its end: when enough are the process is killed, and started again.
func (r *replicas) sendImport(by *replica, all []*searchv1.Document, from, enough int) (settled int) {
	r.t.Helper()
	call, err := by.client.ImportDocuments(r.as)
	if err == nil {
		err = call.Send(&searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: int64(from + 1)})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for i, some := range slices.Collect(slices.Chunk(all[from:], 50)) {
			if enough < len(all) && i*50 >= 2*enough {
				return // the rest has not come when it is killed
			}
			if call.Send(lines(some...)) != nil {
				return
			}
		}
		_ = call.CloseSend()
	})
	defer sending.Wait()
	killed := false
	for {
		resp, err := call.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return settled
		case err != nil && killed:
			by.process = by.start()
			return settled
		case err != nil:
			r.t.Fatal(err)
		}
		settled = int(resp.GetProgress().GetSettledLines())
		if failed := resp.GetProgress().GetFailed(); failed > 0 {
			r.t.Errorf("%d lines failed", failed)
		}
		if settled >= enough && enough < len(all) && !killed {
			killed = true
			by.process.Kill()
		}
	}
}
