//go:build real

package edge_test

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

// Two edges share a batch's store; whichever works on it is killed, again and again,
// and the other goes on: each line is answered once. What is asked needs no model.
func TestRealEdgesShareBatches(t *testing.T) {
	const lines, kills = 4000, 6
	dsn := testkit.Postgres(t).DSN
	start := func() program {
		return startProgram(t, "POTERNE_STORE_DSN="+dsn, "POTERNE_LIMITS_REQUESTS_PER_MINUTE=1000000", "POTERNE_LIMITS_ADDRESS_REQUESTS_PER_MINUTE=0",
			"POTERNE_BATCHES_LEASE=1s", "POTERNE_BATCHES_POLL=100ms", "POTERNE_API_KEYS_PEPPER="+strings.Repeat("ab", 32))
	}
	edges := []program{start()}
	key := edges[0].key(t)
	edges = append(edges, start())
	ask := func(p program, method, path, contentType string, body []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.http+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", contentType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%d %s", resp.StatusCode, raw)
		}
		return raw, err
	}
	must := func(method, path, contentType string, body []byte, into any) []byte {
		t.Helper()
		raw, err := ask(edges[1], method, path, contentType, body)
		if err == nil && into != nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return raw
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("purpose", "batch")
	part, err := w.CreateFormFile("file", "in.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		fmt.Fprintf(part, `{"custom_id":"c%d","method":"POST","url":"/v1/moderations","body":{"input":"number %d"}}`+"\n", i, i)
	}
	_ = w.Close()
	var made struct{ ID string }
	must("POST", "/v1/files", w.FormDataContentType(), form.Bytes(), &made)
	must("POST", "/v1/batches", "application/json", []byte(`{"input_file_id":"`+made.ID+`","endpoint":"/v1/moderations","completion_window":"24h"}`), &made)
	for n := range kills {
		<-time.After(rand.N(700 * time.Millisecond))
		edges[n%2].Kill()
		edges[n%2] = start()
	}
	var b struct {
		Status string
		Output string                           `json:"output_file_id"`
		Counts struct{ Total, Completed int64 } `json:"request_counts"`
	}
	for end := time.Now().Add(3 * time.Minute); b.Status != "completed"; <-time.After(100 * time.Millisecond) {
		must("GET", "/v1/batches/"+made.ID, "", nil, &b)
		if time.Now().After(end) || b.Status == "failed" {
			t.Fatalf("%+v", b)
		}
	}
	seen := make(map[string]int)
	for line := range bytes.Lines(must("GET", "/v1/files/"+b.Output+"/content", "", nil, nil)) {
		var said struct {
			ID string `json:"custom_id"`
		}
		if err := json.Unmarshal(line, &said); err != nil {
			t.Fatal(err)
		}
		seen[said.ID]++
	}
	for i := range lines {
		if n := seen[fmt.Sprintf("c%d", i)]; n != 1 {
			t.Errorf("line %d is answered %d times", i, n)
		}
	}
	if b.Counts.Total != lines || b.Counts.Completed != lines || len(seen) != lines {
		t.Errorf("%+v, %d seen", b, len(seen))
	}
	if _, err := os.Stat(filepath.Join(edges[0].dir, "edge.db")); err == nil {
		t.Error("the edge has a store of its own")
	}
}
