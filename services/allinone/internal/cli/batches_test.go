package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestBatches(t *testing.T) {
	r := startAll(t)
	ok := func(args ...string) string {
		t.Helper()
		code, out := r.poterne("", args...)
		if code != 0 {
			t.Fatalf("%v: code %d\n%s", args, code, out)
		}
		return out
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	var lines strings.Builder
	for i := range 3 {
		fmt.Fprintf(&lines, `{"custom_id":"c%d","method":"POST","url":"/v1/moderations","body":{"input":"hello"}}`+"\n", i)
	}
	if err := os.WriteFile(in, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	fileID := regexp.MustCompile(`file-[0-9a-f]{32}`)
	uploaded := ok("files", "upload", in, "--expires-after", "2h")
	file := fileID.FindString(uploaded)
	if !strings.Contains(uploaded, "in.jsonl") || file == "" {
		t.Fatalf("uploaded: %s", uploaded)
	}
	ended := ok("batches", "create", file, "--endpoint", "/v1/moderations", "--metadata", "k=v", "--wait")
	if !strings.Contains(ended, "completed") {
		t.Fatalf("ended: %s", ended)
	}
	ok("files", "content", fileID.FindString(ended), out)
	raw, err := os.ReadFile(out)
	if err != nil || strings.Count(string(raw), `"status_code":200`) != 3 {
		t.Errorf("%s, %v", raw, err)
	}
	id := regexp.MustCompile(`batch_[0-9a-f]{32}`).FindString(ended)
	for _, args := range [][]string{{"batches", "get", id}, {"batches", "list"}, {"batches", "wait", id}} {
		if got := ok(args...); !strings.Contains(got, id) {
			t.Errorf("%v: %s", args, got)
		}
	}
	code, refused := r.poterne("", "batches", "create", file, "--endpoint", "/v1/embeddings", "--wait")
	if code == 0 || !strings.Contains(refused, "line 1: ") || !strings.Contains(refused, "endpoint") {
		t.Errorf("code %d: %s", code, refused)
	}
	if got := ok("files", "list"); !strings.Contains(got, file) || !strings.Contains(got, "batch_output") {
		t.Errorf("files: %s", got)
	}
	if got := ok("files", "delete", file); !strings.Contains(got, "true") {
		t.Errorf("deleted: %s", got)
	}
}
