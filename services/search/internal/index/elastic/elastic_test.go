package elastic_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
)

// node is a fake of Elasticsearch that takes everything and finds nothing,
// unless it is told otherwise.
type node struct {
	t   *testing.T
	url string

	mu sync.Mutex
	// trouble answers a call in the node's place when it returns true; n counts
	// the calls to that path's last part from 1.
	trouble func(w http.ResponseWriter, r *http.Request, last string, n int) bool
	calls   map[string]int
	// item is what becomes of an item of a bulk, as status and type of error.
	item func(id string, n int) (int, string)
	sent map[string]int
	auth map[string]bool
	meta []byte // as it was written last
}

// set changes the fake while it is in use.
func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) count(last string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[last]
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, calls: make(map[string]int), sent: make(map[string]int), auth: make(map[string]bool)}
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	n.calls[last]++
	n.auth[r.Header.Get("Authorization")] = true
	if n.trouble != nil && n.trouble(w, r, last, n.calls[last]) {
		return
	}
	var answer any = map[string]any{}
	switch last {
	case "_bulk":
		answer = n.bulk(r.Body)
	case "meta":
		if r.Method == http.MethodPut {
			n.meta, _ = io.ReadAll(r.Body)
		}
		answer = map[string]any{"_seq_no": 1, "_primary_term": 1, "_source": json.RawMessage(n.meta)}
	case "_msearch":
		hits := map[string]any{"hits": map[string]any{"hits": []any{}}}
		answer = map[string]any{"responses": []any{hits, hits}}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		n.t.Error(err)
	}
}

func (n *node) open(change func(*elastic.Options)) index.Collection {
	n.t.Helper()
	o := elastic.Options{
		Addresses: []string{n.url}, Prefix: "p", Timeout: 10 * time.Second, Pause: time.Millisecond,
		IDs: ids.Sequence("x"), Clock: clock.Real(),
	}
	if change != nil {
		change(&o)
	}
	x, err := elastic.New(o)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := x.Close(); err != nil {
			n.t.Error(err)
		}
	})
	c, err := x.Open(n.t.Context(), "books")
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func documents(numbers ...int64) []index.Document {
	out := make([]index.Document, len(numbers))
	for i, no := range numbers {
		out[i] = index.Document{
			No: no, ID: fmt.Sprint("d", no), Principals: []string{"all"},
			Chunks: []index.Chunk{{Text: "secret plan", Terms: 2, Vector: []float32{1, 2}}},
		}
	}
	return out
}

func replace(t *testing.T, c index.Collection, docs ...index.Document) {
	t.Helper()
	err := c.Replace(t.Context(), 1, func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func question() index.Query {
	return index.Query{Terms: analysis.Query("plan"), Vector: []float32{1, 1}, Principals: []string{"all"}, Limit: 5}
}

func TestOnlyItemsThatWereRefusedAreSentAgain(t *testing.T) {
	n := newNode(t)
	n.item = func(id string, times int) (int, string) {
		switch {
		case id == "2.0" && times < 3:
			return http.StatusTooManyRequests, "es_rejected_execution_exception"
		case id == "3.0" && times < 2:
			return http.StatusServiceUnavailable, "unavailable_shards_exception"
		case id == "4.0":
			return http.StatusConflict, "version_conflict_engine_exception" // there already
		default:
			return http.StatusCreated, ""
		}
	}
	c := n.open(nil)
	replace(t, c, documents(1, 2, 3, 4)...)
	if want := map[string]int{"1.0": 1, "2.0": 3, "3.0": 2, "4.0": 1}; !maps.Equal(n.sent, want) {
		t.Errorf("sent %v, want %v", n.sent, want)
	}
	if c.Sequence() != 1 {
		t.Errorf("generation %d", c.Sequence())
	}
}

func TestAnItemThatCannotBeKeptBreaksTheCollection(t *testing.T) {
	for name, item := range map[string]func(string, int) (int, string){
		"wrong":          func(string, int) (int, string) { return http.StatusBadRequest, "document_parsing_exception" },
		"refused always": func(string, int) (int, string) { return http.StatusTooManyRequests, "es_rejected_execution_exception" },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			c := n.open(nil)
			replace(t, c)
			n.item = item
			err := c.Apply(t.Context(), index.Changes{Through: 2, Put: documents(2)})
			if err == nil || c.Sequence() != 1 { // searches go on
				t.Fatalf("got %v, generation %d", err, c.Sequence())
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows what a document says: %v", err)
			}
			if n.sent["2.0"] > 5 {
				t.Errorf("sent %d times", n.sent["2.0"])
			}
		})
	}
}

func TestCallsAreRepeatedWhileTheNodeIsBusy(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		n.calls["_msearch"] = 0
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, times int) bool {
			if last != "_msearch" || times > 2 {
				return false
			}
			w.WriteHeader(status)
			return true
		}
		if _, err := c.Search(t.Context(), question()); err != nil || n.calls["_msearch"] != 3 {
			t.Errorf("%d: got %v after %d calls", status, err, n.calls["_msearch"])
		}
		n.calls["_msearch"] = 0
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
			if last == "_msearch" {
				w.WriteHeader(status)
			}
			return last == "_msearch"
		}
		if _, err := c.Search(t.Context(), question()); err == nil || n.calls["_msearch"] != 3 {
			t.Errorf("%d for ever: got %v after %d calls", status, err, n.calls["_msearch"])
		}
	}
	if c.Sequence() != 1 {
		t.Error("a search that failed has broken the collection")
	}
}

