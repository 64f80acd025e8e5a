//go:build real

package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// killedEdge is the edge's own program, that is killed again and again.
type killedEdge struct {
	dir, http string
	client    *http.Client
	output    *bytes.Buffer
}

func (k *killedEdge) start(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-edge"))
	cmd.Env = append(os.Environ(), "POTERNE_DATA_DIR="+k.dir, "POTERNE_HTTP_ADDR="+k.http, "POTERNE_GRPC_ADDR=127.0.0.1:0",
		"POTERNE_TELEMETRY_OPS_ADDR=", "POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0",
		"POTERNE_AUDIT_CHECKPOINTS_INTERVAL=200ms", "POTERNE_AUDIT_CHECKPOINTS_DIRECTORY="+k.dir)
	k.output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = k.output, k.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		if conn, err := net.DialTimeout("tcp", k.http, time.Second); err == nil {
			_ = conn.Close()
			return cmd
		}
		if time.Now().After(end) {
			_ = cmd.Process.Signal(syscall.SIGKILL)
			_ = cmd.Wait()
			t.Fatalf("the edge does not listen: %s", k.output)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// ask makes one request and returns its id once the whole answer has come.
func (k *killedEdge) ask(ctx context.Context, key, method, path, body string) (id string, status int, answer []byte) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+k.http+path, strings.NewReader(body))
	if err != nil {
		return "", 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return "", 0, nil
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, nil
	}
	return resp.Header.Get("x-request-id"), resp.StatusCode, answer
}

// A hundred times the edge is killed under load: whoever had an answer finds its
// record, and the trail verifies.
func TestRealKilledEdgeLosesNoRecord(t *testing.T) {
	const kills = 100
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &killedEdge{dir: t.TempDir(), http: port.Addr().String(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	_ = port.Close()
	var mu sync.Mutex
	acknowledged := make(map[string]string)
	var key string
	for round := range kills {
		cmd := k.start(t)
		if key == "" {
			raw, err := os.ReadFile(filepath.Join(k.dir, "admin.key"))
			if err != nil {
				t.Fatal(err)
			}
			key = strings.TrimSpace(string(raw))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					method, path, body, with := http.MethodGet, "/v1/admin/api-keys", "", key
					switch n % 4 {
					case 1:
						method, path, body = http.MethodPost, "/v1/admin/api-keys", fmt.Sprintf(`{"name":"k%d-%d-%d"}`, round, g, n)
					case 2:
						with = "pk_wrong" // refused at the door
					case 3:
						method, path, body = http.MethodPost, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}]}`
					}
					if id, status, _ := k.ask(ctx, with, method, path, body); id != "" {
						mu.Lock()
						acknowledged[id] = fmt.Sprint(method, " ", path, " ", status)
						mu.Unlock()
					}
				}
			})
		}
		<-time.After(50*time.Millisecond + rand.N(200*time.Millisecond))
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
	_, status, export := k.ask(t.Context(), key, http.MethodGet, "/v1/admin/audit:export?proof=true", "")
	if status != http.StatusOK {
		t.Fatalf("export: %d %s\n%s", status, export, k.output)
	}
	v := auditproof.NewVerifier(auditproof.Options{Registered: true})
	found, records := make(map[string]int), 0
	if _, err := auditproof.ReadLines(bytes.NewReader(export), func(_ int, l auditproof.Line) error {
		switch {
		case l.Registration != nil:
			v.Registration(*l.Registration)
		case l.Checkpoint != "":
			v.Checkpoint(l.Checkpoint)
		case l.Record != nil:
			records++
			found[l.RequestID]++
			v.Record(*l.Record)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if r := v.Finish(); r.Found != 0 || len(r.Chains) != kills+1 {
		t.Errorf("the export does not verify: %d chains, %v", len(r.Chains), r.Findings[:min(5, len(r.Findings))])
	}
	missing := 0
	for id, what := range acknowledged {
		if found[id] != 1 {
			missing++
			t.Errorf("%s (%s) has %d records", id, what, found[id])
		}
	}
	var answer struct {
		Intact   bool
		Findings []any
	}
	_, _, raw := k.ask(t.Context(), key, http.MethodPost, "/v1/admin/audit:verify", "{}")
	if err := json.Unmarshal(raw, &answer); err != nil || !answer.Intact {
		t.Errorf("audit:verify: %s", raw)
	}
	t.Logf("%d acknowledged, %d records, %d missing", len(acknowledged), records, missing)
	if len(acknowledged) < 2*kills {
		t.Errorf("only %d requests were answered", len(acknowledged))
	}
}
