package openapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/services/edge/internal/contract"
	"github.com/poterne/poterne/services/edge/internal/mlflow"
	"github.com/poterne/poterne/services/edge/internal/openinference"
)

func parse(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	text, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestBothFormsAreServed(t *testing.T) {
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	pages := Pages("v1", false)
	for accept, packed := range map[string]bool{"": false, "br, gzip": true, "gzip;q=0": false, "identity": false} {
		r := httptest.NewRequest(http.MethodGet, pathDocument, nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		pages[pathDocument].ServeHTTP(w, r)
		var body io.Reader = w.Body
		if packed != (w.Header().Get("Content-Encoding") == "gzip") {
			t.Errorf("%q: encoded by %q", accept, w.Header().Get("Content-Encoding"))
		}
		if packed {
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes, %v; openapi.json has %d", accept, len(got), err, len(want))
		}
	}
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// TestDocumentHasEveryCall compares the document with the contract, both ways.
func TestDocumentHasEveryCall(t *testing.T) {
	var want []string
	for _, file := range contract.Files() {
		methods := file.Services().Get(0).Methods()
		for i := range methods.Len() {
			rule, ok := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
			if !ok || rule.GetPattern() == nil {
				continue
			}
			verb, path := binding(rule)
			want = append(want, verb+" "+path)
		}
	}
	for _, rt := range openinference.Routes() {
		want = append(want, strings.ToLower(rt.Method)+" "+rt.Path)
	}
	for _, rt := range mlflow.Routes() {
		want = append(want, strings.ToLower(rt.Method)+" "+rt.Path)
	}
	want = append(want, "post /v1/collections/{collection}/documents:import", // streams, which have no binding
		"get /v1/collections/{collection}:backup", "post /v1/collections:restore",
		"get /v1/registry/archive:export", "post /v1/registry/archive:import", "get /v1/admin/audit:export", "get /v1/admin/usage:export",
		"post /v1/files", "get /v1/files/{file_id}/content")
	var got []string
	paths, _ := at(parse(t), "paths").(map[string]any)
	for path, item := range paths {
		verbs, _ := item.(map[string]any)
		for verb := range verbs {
			got = append(got, verb+" "+path)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the document has\n%s\nthe contract\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func binding(rule *annotations.HttpRule) (verb, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "get", p.Get
	case *annotations.HttpRule_Post:
		return "post", p.Post
	case *annotations.HttpRule_Patch:
		return "patch", p.Patch
	case *annotations.HttpRule_Put:
		return "put", p.Put
	case *annotations.HttpRule_Delete:
		return "delete", p.Delete
	default:
		return "", ""
	}
}

// TestReferencesLead follows every reference of the document.
func TestReferencesLead(t *testing.T) {
	doc := parse(t)
	n := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if to, ok := v["$ref"].(string); ok {
				n++
				if at(doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...) == nil {
					t.Errorf("%s leads nowhere", to)
				}
			}
			for _, sub := range v {
				walk(sub)
			}
		case []any:
			for _, sub := range v {
				walk(sub)
			}
		}
	}
	walk(doc)
	if n < 100 {
		t.Errorf("only %d references", n)
	}
}

// TestTrueForms holds the document to what the JSON codec does.
func TestTrueForms(t *testing.T) {
	schemas := at(parse(t), "components", "schemas")
	if forms, _ := at(schemas, "edge.MessageContent", "anyOf").([]any); len(forms) != 3 {
		t.Errorf("content is %v", at(schemas, "edge.MessageContent"))
	}
	if at(schemas, "edge.TokenList", "type") != "array" {
		t.Errorf("a token list is %v", at(schemas, "edge.TokenList"))
	}
	if at(schemas, "edge.CreateChatCompletionRequest", "additionalProperties") != true ||
		at(schemas, "edge.CreateChatCompletionRequest", "properties", "extra") != nil {
		t.Error("unknown parameters are not offered")
	}
	if at(schemas, "edge.Retrieval", "additionalProperties") != false {
		t.Error("unknown members of retrieval are offered, and would be refused")
	}
	if at(schemas, "common.RawJson", "type") != nil {
		t.Errorf("any JSON is %v", at(schemas, "common.RawJson"))
	}
}

// How a request may be served is said in headers, which the contract's messages
// do not have.
func TestHeadersAreDescribed(t *testing.T) {
	paths := at(parse(t), "paths")
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v2/models/{model}/infer"} {
		var names []string
		parameters, _ := at(paths, path, "post", "parameters").([]any)
		for _, p := range parameters {
			if at(p, "in") == "header" {
				name, _ := at(p, "name").(string)
				names = append(names, name)
			}
		}
		for _, want := range []string{"x-poterne-priority", "x-poterne-session", "x-poterne-wait"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s: %s is missing: %v", path, want, names)
			}
		}
	}
}

// TestStreamsOfEvents holds that a call that only streams says so, and that its
// events are what the document allows.
func TestStreamsOfEvents(t *testing.T) {
	doc := parse(t)
	ok := at(doc, "paths", "/v1/admin/quantizations", "post", "responses", "200", "content")
	if at(ok, "text/event-stream", "schema") == nil || at(ok, "application/json") != nil {
		t.Errorf("the answer's content is %v", ok)
	}
	event := at(doc, "components", "schemas", "edge.QuantizeModelResponse")
	if forms, _ := at(event, "oneOf").([]any); len(forms) != 3 || at(event, "additionalProperties") != nil {
		t.Errorf("an event is %v", event)
	}
}