func TestANodeThatDoesNotAnswerIsGivenUp(t *testing.T) {
	n := newNode(t)
	c := n.open(func(o *elastic.Options) { o.Timeout = 200 * time.Millisecond })
	replace(t, c, documents(1)...)
	n.trouble = func(_ http.ResponseWriter, r *http.Request, last string, _ int) bool {
		if last == "_msearch" {
			_, _ = io.Copy(io.Discard, r.Body) // so that the end of the call is noticed
			<-r.Context().Done()
		}
		return last == "_msearch"
	}
	// The cluster's fault is not told as the caller's deadline.
	if _, err := c.Search(t.Context(), question()); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Search(ctx, question()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline of its own: got %v", err)
	}
}

func TestHalfAnAnswerIsNone(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	whole := `{"hits":{"hits":[]}}`
	for name, answer := range map[string]string{
		"a leg failed":  `{"responses":[` + whole + `,{"status":503,"error":{"type":"search_phase_execution_exception"}}]}`,
		"a leg missing": `{"responses":[` + whole + `]}`,
		"foreign hit":   `{"responses":[` + whole + `,{"hits":{"hits":[{"_id":"meta","sort":[1,"x"]}]}}]}`,
		"no JSON":       `<html>`,
	} {
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
			if last == "_msearch" {
				_, _ = io.WriteString(w, answer)
			}
			return last == "_msearch"
		}
		if legs, err := c.Search(t.Context(), question()); err == nil {
			t.Errorf("%s: got %+v", name, legs)
		}
	}
}

func TestAnotherWriterIsNoticed(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	n.trouble = func(w http.ResponseWriter, r *http.Request, last string, _ int) bool {
		if last != "meta" {
			return false
		}
		if r.URL.Query().Get("if_seq_no") != "1" || r.URL.Query().Get("if_primary_term") != "1" {
			t.Errorf("the state is written whatever it is: %v", r.URL)
		}
		w.WriteHeader(http.StatusConflict)
		return true
	}
	if err := c.Apply(t.Context(), index.Changes{Through: 2}); err == nil || c.Sequence() != 1 {
		t.Errorf("got %v, generation %d", err, c.Sequence())
	}
	n.trouble = nil
	if err := c.Apply(t.Context(), index.Changes{Through: 2}); !errors.Is(err, index.ErrReplace) {
		t.Errorf("what somebody else writes is built upon: %v", err)
	}
}

func TestFiltersThatAreTooDeepAreTheCallersFault(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	q := question()
	one := &filter.Compare{Path: "a", Op: filter.Equal, Value: filter.NumberValue(1)}
	q.Filter = one
	for range 100 {
		q.Filter = &filter.And{Nodes: []filter.Node{q.Filter, one}}
	}
	if _, err := c.Search(t.Context(), q); err != nil { // one list, whatever it was made of
		t.Error(err)
	}
	for range 30 {
		q.Filter = &filter.Not{Node: q.Filter}
	}
	if _, err := c.Search(t.Context(), q); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsAreSentAndNotShown(t *testing.T) {
	n := newNode(t)
	c := n.open(func(o *elastic.Options) { o.APIKey = "hunter2" })
	replace(t, c, documents(1)...)
	if got := slices.Collect(maps.Keys(n.auth)); !slices.Equal(got, []string{"APIKey hunter2"}) {
		t.Errorf("authorization %q", got)
	}
	_, err := elastic.New(elastic.Options{Addresses: []string{"http://me:hunter2@[::1"}, Prefix: "p"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestTheClustersCertificateIsChecked(t *testing.T) {
	n := newNode(t)
	s := httptest.NewTLSServer(n)
	defer s.Close()
	n.url = s.URL
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	replace(t, n.open(func(o *elastic.Options) { o.CACert = ca }), documents(1)...)
	x, err := elastic.New(elastic.Options{
		Addresses: []string{n.url}, Prefix: "p", Timeout: time.Second, Pause: time.Millisecond, Clock: clock.Real(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Names(t.Context()); err == nil {
		t.Error("an authority that nobody named is trusted")
	}
	if _, err := elastic.New(elastic.Options{Addresses: []string{n.url}, Prefix: "p", CACert: []byte("x")}); err == nil {
		t.Error("what is no certificate is taken for one")
	}
}

func TestNamesThatAreNotSafeAreRefused(t *testing.T) {
	for _, prefix := range []string{"", "A", "a-b", "*", "_all", "a.b", strings.Repeat("a", 41)} {
		if _, err := elastic.New(elastic.Options{Prefix: prefix}); err == nil {
			t.Errorf("%q is a prefix", prefix)
		}
	}
	n := newNode(t)
	x, err := elastic.New(elastic.Options{Addresses: []string{n.url}, Prefix: "p", Timeout: time.Second, Clock: clock.Real()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a*", "a,b", "A", "a/b", strings.Repeat("a", 65)} {
		if _, err := x.Open(t.Context(), name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}
