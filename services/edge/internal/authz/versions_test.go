package authz

import (
	"errors"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// fakeModels knows what a test tells it.
type fakeModels map[string]*ModelFacts

func (f fakeModels) Find(name, reference, tenant string) (*ModelFacts, error) {
	if f == nil {
		return nil, ErrModelsUnknown
	}
	m := f[name]
	if m == nil || m.Labels["tenant"] != "" && m.Labels["tenant"] != tenant {
		return nil, ErrNoModel
	}
	if reference == "" {
		return m, nil
	}
	for _, v := range m.Versions {
		if reference == "v"+string('0'+v.Number) || reference == v.Digest {
			v.Arm, v.Experiment = "", ""
			return &ModelFacts{State: m.State, Labels: m.Labels, Versions: []ModelVersion{v}}, nil
		}
	}
	return nil, ErrNoModel
}

func split() fakeModels {
	return fakeModels{"m": {State: "1", Labels: map[string]string{"tier": "gold"}, Versions: []ModelVersion{
		{Number: 1, Digest: "sha256:a", Labels: map[string]string{"licence": "free"}, Arm: "control"},
		{Number: 2, Digest: "sha256:b", Labels: map[string]string{"licence": "research"}, Arm: "canary"},
		{Number: 3, Digest: "sha256:c", Labels: map[string]string{"licence": "research"}, Arm: "shadow", Shadow: true},
	}}}
}

func judged(t *testing.T, a *Authorizer, model string) (Verdict, error) {
	t.Helper()
	m := Table()[edgev1.OpenAIService_CreateChatCompletion_FullMethodName]
	return a.Judge(t.Context(), m, callerWith("acme", "guest"), &edgev1.CreateChatCompletionRequest{Model: model})
}

// TestVersionsAreToldApart: a name that is split is decided for each arm, and what
// was remembered of one is not said of another.
func TestVersionsAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		rule   string
		allows map[string]bool // by arm; empty: no difference is made
		denied bool
	}{
		"labels of the model":       {`p, role:guest, own, model, *, chat, model_labels.tier == 'gold', allow`, nil, false},
		"other labels of the model": {`p, role:guest, own, model, *, chat, model_labels.tier == 'lead', allow`, nil, true},
		"labels of the version":     {`p, role:guest, own, model, *, chat, version_labels.licence == 'free', allow`, map[string]bool{"control": true}, false},
		"the number":                {`p, role:guest, own, model, *, chat, model_version >= 2, allow`, map[string]bool{"canary": true, "shadow": true}, false},
		"the digest":                {`p, role:guest, own, model, *, chat, model_digest == 'sha256:a', allow`, map[string]bool{"control": true}, false},
		"the arm":                   {`p, role:guest, own, model, *, chat, arm == 'canary', allow`, map[string]bool{"canary": true}, false},
		"no version":                {`p, role:guest, own, model, *, chat, model_version > 7, allow`, nil, true},
		"only a copy":               {`p, role:guest, own, model, *, chat, arm == 'shadow', allow`, nil, true},
	} {
		a := open(t, c.rule+"\n")
		a.AskModels(split())
		for range 2 {
			v, err := judged(t, a, "m")
			if (err != nil) != c.denied || v.Allowed == c.denied {
				t.Fatalf("%s: %+v, %v", name, v, err)
			}
			if (v.Models["m"] != nil) != (c.allows != nil) {
				t.Fatalf("%s: versions %+v", name, v.Models)
			}
			for _, one := range v.Models["m"] {
				if one.Allowed != c.allows[one.Arm] {
					t.Errorf("%s: %+v", name, one)
				}
			}
		}
	}
}

// TestNamesOfOneVersion: whichever way a version is named, the same holds.
func TestNamesOfOneVersion(t *testing.T) {
	a := open(t, "p, role:guest, own, model, *, *, true, allow\np, role:guest, own, model, *, *, version_labels.licence == 'research', deny\n")
	a.AskModels(split())
	for model, allowed := range map[string]bool{"m@v1": true, "m@sha256:a": true, "m@v2": false, "m@sha256:b": false, "m": true} {
		if v, err := judged(t, a, model); v.Allowed != allowed || (err == nil) != allowed {
			t.Errorf("%s: %+v, %v", model, v, err)
		}
	}
	v, err := judged(t, a, "nothing")
	if apierr.ReasonOf(err) != apierr.ModelNotFound {
		t.Errorf("a model that is not there: %+v, %v", v, err)
	}
	// One that search has rerank is asked for by search: there nobody tells arms apart.
	m := Table()[searchv1.SearchService_Search_FullMethodName]
	b := open(t, "p, role:guest, own, model|collection, *, *, true, allow\np, role:guest, own, model, *, *, arm == 'canary', deny\n")
	b.AskModels(split())
	for model, allowed := range map[string]bool{"m": false, "m@v1": true} {
		_, err := b.Judge(t.Context(), m, callerWith("acme", "guest"), &searchv1.SearchRequest{Collection: "c", Rerank: &searchv1.Rerank{Model: model}})
		if (err == nil) != allowed {
			t.Errorf("reranked by %s: %v", model, err)
		}
	}
}

