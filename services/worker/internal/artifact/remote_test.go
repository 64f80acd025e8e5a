package artifact

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// remoteRig is a store that may fetch from one web server and its /hub.
type remoteRig struct {
	*testing.T
	store *Store
	cache *blob.Cache
	base  string
	gate  chan struct{} // answers to /slow wait for it
}

func newRemoteRig(t *testing.T, files map[string]string) *remoteRig {
	t.Helper()
	r := &remoteRig{T: t, gate: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, ok := files[req.URL.Path]
		if !ok {
			http.NotFound(w, req)
			return
		}
		if strings.HasPrefix(req.URL.Path, "/slow") {
			w.Header().Set("Content-Length", "8")
			_, _ = w.Write([]byte(text[:4]))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.gate:
			case <-req.Context().Done():
			}
			_, _ = w.Write([]byte(text[4:]))
			return
		}
		http.ServeContent(w, req, "f", time.Time{}, bytes.NewReader([]byte(text)))
	}))
	t.Cleanup(server.Close)
	r.base = server.URL
	cacheConfig := blob.DefaultConfig()
	cacheConfig.Dir, cacheConfig.MinFree = t.TempDir(), 0
	cacheConfig.BackoffMin, cacheConfig.BackoffMax = time.Millisecond, time.Millisecond
	var err error
	r.cache, err = blob.Open(cacheConfig, blob.Parts{Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), DiskFree: blob.DiskFree})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cache.Close() })
	cfg := fetch.DefaultConfig()
	cfg.Allow = []string{server.URL, "hf://org"}
	cfg.HuggingFace.Endpoint = server.URL + "/hub"
	store, err := NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.store = store.WithRemote(Remote{Fetchers: fetch.New(cfg, clock.Real()), Cache: r.cache})
	return r
}

func at(uri, text string) *commonv1.Artifact {
	return &commonv1.Artifact{Uri: uri, Sha256: sum(text), SizeBytes: int64(len(text))}
}

// A model of several files, some here and some elsewhere: those from elsewhere
// lie together, under their names.
func TestSet(t *testing.T) {
	r := newRemoteRig(t, map[string]string{
		"/w.gguf": "weights", "/hub/org/m/resolve/main/config.json": "{}", "/hub/org/m/resolve/main/1_Pooling/config.json": "{ }",
	})
	local := filepath.Join(t.TempDir(), "here")
	write(t, local, "local")
	artifacts := []*commonv1.Artifact{
		at(r.base+"/w.gguf?sig=x", "weights"), at("hf://org/m/config.json", "{}"), at("hf://org/m/1_Pooling/config.json", "{ }"),
		at("file://"+local, "local"),
		{Uri: r.base + "/w.gguf", Sha256: sum("weights"), Name: "again/w"},
	}
	set, err := r.store.Hold("model", artifacts)
	if err != nil {
		t.Fatal(err)
	}
	if set.Present() || set.SizeBytes() != 7+2+3+5 {
		t.Errorf("before: present %v, %d bytes", set.Present(), set.SizeBytes())
	}
	if err := set.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	root := r.cache.View("model")
	want := []string{root + "/w.gguf", root + "/config.json", root + "/1_Pooling/config.json", local, root + "/again/w"}
	for i, path := range set.Paths() {
		if data, err := os.ReadFile(path); err != nil || path != want[i] || sum(string(data)) != artifacts[i].GetSha256() {
			t.Errorf("%s, want %s: %q, %v", path, want[i], data, err)
		}
	}
	if _, fetching := set.Progress(); fetching || !set.Present() {
		t.Error("afterwards files are being fetched, or not there")
	}
	// A hint to those who choose a worker: each content once, the local one too.
	known := r.store.Known(10)
	for _, text := range []string{"weights", "{}", "{ }", "local"} {
		prefix, err := strconv.ParseUint(sum(text)[:16], 16, 64)
		if err != nil || !slices.Contains(known, prefix) {
			t.Errorf("%q is not among %x, %v", text, known, err)
		}
	}
	if len(known) != 4 || len(r.store.Known(2)) != 2 {
		t.Errorf("known: %x", known)
	}
	set.Release()
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("the directory stays: %v", err)
	}
	again, err := r.store.Hold("other", artifacts[:2])
	if err != nil || !again.Present() {
		t.Fatalf("files that are in the cache are not: %v", err)
	}
	defer again.Release()
	if data, err := os.ReadFile(again.Paths()[0]); err != nil || string(data) != "weights" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestHoldRefuses(t *testing.T) {
	r := newRemoteRig(t, nil)
	uri := r.base + "/f"
	tests := map[string]struct {
		artifacts []*commonv1.Artifact
		reason    apierr.Reason
		text      string
	}{
		"elsewhere":           {[]*commonv1.Artifact{at("https://elsewhere.test/f?sig=s3cret", "x")}, apierr.FailedPrecondition, "names nothing that holds https://elsewhere.test/f"},
		"a password":          {[]*commonv1.Artifact{at("https://bob:s3cret@elsewhere.test/f", "x")}, apierr.InvalidArgument, "credentials"},
		"a scheme":            {[]*commonv1.Artifact{at("gopher://elsewhere.test/f", "x")}, apierr.InvalidArgument, "schemes"},
		"a file that is away": {[]*commonv1.Artifact{at("file:///no/such", "x")}, apierr.FailedPrecondition, "not on this worker"},
		"a name that leaves":  {[]*commonv1.Artifact{{Uri: uri, Sha256: sum("x"), Name: "../x"}}, apierr.InvalidArgument, "relative path"},
		"an absolute name":    {[]*commonv1.Artifact{{Uri: uri, Sha256: sum("x"), Name: "/etc/x"}}, apierr.InvalidArgument, "relative path"},
		"one name for two":    {[]*commonv1.Artifact{at(uri, "x"), at(r.base+"/d/f", "y")}, apierr.InvalidArgument, "two artifacts are named f"},
	}
	for name, tt := range tests {
		_, err := r.store.Hold("m", tt.artifacts)
		if apierr.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain, err := NewStore(nil, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = plain.Hold("m", []*commonv1.Artifact{at("https://bob:s3cret@host.test/f?sig=s3cret", "x")})
	if apierr.ReasonOf(err) != apierr.InvalidArgument || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("without anything remote: %v", err)
	}
}

func TestProgress(t *testing.T) {
	r := newRemoteRig(t, map[string]string{"/slow": "eight by", "/quick": "done"})
	set, err := r.store.Hold("m", []*commonv1.Artifact{at(r.base+"/quick", "done"), at(r.base+"/slow", "eight by")})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	done := make(chan error, 1)
	go func() { done <- set.Ensure(t.Context()) }()
	want := Progress{Done: 8, Total: 12, Source: r.base + "/slow", Files: 2, FilesDone: 1}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		got, fetching := set.Progress()
		if fetching && got == want {
			break
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	close(r.gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestEnsureEndsWithItsContext(t *testing.T) {
	r := newRemoteRig(t, map[string]string{"/slow": "eight by"})
	set, err := r.store.Hold("m", []*commonv1.Artifact{at(r.base+"/slow", "eight by"), at(r.base+"/none", "x")})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	// One file that cannot be had ends the others' transfers too.
	if err := set.Ensure(t.Context()); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "/none") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := set.Ensure(ctx); err == nil {
		t.Error("it came although nobody waits")
	}
}
