package edge_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// A conversation names a prompt of the registry as OpenAI's Responses API does: it
// goes to the inference service beside the body, and the answer says which version
// it was.
func TestPromptOfTheRegistry(t *testing.T) {
	g := open(t, nil)
	g.inference.by = &inferencev1.ServedBy{Model: "small", Version: 3, Prompt: "greeting", PromptVersion: 2}
	for name, stream := range map[string]string{"whole": "", "stream": `,"stream":true`} {
		t.Run(name, func(t *testing.T) {
			a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],`+
				`"prompt":{"id":"greeting","version":"2","variables":{"name":"Ada <&>"}}`+stream+`}`)
			if a.status != 200 || a.header.Get("X-Poterne-Prompt") != "greeting@v2" {
				t.Fatalf("status %d, %v: %s", a.status, a.header, a.text)
			}
			asked := g.inference.invoked[len(g.inference.invoked)-1].GetPrompt()
			if asked.GetId() != "greeting" || asked.GetVersion() != "2" || !maps.Equal(asked.GetVariables(), map[string]string{"name": "Ada <&>"}) {
				t.Errorf("asked for %v", asked)
			}
			if _, there := g.inference.last(t)["prompt"]; there {
				t.Error("the engine gets the prompt's name")
			}
		})
	}
}

// What is wrong with a prompt's name or variables is told before anything is asked.
func TestPromptsThatAreRefused(t *testing.T) {
	g := open(t, func(cfg *edge.Config) { cfg.HTTP.MaxBodyBytes = 128 * config.KiB })
	for name, c := range map[string]struct{ prompt, param string }{
		"no id":             {`{}`, "prompt.id"},
		"no object":         {`"greeting"`, "prompt"},
		"a path":            {`{"id":"../x"}`, "prompt.id"},
		"a version":         {`{"id":"p","version":"V 2"}`, "prompt.version"},
		"a number":          {`{"id":"p","version":2}`, "prompt.version"},
		"an unknown member": {`{"id":"p","name":"x"}`, "prompt.name"},
		"no variables":      {`{"id":"p","variables":["x"]}`, "prompt.variables"},
		"no text":           {`{"id":"p","variables":{"a":{"type":"input_image"}}}`, "prompt.variables"},
		"a variable's name": {`{"id":"p","variables":{"a b":"x"}}`, "prompt.variables"},
		"a large variable":  {`{"id":"p","variables":{"a":"` + strings.Repeat("x", 65537) + `"}}`, "prompt.variables"},
	} {
		a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],"prompt":`+c.prompt+`}`)
		if a.status != 400 || !prefixed(a.at("error", "param"), c.param) {
			t.Errorf("%s: status %d: %s", name, a.status, a.text)
		}
	}
	if g.inference.calls() != 0 {
		t.Error("the inference service was asked")
	}
	// What only the registry's template can tell comes back with the variable's name.
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return nil, apierr.Invalid("prompt.variables.tone", `the variable "tone" must be given`)
	}
	a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],"prompt":{"id":"p"}}`)
	if a.status != 400 || a.at("error", "param") != "prompt.variables.tone" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

func prefixed(v any, prefix string) bool {
	text, ok := v.(string)
	return ok && strings.HasPrefix(text, prefix)
}
