package batches

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// holders knows keys k-SUBJECT of the tenant acme, but for those that are gone.
type holders struct {
	mu     sync.Mutex
	reason apierr.Reason // "": they hold
}

func (h *holders) set(r apierr.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reason = r
}

func (h *holders) Holder(_ context.Context, keyID string, _ netip.Addr) (authn.Principal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason != "" {
		return authn.Principal{}, apierr.New(h.reason, "no")
	}
	return authn.Principal{Caller: identity.NewCaller("acme", strings.TrimPrefix(keyID, "k-"), nil, nil)}, nil
}

// bench is a runner, and what it works with.
type bench struct {
	stores
	t       *testing.T
	holders holders
	wake    chan struct{}
	cfg     Config
	answer  atomic.Pointer[http.HandlerFunc]
	ids     ids.Source
}

func newBench(t *testing.T, dsn string) *bench {
	t.Helper()
	b := &bench{stores: openStores(t, dsn), t: t, wake: make(chan struct{}, 1), cfg: DefaultConfig(), ids: ids.UUIDv7()}
	b.cfg.Poll, b.cfg.Lease = 50*time.Millisecond, time.Second
	b.says(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok": true}`) })
	return b
}

func (b *bench) says(f http.HandlerFunc) { b.answer.Store(&f) }

func (b *bench) runner(store Work) *Runner {
	r := NewRunner(RunnerDeps{
		Config: b.cfg, Store: store, Files: b.files, FileTTL: time.Hour, Holders: &b.holders, Wake: b.wake, Clock: clock.Real(), IDs: b.ids,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*b.answer.Load())(w, r) }), Log: slog.New(slog.DiscardHandler),
	})
	r.pause = 10 * time.Millisecond
	return r
}

// run runs a runner until the test ends, or the function that is returned is called.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = b.runner(b.SQLStore).Run(ctx) })
	stop = func() {
		cancel()
		ended.Wait()
	}
	b.t.Cleanup(stop)
	return stop
}

var ada = files.Owner{Tenant: "acme", Subject: "ada"}

// made makes a batch of n lines, and returns its id.
func (b *bench) made(n int) string {
	b.t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, lineOf(fmt.Sprintf("id-%d", i), fmt.Sprintf(`{"n":%d}`, i)))
	}
	return b.madeOf(text.String(), 24*time.Hour)
}

func (b *bench) madeOf(text string, window time.Duration) string {
	b.t.Helper()
	now := time.Now()
	file, id := files.NewID(b.ids), idPrefix+strings.ReplaceAll(b.ids.New(), "-", "")
	b.file(b.t, ada, file, text, now)
	if err := b.Create(b.t.Context(), Batch{
		ID: id, Owner: ada, KeyID: "k-ada", Address: "192.0.2.7", Endpoint: chatURL, InputFile: file, Status: Validating, CreateTime: now, ExpireTime: now.Add(window),
	}, 100); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// ends waits for the batch's end, and returns it with what its files say of each id:
// the HTTP status, or the code of an error.
func (b *bench) ends(id string) (Batch, map[string]string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		batch, err := b.Get(b.t.Context(), ada, id)
		if err != nil {
			b.t.Fatal(err)
		}
		if batch.Status.Ended() {
			return batch, b.told(batch)
		}
		if time.Now().After(end) {
			b.t.Fatalf("it does not end: %+v", batch)
		}
	}
}

func (b *bench) told(batch Batch) map[string]string {
	b.t.Helper()
	out := make(map[string]string)
	for _, id := range []string{batch.OutputFile, batch.ErrorFile} {
		if id == "" {
			continue
		}
		f, err := b.files.Get(b.t.Context(), ada, id, time.Now())
		if err != nil {
			b.t.Fatal(err)
		}
		data, err := io.ReadAll(files.Reader(b.t.Context(), b.files, f))
		if err != nil || int64(len(data)) != f.Bytes {
			b.t.Fatalf("%d bytes of %d, %v", len(data), f.Bytes, err)
		}
		for line := range bytes.SplitSeq(bytes.TrimSpace(data), []byte("\n")) {
			var said struct {
				ID       string `json:"custom_id"`
				Response *struct {
					Status int `json:"status_code"`
				}
				Error *struct{ Code string }
			}
			if err := json.Unmarshal(line, &said); err != nil {
				b.t.Fatalf("%s: %v", line, err)
			}
			if _, twice := out[said.ID]; twice {
				b.t.Errorf("%s is answered twice", said.ID)
			}
			if said.Response != nil {
				out[said.ID] = fmt.Sprint(said.Response.Status)
			} else {
				out[said.ID] = said.Error.Code
			}
			if ok := out[said.ID] == "200"; ok != (id == batch.OutputFile) {
				b.t.Errorf("%s is in the wrong file", line)
			}
		}
	}
	return out
}

func number(r *http.Request) int {
	var body struct{ N int }
	_ = json.NewDecoder(r.Body).Decode(&body)
	return body.N
}

