package declare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errConflict = errors.New("conflict")

// registry is a small one in memory: what was sent to a path is there, with an etag.
type registry struct {
	things map[string]map[string]any
	sent   []string
	etag   int
}

func (r *registry) Get(_ context.Context, path string, out any) (bool, error) {
	v, ok := r.things[path]
	if !ok {
		return false, nil
	}
	return true, convert(v, out)
}

func convert(v, out any) error {
	raw, err := json.Marshal(v)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func (r *registry) Send(_ context.Context, method, path string, body, out any) error {
	in, _ := body.(map[string]any)
	if strings.HasSuffix(path, "versions:resolve") {
		versions := strings.TrimSuffix(path, ":resolve")
		d := digest(in["spec"])
		answer := map[string]any{"digest": d}
		if v, ok := r.things[versions+"/"+d]; ok {
			answer["version"] = v
		}
		return convert(answer, out)
	}
	r.sent = append(r.sent, method+" "+path)
	r.etag++
	switch {
	case path == modelsPath:
		r.things[fmt.Sprintf("%s/%v", path, in["name"])] = in
		return nil
	case method == http.MethodPost: // a version
		d := digest(in["spec"])
		v := map[string]any{"digest": d, "number": r.etag}
		r.things[path+"/"+d] = v
		r.things[fmt.Sprintf("%s/%d", path, r.etag)] = v
		return convert(v, out)
	case method == http.MethodPatch:
		labels, _ := in["labels"].(map[string]string)
		there := map[string]string{}
		if err := convert(r.things[path]["labels"], &there); err != nil {
			return err
		}
		maps.Copy(there, labels)
		remove, _ := in["remove_labels"].([]string)
		for _, gone := range remove {
			delete(there, gone)
		}
		r.things[path]["labels"] = there
		return nil
	}
	if there := r.things[path]; in["etag"] != "" && in["etag"] != there["etag"] || in["etag"] == "" && there != nil {
		return errConflict
	}
	in["etag"] = fmt.Sprint("r", r.etag)
	r.number(path, in)
	for _, a := range anyList(in["arms"]) {
		r.number(path, object(a))
	}
	r.things[path] = in
	return nil
}

// number sets the digest beside a version's number, as the registry does.
func (r *registry) number(path string, v map[string]any) {
	if n, ok := v["version"].(int); ok {
		model, _, _ := strings.Cut(strings.TrimPrefix(path, modelsPath+"/"), "/")
		v["digest"] = r.things[fmt.Sprintf("%s/%s/versions/%d", modelsPath, model, n)]["digest"]
	}
}

func anyList(v any) []any { list, _ := v.([]any); return list }

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }

func digest(spec any) string {
	raw, _ := json.Marshal(spec)
	return fmt.Sprintf("sha256:%x", len(raw)*7919+int(raw[len(raw)/2]))
}

func (r *registry) IsConflict(err error) bool { return errors.Is(err, errConflict) }

const files = `# a model
kind: Split
model: m
arms: [{name: control, version: first, percent: 90}, {name: candidate, version: second, percent: "10.0"}]
---
kind: Alias
model: m
name: production
version: first
---
kind: Version
model: m
name: first
spec: {task: chat, engine: sim, artifacts: [{path: weights.gguf}], parameters: {seed: "1"}}
---
kind: Version
model: m
name: second
spec:
  task: chat
  engine: sim
  parameters: {seed: "22"}
---
kind: Model
name: m
display_name: M
labels: {team: a, old: null}
---
# nothing but a comment
`

func read(t *testing.T, text string) ([]Document, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "weights.gguf"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read([]string{dir}, nil)
}