// TestWhatIsNotKnownRefuses: a rule that asks for it, whichever its effect, and no
// other one.
func TestWhatIsNotKnownRefuses(t *testing.T) {
	for rule, reason := range map[string]apierr.Reason{
		`p, role:guest, own, model, *, chat, model_labels.tier == 'gold', deny`:                        apierr.Unavailable,
		`p, role:guest, own, model, *, chat, model_version == 1, deny`:                                 apierr.Unavailable,
		`p, role:guest, own, model, *, chat, subject == 'eve' && model_labels.tier == 'gold', deny`:    "",
		`p, role:guest, own, model, other, chat, model_labels.tier == 'gold', deny`:                    "",
		`p, role:guest, own, collection|document, *, *, model_labels.tier == 'gold', deny`:             "",
		`p, role:guest, own, model, *, chat, model_labels.missing == 'x', deny`:                        apierr.Unavailable,
		`p, role:other, own, model, *, chat, arm == 'canary', deny`:                                    "",
		`p, role:guest, own, model, *, chat, arm == 'canary' || subject == 'ada', deny`:                apierr.PermissionDenied,
		`p, role:guest, own, model, *, chat, has(model_labels.tier) && model_labels.tier == 'x', deny`: apierr.Unavailable,
	} {
		a := open(t, "p, role:guest, own, model, *, chat, true, allow\n"+rule+"\n")
		a.AskModels(fakeModels(nil))
		for range 2 {
			if _, err := judged(t, a, "m"); apierr.ReasonOf(err) != reason && (err != nil || reason != "") {
				t.Errorf("%s: %v", rule, err)
			}
		}
		if v := a.Current().Decide(Question{Caller: callerWith("acme", "guest"), Action: "chat", Resource: Resource{"model", "m", "acme"}, Models: a.ModelsFor("acme")}); reason == apierr.Unavailable && !errors.Is(v.Failure, ErrModelsUnknown) {
			t.Errorf("%s: asked: %+v", rule, v)
		}
	}
	a := open(t, "p, role:guest, own, model, *, chat, model_labels.missing == 'x', allow\n")
	a.AskModels(split())
	if v, err := judged(t, a, "m"); v.Allowed || v.Why != WhyUnknown || apierr.ReasonOf(err) != apierr.PermissionDenied {
		t.Errorf("a label that is not there: %+v, %v", v, err)
	}
}

// TestModelsChange: what was remembered holds for the state that it was decided by.
func TestModelsChange(t *testing.T) {
	a := open(t, "p, role:guest, own, model, *, chat, model_labels.tier == 'gold', allow\n")
	models := split()
	a.AskModels(models)
	for i, tier := range []string{"gold", "lead", "gold"} {
		models["m"] = &ModelFacts{State: string(rune('0' + i)), Labels: map[string]string{"tier": tier}}
		if v, _ := judged(t, a, "m"); v.Allowed != (tier == "gold") {
			t.Errorf("turn %d: %+v", i, v)
		}
	}
}

func TestObligationsOfVersions(t *testing.T) {
	a := open(t, `
p, role:guest, own, model, *, chat, true, allow, max_tokens=100
p, role:guest, own, model, *, chat, arm == 'canary', allow, max_tokens=5
p, role:guest, own, model, *, chat, arm == 'control', allow, review
`)
	a.AskModels(split())
	if v, err := judged(t, a, "m"); err != nil || v.Obligations.MaxTokens != 5 || !v.Obligations.Review {
		t.Errorf("the strictest of all: %+v, %v", v, err)
	}
	if v, err := judged(t, a, "m@v2"); err != nil || v.Obligations.MaxTokens != 100 {
		t.Errorf("one that no arm leads to: %+v, %v", v, err)
	}
}
