package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	testDigest  = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	testVersion = `{"model":"m","number":3,"digest":"` + testDigest + `","description":"the third",
	  "spec":{"task":"TASK_CHAT","engine":"llama-server","context_length":4096,"continuation":true,
	    "parameters":{"threads":"2","seed":"1"},
	    "artifacts":[{"role":"","size_bytes":2097152},{"role":"tokenizer","size_bytes":5}]},
	  "variants":[
	    {"name":"awq","digest":"sha256:awq","size_bytes":0,"quality":null},
	    {"name":"q4","digest":"sha256:q4","size_bytes":1000,"quality":{"perplexity":11.5,"source_perplexity":10,"source":"q8","loss":0.1503}},
	    {"name":"q8","digest":"sha256:q8","size_bytes":1536,"quality":{"perplexity":0,"source":"","loss":-0.001}}]}`
)

// variantGateway is a gateway with m@v3, its only version; what it is asked for
// is noted.
type variantGateway struct {
	*http.ServeMux
	asked []string
	added map[string]any
}

func newVariantGateway() *variantGateway {
	g := &variantGateway{ServeMux: http.NewServeMux()}
	g.HandleFunc("GET /v1/registry/models/m/aliases/{alias}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("alias") != "canary" {
			answer(http.StatusNotFound, `{"detail":"no such alias","code":"NOT_FOUND"}`)(w, r)
			return
		}
		answer(http.StatusOK, `{"version":7}`)(w, r)
	})
	g.HandleFunc("GET /v1/registry/models/m/versions", answer(http.StatusOK, `{"versions":[{"number":3}],"next_page_token":""}`))
	g.HandleFunc("GET /v1/registry/models/m/versions/{version}", func(w http.ResponseWriter, r *http.Request) {
		g.asked = append(g.asked, r.PathValue("version"))
		answer(http.StatusOK, testVersion)(w, r)
	})
	g.HandleFunc("POST /v1/registry/models/m/versions/"+testDigest+"/variants", func(w http.ResponseWriter, r *http.Request) {
		g.added = nil
		_ = json.NewDecoder(r.Body).Decode(&g.added)
		answer(http.StatusOK, `{"name":"new","digest":"sha256:new","size_bytes":7,"quality":{"loss":0.1,"perplexity":11}}`)(w, r)
	})
	g.HandleFunc("DELETE /v1/registry/models/m/versions/"+testDigest+"/variants/{variant}", func(w http.ResponseWriter, r *http.Request) {
		g.asked = append(g.asked, "delete "+r.PathValue("variant"))
		answer(http.StatusOK, `{}`)(w, r)
	})
	return g
}