func actions(t *testing.T, r Registry, text string, apply bool) string {
	t.Helper()
	documents, err := read(t, text)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := Plan(t.Context(), r, documents)
	if err != nil {
		t.Fatal(err)
	}
	if apply {
		if err := Apply(t.Context(), r, changes, func(*Change) {}); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for _, c := range changes {
		out = append(out, c.Action+" "+c.Resource)
	}
	return strings.Join(out, ", ")
}

// Documents in any order make what they say in the order of dependency, and made
// again they change nothing.
func TestApply(t *testing.T) {
	r := &registry{things: map[string]map[string]any{}}
	// The artifact's path differs with every temporary directory; the digest of the
	// fake is made of it too, so one directory serves all runs.
	documents, err := read(t, files)
	if err != nil {
		t.Fatal(err)
	}
	for round, want := range []string{"create create create create create", "none none none none none"} {
		changes, err := Plan(t.Context(), r, documents)
		if err != nil {
			t.Fatal(err)
		}
		sent := len(r.sent)
		if round == 0 && sent != 0 {
			t.Errorf("planning sent %v", r.sent)
		}
		if err := Apply(t.Context(), r, changes, func(*Change) {}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range changes {
			got = append(got, c.Action)
		}
		if strings.Join(got, " ") != want || round == 1 && len(r.sent) != sent {
			t.Errorf("round %d: %v, sent %v", round, got, r.sent[sent:])
		}
	}
	if got := strings.Join(r.sent, "\n"); got != `POST /v1/registry/models
POST /v1/registry/models/m/versions
POST /v1/registry/models/m/versions
PUT /v1/registry/models/m/aliases/production
PUT /v1/registry/models/m/split` {
		t.Errorf("sent\n%s", got)
	}
	split := r.things["/v1/registry/models/m/split"]
	if arms := anyList(split["arms"]); len(arms) != 2 || object(arms[1])["weight"] != 100_000 || object(arms[1])["version"] != 3 {
		t.Errorf("split %v", split)
	}
}

func TestUpdates(t *testing.T) {
	r := &registry{things: map[string]map[string]any{}}
	const base = "kind: Model\nname: m\nlabels: {team: a, old: x}\n---\nkind: Version\nmodel: m\nname: one\nspec: {task: chat, engine: sim}\n---\n" +
		"kind: Version\nmodel: m\nname: two\nspec: {task: chat, engine: llama-server}\n---\nkind: Alias\nmodel: m\nname: a\nversion: "
	actions(t, r, base+"one\n", true)
	got := actions(t, r, base+"two\n", true)
	if want := "none model m, none version m/one, none version m/two, update alias m/a"; got != want {
		t.Errorf("got %s", got)
	}
	// A label that is null goes, others stay, and a number names a version too.
	if got := actions(t, r, "kind: Model\nname: m\nlabels: {old: null}\n---\nkind: Alias\nmodel: m\nname: a\nversion: 3\n", true); got != "update model m, none alias m/a" {
		t.Errorf("got %s", got)
	}
	if labels, _ := r.things[modelsPath+"/m"]["labels"].(map[string]string); len(labels) != 1 || labels["team"] != "a" {
		t.Errorf("labels %v", labels)
	}
	// Somebody else is quicker.
	documents, err := read(t, base+"one\n")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := Plan(t.Context(), r, documents)
	if err != nil {
		t.Fatal(err)
	}
	r.things[modelsPath+"/m/aliases/a"]["etag"] = "r99"
	err = Apply(t.Context(), r, changes, func(*Change) {})
	if err == nil || !strings.Contains(err.Error(), "alias m/a: somebody else changed it") {
		t.Errorf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	const version = "kind: Version\nmodel: m\nspec:\n  task: chat\n  engine: sim\n"
	for name, tt := range map[string]struct{ text, want string }{
		"unknown field":     {"kind: Model\nname: m\nlable: {}\n", `a.yaml:3:1: unknown field "lable"`},
		"deep unknown":      {version + "  artefacts: []\n", `a.yaml:6:3: unknown field "artefacts"`},
		"second document":   {"kind: Model\nname: m\n---\nkind: Alias\nmodell: m\n", "a.yaml:5:1: unknown field"},
		"syntax":            {"kind: [\n", "a.yaml:1:7"},
		"no kind":           {"name: m\n", "a.yaml:1:1: the document has no kind"},
		"other kind":        {"kind: Pod\n", `the kind "Pod" is none of Prompt, Model, Version`},
		"a type":            {"kind: Model\nname: m\nlabels: 3\n", "a.yaml:3:9"},
		"twice":             {"kind: Model\nname: m\n---\nkind: Model\nname: m\n", "a.yaml:4:1: model m is declared already at"},
		"shares":            {"kind: Split\nmodel: m\narms: [{name: a, version: 1, percent: 99.9}]\n", "add up to 99.9"},
		"a prompt":          {"kind: Split\nmodel: m\narms: [{name: a, version: 1, prompt: 'p@', percent: 100}]\n", "arms[0].prompt must be"},
		"a tried prompt":    {"kind: Experiment\nmodel: m\nname: x\narms: [{name: a, version: 1, prompt: P@v1, percent: 100}]\n", "arms[0].prompt must be"},
		"decimals":          {"kind: Split\nmodel: m\narms: [{name: a, version: 1, percent: 99.99999}]\n", "arms[0] needs"},
		"path and uri":      {version + "  artifacts: [{path: a, uri: b}]\n", "either a path or a uri"},
		"a name":            {"kind: Version\nmodel: m\nname: v3\nspec: {task: chat, engine: sim}\n", "would be taken for"},
		"duplicate key":     {"kind: Model\nname: m\nname: n\n", "a.yaml:3:1"},
		"not a mapping":     {"- kind: Model\n", "a.yaml:1:"},
		"nothing":           {"# nothing\n", "no document"},
		"an anchor's cycle": {"kind: Model\nname: &a [*a]\n", "a.yaml:2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	r := &registry{things: map[string]map[string]any{modelsPath + "/m": {"name": "m"}}}
	for text, want := range map[string]string{
		version + "  artifacts: [{path: weights.gguf, sha256: abc}]\n": "has the SHA-256",
		version + "  artifacts: [{path: none.gguf}]\n":                 "no such file",
		"kind: Alias\nmodel: m\nname: a\nversion: nowhere\n":           "no Version document",
		"kind: Alias\nmodel: m\nname: a\nversion: 7\n":                 "has no version 7",
	} {
		documents, err := read(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Plan(t.Context(), r, documents); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(files))
	f.Add([]byte("kind: Model\nname: &a {b: *a}\n"))
	f.Add([]byte("---\n...\n---\nkind: Split\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		documents, err := parse("f", ".", data)
		if err == nil {
			for _, d := range documents {
				if d.resource.id() == "" || d.Line < 1 {
					t.Errorf("document %+v", d)
				}
			}
		}
	})
}
