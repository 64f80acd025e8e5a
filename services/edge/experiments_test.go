package edge_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// Only the headers that are allowed reach the inference service, and nothing that
// is wrong with one refuses a request.
func TestExperimentHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		want    map[string]string
	}{
		"none":      {nil, nil},
		"allowed":   {[]string{"X-Cohort", "b", "Accept-Language", "fr"}, map[string]string{"x-cohort": "b", "accept-language": "fr"}},
		"another":   {[]string{"X-Other", "b"}, nil},
		"too long":  {[]string{"X-Cohort", strings.Repeat("b", 257)}, nil},
		"empty":     {[]string{"X-Cohort", ""}, nil},
		"a session": {[]string{"X-Poterne-Session", "s"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(cfg *edge.Config) { cfg.OpenAI.ExperimentHeaders = []string{"x-cohort", "accept-language"} })
			a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`, c.headers...)
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.text)
			}
			if got := g.inference.invoked[0].GetExperimentHeaders(); !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if a.header.Get("X-Poterne-Experiment") != "price" || a.header.Get("X-Poterne-Arm") != "canary" {
				t.Errorf("the answer says %v", a.header)
			}
		})
	}
}

func TestExperimentHeadersThatAreRefused(t *testing.T) {
	for name, list := range map[string][]string{
		"credentials": {"authorization"}, "upper case": {"X-Cohort"}, "no name": {""}, "many": strings.Split(strings.Repeat("x,", 16)+"x", ","),
	} {
		cfg := edge.DefaultConfig()
		cfg.OpenAI.ExperimentHeaders = list
		if err := cfg.Complete(); err == nil || !strings.Contains(err.Error(), "openai.experiment_headers") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