// testRunner is how batches come to their ends.
func testRunner(t *testing.T, dsn string) {
	t.Helper()
	b := newBench(t, dsn)
	b.run()
	count := func(told map[string]string) map[string]int {
		out := make(map[string]int)
		for _, what := range told {
			out[what]++
		}
		return out
	}

	var tries [8]atomic.Int32
	b.says(func(w http.ResponseWriter, r *http.Request) {
		e, ok := authn.ErrandFrom(r.Context())
		n := number(r)
		if !ok || e.Principal.Caller.Subject != "ada" || e.Line != int64(n+1) || r.Header.Get("X-Poterne-Priority") != "batch" ||
			r.Header.Get("X-Request-Id") != fmt.Sprintf("%s-%d", e.Batch, e.Line) || r.URL.Path != chatURL || r.RemoteAddr != "192.0.2.7:0" {
			t.Errorf("%+v of %s %v", e, r.URL, r.Header)
		}
		try := tries[n].Add(1)
		switch {
		case n == 1:
			http.Error(w, `{"error":{}}`, http.StatusBadRequest)
		case n == 2 && try == 1:
			http.Error(w, `{"error":{}}`, http.StatusTooManyRequests)
		case n == 3 && try == 1:
			panic(http.ErrAbortHandler)
		default:
			_, _ = fmt.Fprintf(w, `{"n": %d}`, n)
		}
	})
	batch, told := b.ends(b.made(8))
	if batch.Status != Completed || batch.Total != 8 || batch.Completed != 7 || batch.Failed != 1 || told["id-1"] != "400" || len(told) != 8 ||
		tries[1].Load() != 1 || tries[2].Load() != 2 || tries[3].Load() != 2 {
		t.Errorf("%+v %v", batch, told)
	}

	if batch, told := b.ends(b.madeOf("x\n", time.Hour)); batch.Status != Failed || len(batch.Problems) != 1 || batch.Problems[0].Line != 1 || len(told) != 0 {
		t.Errorf("a wrong file: %+v %v", batch, told)
	}

	// What stops a batch: lines in hand are answered, the others say why they are not.
	for name, c := range map[string]struct {
		window time.Duration
		stop   func(id string)
		want   Status
		code   string
		wrong  string
	}{
		"cancelled":     {24 * time.Hour, func(id string) { _, _ = b.Cancel(t.Context(), ada, id, time.Now()) }, Cancelled, "batch_cancelled", ""},
		"expired":       {500 * time.Millisecond, func(string) {}, Expired, "batch_expired", ""},
		"a revoked key": {24 * time.Hour, func(string) { b.holders.set(apierr.Unauthenticated) }, Failed, "batch_failed", "invalid_api_key"},
		"a lost role":   {24 * time.Hour, func(string) { b.holders.set(apierr.PermissionDenied) }, Failed, "batch_failed", "permission_denied"},
	} {
		first, gate := make(chan struct{}, 100), make(chan struct{})
		b.says(func(w http.ResponseWriter, r *http.Request) {
			if number(r) > 0 {
				http.Error(w, `{}`, http.StatusServiceUnavailable) // there is no room, however long it waits
				return
			}
			first <- struct{}{}
			<-gate
			_, _ = io.WriteString(w, `{}`)
		})
		var text strings.Builder
		for i := range 30 {
			fmt.Fprintln(&text, lineOf(fmt.Sprintf("id-%d", i), fmt.Sprintf(`{"n":%d}`, i)))
		}
		id := b.madeOf(text.String(), c.window)
		<-first
		c.stop(id)
		b.wake <- struct{}{}
		if c.want == Expired {
			<-time.After(c.window)
		}
		close(gate)
		batch, told := b.ends(id)
		b.holders.set("")
		if batch.Status != c.want || told["id-0"] != "200" || len(told) != 30 || count(told)[c.code] != 29 || batch.Total != 30 || batch.Completed != 1 ||
			c.wrong != "" && (len(batch.Problems) != 1 || batch.Problems[0].Code != c.wrong) {
			t.Errorf("%s: %+v %v", name, batch, count(told))
		}
	}
}

// mortal is a store that a runner uses which is killed: nothing of it comes through
// afterwards, and some of what it writes at that moment does without its being told.
type mortal struct {
	Work
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) Keep(ctx context.Context, l Lease, results []Result) (Status, error) {
	if m.dead.Load() {
		return "", errDead
	}
	status, err := m.Work.Keep(ctx, l, results)
	if m.dead.Load() {
		return "", errDead
	}
	return status, err
}

func (m *mortal) Renew(ctx context.Context, l Lease, until time.Time) (Status, error) {
	if m.dead.Load() {
		return "", errDead
	}
	return m.Work.Renew(ctx, l, until)
}

func (m *mortal) Release(ctx context.Context, l Lease) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Work.Release(ctx, l)
}

func (m *mortal) End(ctx context.Context, l Lease, e Ending) error {
	if m.dead.Load() {
		return errDead
	}
	err := m.Work.End(ctx, l, e)
	if m.dead.Load() {
		return errDead
	}
	return err
}

// testKilledRunners kills runners at random moments, two at a time: every line is
// answered once in the end.
func testKilledRunners(t *testing.T, dsn string) {
	t.Helper()
	b := newBench(t, dsn)
	b.says(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(rand.N(2 * time.Millisecond))
		if number(r)%10 == 9 {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, `{}`)
	})
	var batches []string
	for range 2 {
		batches = append(batches, b.made(100))
	}
	over := make(chan struct{})
	var edges sync.WaitGroup
	for range 2 {
		edges.Go(func() {
			for life := 0; ; life++ {
				ctx, cancel := context.WithCancel(t.Context())
				m := &mortal{Work: b.SQLStore}
				var ended sync.WaitGroup
				ended.Go(func() { _ = b.runner(m).Run(ctx) })
				after := 10*time.Millisecond + rand.N(200*time.Millisecond)
				if life > 2 {
					after = time.Minute // it lives
				}
				select {
				case <-over:
				case <-time.After(after):
				}
				m.dead.Store(life <= 2)
				cancel()
				ended.Wait()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for _, id := range batches {
		batch, told := b.ends(id)
		if batch.Status != Completed || len(told) != 100 || batch.Completed != 90 || batch.Failed != 10 {
			t.Errorf("%+v: %d told", batch, len(told))
		}
	}
	close(over)
	edges.Wait()
}
