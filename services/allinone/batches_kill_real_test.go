//go:build real

package allinone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// killed is the program as it is shipped, on the simulated engine.
type killed struct {
	t          *testing.T
	dir        string
	http, grpc string
	ops        string
}

func (k *killed) start() *testkit.Process {
	k.t.Helper()
	return testkit.Start(k.t, testkit.Command{
		Name: "poterne", Path: filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne"),
		Args:  []string{"up", "--data-dir", k.dir, "--http-addr", k.http, "--grpc-addr", k.grpc, "--ops-addr", k.ops, "--engine", "sim"},
		Ready: testkit.ReadyTCP(k.http),
	})
}

// ask asks until there is an answer: the program may be dead just now.
func (k *killed) ask(method, path, contentType string, body []byte) []byte {
	k.t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; <-time.After(50 * time.Millisecond) {
		key, err := os.ReadFile(filepath.Join(k.dir, "admin.key"))
		if err == nil {
			var req *http.Request
			if req, err = http.NewRequestWithContext(k.t.Context(), method, "http://"+k.http+path, bytes.NewReader(body)); err != nil {
				k.t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
			req.Header.Set("Content-Type", contentType)
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				raw, rerr := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if rerr == nil && resp.StatusCode == http.StatusOK {
					return raw
				}
				err = fmt.Errorf("%d %s, %w", resp.StatusCode, raw, rerr)
			}
		}
		if time.Now().After(end) {
			k.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// The program is killed again and again while it works on a batch: each line is
// answered once, and billed once.
func TestRealKilledInABatch(t *testing.T) {
	const lines, kills = 600, 6 // the key may have 600 a minute: some of them wait
	ports := testkit.FreePorts(t, 3)
	k := &killed{t: t, dir: t.TempDir(), http: testkit.Loopback(ports[0]), grpc: testkit.Loopback(ports[1]), ops: testkit.Loopback(ports[2])}
	p := k.start()
	// Until it is ready lines would wait.
	k.ask("POST", "/v1/chat/completions", "application/json", []byte(`{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`))
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("purpose", "batch")
	part, err := w.CreateFormFile("file", "in.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		fmt.Fprintf(part, `{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":{"model":"sim-chat","max_tokens":4,"messages":[{"role":"user","content":"number %d"}]}}`+"\n", i, i)
	}
	_ = w.Close()
	var made struct{ ID string }
	read := func(raw []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
	}
	read(k.ask("POST", "/v1/files", w.FormDataContentType(), form.Bytes()), &made)
	read(k.ask("POST", "/v1/batches", "application/json", []byte(`{"input_file_id":"`+made.ID+`","endpoint":"/v1/chat/completions","completion_window":"24h"}`)), &made)
	for range kills {
		<-time.After(rand.N(1500 * time.Millisecond))
		p.Kill()
		p = k.start()
	}
	var b struct {
		Status string
		Output string                                   `json:"output_file_id"`
		Errors string                                   `json:"error_file_id"`
		Counts struct{ Total, Completed, Failed int64 } `json:"request_counts"`
	}
	for end := time.Now().Add(5 * time.Minute); b.Status != "completed"; <-time.After(200 * time.Millisecond) {
		read(k.ask("GET", "/v1/batches/"+made.ID, "", nil), &b)
		if time.Now().After(end) || b.Status == "failed" {
			t.Fatalf("%+v", b)
		}
	}
	seen := make(map[string]int)
	for line := range bytes.Lines(k.ask("GET", "/v1/files/"+b.Output+"/content", "", nil)) {
		var said struct {
			ID string `json:"custom_id"`
		}
		read(line, &said)
		seen[said.ID]++
	}
	for i := range lines {
		if n := seen[fmt.Sprintf("c%d", i)]; n != 1 {
			t.Errorf("line %d is answered %d times", i, n)
		}
	}
	if b.Counts.Total != lines || b.Counts.Completed != lines || b.Errors != "" || len(seen) != lines {
		t.Errorf("%+v, %d seen", b, len(seen))
	}
	var usage struct {
		Total struct{ Requests int64 } `json:"total"`
	}
	for end := time.Now().Add(20 * time.Second); ; <-time.After(200 * time.Millisecond) {
		read(k.ask("GET", "/v1/usage", "", nil), &usage)
		if n := usage.Total.Requests; n == lines+1 { // and the one before
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d requests are billed", usage.Total.Requests)
		}
	}
	var check struct {
		AddsUp bool `json:"adds_up"`
	}
	if read(k.ask("POST", "/v1/admin/usage:check", "application/json", []byte("{}")), &check); !check.AddsUp {
		t.Error("the ledger does not add up")
	}
}