func TestVariantsTable(t *testing.T) {
	code, stdout, stderr := run(t, newVariantGateway(), "", "models", "variants", "m")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	want := [][]string{
		{"VARIANT", "SIZE", "LOSS", "PERPLEXITY", "SOURCE", "DIGEST"},
		{"base", "2.0", "MiB", "0.00%", "-", "-", testDigest},
		{"awq", "-", "-", "-", "-", "sha256:awq"},
		{"q4", "1000", "B", "15.03%", "11.5000", "q8", "sha256:q4"},
		{"q8", "1.5", "KiB", "-0.10%", "-", "base", "sha256:q8"},
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for i, line := range lines {
		if i >= len(want) || !slices.Equal(strings.Fields(line), want[i]) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
}

func TestVariantsAsData(t *testing.T) {
	code, stdout, stderr := run(t, newVariantGateway(), "", "models", "variants", "m@v3", "-o", "json")
	var got []struct {
		Name      string
		Version   int
		SizeBytes int64 `json:"size_bytes"`
		Spec      map[string]any
		Quality   *struct{ Loss float64 }
	}
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil {
		t.Fatalf("code %d, %v: %s", code, err, stderr)
	}
	if len(got) != 4 || got[0].Name != "base" || got[0].Version != 3 || got[0].SizeBytes != 2097152 || got[0].Spec["task"] != "TASK_CHAT" ||
		got[0].Quality != nil || got[2].Quality.Loss != 0.1503 {
		t.Errorf("got %+v", got)
	}
	if _, stdout, _ := run(t, newVariantGateway(), "", "models", "variants", "m", "-o", "yaml"); !strings.Contains(stdout, "name: base") {
		t.Errorf("as YAML: %s", stdout)
	}
}

func TestVersionReferences(t *testing.T) {
	for reference, want := range map[string]string{
		"m": "3", "m@v3": "v3", "m@12": "12", "m@canary": "7", "m@" + testDigest: testDigest,
	} {
		g := newVariantGateway()
		if code, _, stderr := run(t, g, "", "models", "variants", reference); code != 0 || !slices.Equal(g.asked, []string{want}) {
			t.Errorf("%s: code %d, asked for %q, want %q: %s", reference, code, g.asked, want, stderr)
		}
	}
	for reference, want := range map[string]int{"m@": 2, "@v3": 2, "m@nope": 1, "other": 1} {
		if code, _, stderr := run(t, newVariantGateway(), "", "models", "variants", reference); code != want || stderr == "" {
			t.Errorf("%s: code %d, want %d: %s", reference, code, want, stderr)
		}
	}
	g := http.NewServeMux()
	g.HandleFunc("/v1/registry/models/m/aliases/production", answer(http.StatusNotFound, `{"detail":"none","code":"NOT_FOUND"}`))
	g.HandleFunc("/v1/registry/models/m/versions", answer(http.StatusOK, `{"versions":[{"number":2},{"number":1}]}`))
	g.HandleFunc("/v1/registry/models/empty/aliases/production", answer(http.StatusNotFound, `{"detail":"none","code":"NOT_FOUND"}`))
	g.HandleFunc("/v1/registry/models/empty/versions", answer(http.StatusOK, `{"versions":[]}`))
	for reference, want := range map[string]string{"m": "say which, as m@v3", "empty": "has no version"} {
		if code, _, stderr := run(t, g, "", "models", "variants", reference); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d: %s", reference, code, stderr)
		}
	}
}

func TestVariantsAdd(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	weights := write("q8.gguf", "weights")
	yamlSpec := write("spec.yaml", "engine: vllm\nparameters:\n  max-num-seqs: 8\n  quantization: awq\nartifacts:\n- uri: hf://a/b@v1/c\n  sha256: ab\n  size_bytes: 5000000000\n")
	jsonSpec := write("spec.json", `{"engine":"sim","continuation":false,"context_length":1}`)
	hash := "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c" // printf weights | sha256sum
	tests := map[string]struct {
		args []string
		want string
	}{
		"the version's with other weights": {
			[]string{"--artifact", weights, "--parameter", "threads=4", "--perplexity", "11", "--source-perplexity", "10"},
			`{"description":"","quality":{"loss":0,"perplexity":11,"source":"","source_perplexity":10},
			  "spec":{"artifacts":[{"role":"tokenizer","size_bytes":5},{"role":"weights","sha256":"` + hash + `","size_bytes":7,"uri":"file://` + weights + `"}],
			    "context_length":4096,"continuation":true,"engine":"llama-server","parameters":{"seed":"1","threads":"4"},"task":"TASK_CHAT"},
			  "variant":"new"}`,
		},
		"a file": {
			[]string{"-f", yamlSpec, "--description", "for vLLM", "--loss", "0.02", "--source", "q8"},
			`{"description":"for vLLM","quality":{"loss":0.02,"perplexity":0,"source":"q8","source_perplexity":0},
			  "spec":{"artifacts":[{"sha256":"ab","size_bytes":5000000000,"uri":"hf://a/b@v1/c"}],"context_length":4096,"continuation":true,
			    "engine":"vllm","parameters":{"max-num-seqs":"8","quantization":"awq"},"task":"TASK_CHAT"},"variant":"new"}`,
		},
		"a file that says more": {
			[]string{"--file", jsonSpec},
			`{"description":"","spec":{"artifacts":[],"context_length":1,"continuation":false,"engine":"sim","parameters":{},"task":"TASK_CHAT"},"variant":"new"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newVariantGateway()
			code, stdout, stderr := run(t, g, "", append([]string{"models", "variants", "add", "m@v3", "new"}, tt.args...)...)
			if code != 0 || !strings.Contains(stdout, "sha256:new") || !strings.Contains(stdout, "10.00%") {
				t.Fatalf("code %d, stdout %q: %s", code, stdout, stderr)
			}
			var want map[string]any
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(g.added, want) {
				t.Errorf("the gateway was sent\n%v\nwant\n%v", g.added, want)
			}
		})
	}
	t.Run("standard input", func(t *testing.T) {
		g := newVariantGateway()
		if code, _, stderr := run(t, g, `{"engine":"sim"}`, "models", "variants", "add", "m", "new", "-f", "-"); code != 0 || g.added == nil {
			t.Errorf("code %d: %s", code, stderr)
		}
	})
}

func TestVariantsWrongUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("just a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxSpecFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"needs MODEL[@VERSION]":                      {},
		"needs MODEL[@VERSION] VARIANT, got 0":       {"add"},
		"needs a specification":                      {"add", "m", "new", "--loss", "1"},
		"--source says what":                         {"add", "m", "new", "--engine", "sim", "--source", "q8"},
		"is no specification":                        {"add", "m", "new", "-f", bad},
		"holds no specification":                     {"add", "m", "new", "-f", "-"},
		"is over 1 MiB":                              {"add", "m", "new", "-f", large},
		"--parameter must be NAME=VALUE":             {"add", "m", "new", "--parameter", "x"},
		"needs MODEL[@VERSION] VARIANT, got 1 argum": {"delete", "m"},
	} {
		code, _, stderr := run(t, newVariantGateway(), "", append([]string{"models", "variants"}, args...)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d, %s", args, code, stderr)
		}
	}
	if code, _, stderr := run(t, newVariantGateway(), "", "models", "variants", "add", "m", "new", "-f", "/absent"); code != 1 {
		t.Errorf("a file that is not there: code %d, %s", code, stderr)
	}
}

func TestVariantsDelete(t *testing.T) {
	g := newVariantGateway()
	code, stdout, stderr := run(t, g, "", "models", "variants", "delete", "m@canary", "q4")
	if code != 0 || stdout != "" || !slices.Equal(g.asked, []string{"7", "delete q4"}) {
		t.Errorf("code %d, asked %q, stdout %q, stderr %q", code, g.asked, stdout, stderr)
	}
}
