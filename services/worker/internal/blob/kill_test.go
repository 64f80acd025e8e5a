package blob

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// asFetcher makes this test's program one that fetches a file and ends.
const asFetcher = "fetch"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asFetcher {
		if err := fetchFile(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // this is main
		}
		os.Exit(0) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// killedSize is how large the file is that the killed process fetches.
const killedSize = 8 << 20

// fetchFile fetches into the directory that the process runs in.
func fetchFile(ctx context.Context, uri string) error {
	_, sha := content(12, killedSize)
	ref, err := fetch.Parse(uri)
	if err != nil {
		return err
	}
	cfg := fetch.DefaultConfig()
	cfg.Allow = []string{uri}
	c, err := Open(testConfig("."), Parts{Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), DiskFree: DiskFree})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Fetch(ctx, Want{SHA256: sha}, webSource{fetch.New(cfg, clock.Real()), ref})
	return err
}

type webSource struct {
	fetchers *fetch.Fetchers
	ref      fetch.Ref
}

func (s webSource) Name() string { return s.ref.String() }
func (s webSource) Kind() string { return s.ref.Scheme }

func (s webSource) Open(ctx context.Context, offset int64, validator string) (*fetch.Content, error) {
	return s.fetchers.Open(ctx, fetch.Request{Ref: s.ref, Offset: offset, Validator: validator})
}

// TestKilled kills a process that fetches, at random points, until one comes to
// the end: no file is ever in its place that is not right and whole, each start
// goes on where the last was, and at last all is there.
func TestKilled(t *testing.T) {
	data, sha := content(12, killedSize)
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(&slowly{w, &served}, r, "file", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}))
	defer server.Close()
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for start := 0; ; start++ {
		if start == 60 {
			t.Fatal("it never comes to the end")
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], asFetcher, server.URL+"/file")
		cmd.Dir = dir
		out := &bytes.Buffer{}
		cmd.Stderr = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The time that a start takes differs by machine: it grows until one is enough.
		kill := time.AfterFunc(time.Duration(rnd.IntN(200+80*start))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		whole, readErr := os.ReadFile(dir + "/" + dirBlobs + "/" + sha)
		if readErr == nil && sum(whole) != sha {
			t.Fatalf("after start %d the file is in its place, and not right", start)
		}
		if err == nil {
			if readErr != nil {
				t.Fatalf("it ended well, and the file is not there: %v", readErr)
			}
			break
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Fatalf("start %d: %v: %s", start, err, out)
		}
		kills++
	}
	if kills < 3 {
		t.Errorf("killed only %d times", kills)
	}
	// What a killed process had received but not yet written is asked for again.
	if most := int64(killedSize + (kills+1)*4<<20); served.Load() > most {
		t.Errorf("%d bytes were served after %d kills, over %d: it did not go on where it was", served.Load(), kills, most)
	}
}

// slowly passes a body on at a pace that leaves time for kills.
type slowly struct {
	http.ResponseWriter
	served *atomic.Int64
}

func (s *slowly) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		n, err := s.ResponseWriter.Write(p[sent:min(len(p), sent+256<<10)])
		sent += n
		s.served.Add(int64(n))
		if err != nil {
			return sent, err
		}
		<-time.After(3 * time.Millisecond)
	}
	return len(p), nil
}
