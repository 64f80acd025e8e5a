package edge_test

import (
	"strings"
	"testing"
	"time"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

func TestHintsReachTheInferenceService(t *testing.T) {
	const (
		none        = inferencev1.Priority_PRIORITY_UNSPECIFIED
		interactive = inferencev1.Priority_PRIORITY_INTERACTIVE
		batch       = inferencev1.Priority_PRIORITY_BATCH
	)
	for name, c := range map[string]struct {
		extra    string
		headers  []string
		priority inferencev1.Priority
		session  string
		wait     time.Duration
	}{
		"nothing":          {"", nil, none, "", -1},
		"headers":          {"", []string{"X-Poterne-Priority", "batch", "X-Poterne-Session", "s1", "X-Poterne-Wait", "1m30s"}, batch, "s1", 90 * time.Second},
		"OpenAI's":         {`,"service_tier":"flex","prompt_cache_key":"k"`, nil, batch, "k", -1},
		"headers first":    {`,"service_tier":"flex","prompt_cache_key":"k"`, []string{"X-Poterne-Priority", "interactive", "X-Poterne-Session", "s"}, interactive, "s", -1},
		"priority":         {`,"service_tier":"priority"`, []string{"X-Poterne-Wait", "0s"}, interactive, "", 0},
		"what is to be":    {`,"service_tier":"scale","prompt_cache_key":7`, nil, none, "", -1},
		"a long cache key": {`,"prompt_cache_key":"` + strings.Repeat("k", 300) + `"`, nil, none, "", -1},
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, nil)
			a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}]`+c.extra+`}`, c.headers...)
			if a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.text)
			}
			req := g.inference.invoked[0]
			if req.GetPriority() != c.priority || req.GetSessionId() != c.session {
				t.Errorf("priority %v, session %q", req.GetPriority(), req.GetSessionId())
			}
			if w := req.GetWaitForReady(); (w == nil) != (c.wait < 0) || w != nil && w.AsDuration() != c.wait {
				t.Errorf("wait %v", w)
			}
			if c.extra != "" && strings.Contains(c.extra, "service_tier") && g.inference.last(t)["service_tier"] == nil {
				t.Error("the engine did not get what is its own")
			}
		})
	}
}

func TestBadHints(t *testing.T) {
	g := open(t, nil)
	for name, c := range map[string]struct {
		headers []string
		field   string
	}{
		"an unknown class": {[]string{"X-Poterne-Priority", "urgent"}, "x-poterne-priority"},
		"a long session":   {[]string{"X-Poterne-Session", strings.Repeat("s", 257)}, "x-poterne-session"},
		"no time":          {[]string{"X-Poterne-Wait", "soon"}, "x-poterne-wait"},
		"a negative time":  {[]string{"X-Poterne-Wait", "-1s"}, "x-poterne-wait"},
		"a long time":      {[]string{"X-Poterne-Wait", "11m"}, "x-poterne-wait"},
	} {
		a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`, c.headers...)
		if a.status != 400 || a.at("error", "param") != c.field {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		a = g.do("POST", "/v1/embeddings", `{"model":"small","input":"Hi"}`, c.headers...)
		if a.status != 400 || a.at("error", "param") != c.field {
			t.Errorf("%s, to embed: %d %s", name, a.status, a.text)
		}
	}
}

func TestHurryIsForSomeRoles(t *testing.T) {
	g := open(t, nil)
	made := g.do("POST", "/v1/admin/api-keys", `{"name":"r","roles":["reader"]}`)
	key, _ := made.at("key").(string)
	bearer := []string{"Authorization", "Bearer " + key}
	body := `{"model":"small","messages":[{"role":"user","content":"Hi"}]`
	if a := g.do("POST", chatPath, body+`}`, append(bearer, "X-Poterne-Priority", "batch")...); a.status != 200 {
		t.Errorf("batch: %d %s", a.status, a.text)
	}
	if a := g.do("POST", chatPath, body+`}`, append(bearer, "X-Poterne-Priority", "interactive")...); a.status != 403 ||
		!strings.Contains(a.text, "interactive") {
		t.Errorf("interactive: %d %s", a.status, a.text)
	}
	// As at OpenAI, a tier that one does not have is no error.
	a := g.do("POST", chatPath, body+`,"service_tier":"priority"}`, bearer...)
	if got := g.inference.invoked[len(g.inference.invoked)-1].GetPriority(); a.status != 200 || got != inferencev1.Priority_PRIORITY_UNSPECIFIED {
		t.Errorf("a tier: %d, served as %v", a.status, got)
	}
}
