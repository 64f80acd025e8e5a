//go:build real

package edge_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The edge is killed again and again while a tenant's content is kept: whoever had an
// answer finds its record, and of every record that says so the content.
func TestRealKilledEdgeLosesNoContent(t *testing.T) {
	const kills = 15
	t.Setenv("POTERNE_AUDIT_CONTENT_KEY", masterKey("m1", "a").Reveal())
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &killedEdge{dir: t.TempDir(), http: port.Addr().String(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	_ = port.Close()
	var mu sync.Mutex
	var acknowledged []string
	var key string
	for range kills {
		cmd := k.start(t)
		if key == "" {
			raw, err := os.ReadFile(filepath.Join(k.dir, "admin.key"))
			if err != nil {
				t.Fatal(err)
			}
			key = strings.TrimSpace(string(raw))
			if _, status, answer := k.ask(t.Context(), key, http.MethodPut, settingsPath, `{"enabled":true}`); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil { // no engine is there; what it was to be asked is kept all the same
					id, _, _ := k.ask(ctx, key, http.MethodPost, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"`+spoken+`"}]}`)
					if id != "" {
						mu.Lock()
						acknowledged = append(acknowledged, id)
						mu.Unlock()
					}
				}
			})
		}
		<-time.After(100*time.Millisecond + rand.N(150*time.Millisecond))
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		cancel()
		wg.Wait()
	}
	cmd := k.start(t)
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	var report struct {
		Intact   bool
		Findings []map[string]any
	}
	_, _, answer := k.ask(t.Context(), key, http.MethodPost, "/v1/admin/audit:verify", "{}") // contents included
	if err := json.Unmarshal(answer, &report); err != nil || !report.Intact {
		t.Errorf("%v: %s", err, answer)
	}
	kept := 0
	for i, id := range acknowledged {
		if i%max(len(acknowledged)/100, 1) != 0 {
			continue
		}
		var found struct{ Records []struct{ ID, Content string } }
		_, _, answer := k.ask(t.Context(), key, http.MethodGet, "/v1/admin/audit?request_id="+url.QueryEscape(id), "")
		if err := json.Unmarshal(answer, &found); err != nil || len(found.Records) != 1 {
			t.Fatalf("request %s has no record: %s", id, answer)
		}
		if found.Records[0].Content != "kept" {
			continue
		}
		kept++
		_, status, answer := k.ask(t.Context(), key, http.MethodGet, contentPath+"/"+found.Records[0].ID, "")
		if status != http.StatusOK || !strings.Contains(string(answer), spoken) {
			t.Fatalf("record %s: %d %s", found.Records[0].ID, status, answer)
		}
	}
	t.Logf("%d acknowledged, %d of those looked at with content", len(acknowledged), kept)
	if kept < 20 {
		t.Errorf("only %d contents", kept)
	}
}
