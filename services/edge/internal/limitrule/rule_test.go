package limitrule

import (
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/limit"
)

func TestRulesAreChecked(t *testing.T) {
	good := Rule{Name: "gpt-day", Kind: TotalTokens, By: []Dimension{ByTenant, ByModel}, Amount: 1000, Period: 24 * time.Hour}
	good.Complete()
	if p := good.Check(true); len(p) > 0 {
		t.Fatalf("%v", p)
	}
	for field, break_ := range map[string]func(*Rule){
		"name":          func(r *Rule) { r.Name = "Not one" },
		"kind":          func(r *Rule) { r.Kind = "bytes" },
		"by":            func(r *Rule) { r.By = []Dimension{ByKey, ByKey} },
		"away":          func(r *Rule) { r.Away = "sometimes" },
		"match.tenants": func(r *Rule) { r.Match.Tenants = []string{"acme"} },
		"match.models":  func(r *Rule) { r.Match.Models = []string{""} },
		"match.keys":    func(r *Rule) { r.Match.Keys = []string{"k\u0085"} },
		"match.routes":  func(r *Rule) { r.Match.Routes = make([]string, MaxPatterns+1) },
		"match.users":   func(r *Rule) { r.Match.Users = []string{strings.Repeat("a", maxPattern+1)} },
		"amount":        func(r *Rule) { r.Amount = 0 },
		"period":        func(r *Rule) { r.Period = time.Millisecond },
		"burst":         func(r *Rule) { r.Burst = 100_001 },
	} {
		r := good
		break_(&r)
		if p := r.Check(true); len(p) != 1 || p[0].Field != field {
			t.Errorf("%s: %v", field, p)
		}
	}
	name := good
	name.Name = limit.PolicyDefault
	once := Rule{Name: "streams", Kind: Concurrent, Amount: 5, Period: time.Second, Away: AwayLocal}
	for _, r := range []Rule{name, once} {
		if p := r.Check(true); len(p) != 1 {
			t.Errorf("%+v: %v", r, p)
		}
	}
}

// A route that is misspelt would have a rule be about nothing.
func TestRoutesAreKnown(t *testing.T) {
	r := Rule{Name: "g", Kind: Requests, Amount: 1}
	r.Complete()
	for _, route := range []string{
		"read", "write", "search", "embed", "generate", "infer", "gen*", "*", "/poterne.edge.v1.OpenAIService/*",
		"/poterne.edge.v1.OpenAIService/CreateChatCompletion", "/inference.GRPCInferenceService/ModelInfer",
	} {
		r.Match.Routes = []string{route}
		if p := r.Check(true); len(p) > 0 {
			t.Errorf("%s: %v", route, p)
		}
	}
	for _, route := range []string{
		"generatee", "Generate", "free", "/v1/chat/completions", "CreateChatCompletion", "/poterne.edge.v1.OpenAIService/CreateChatCompletio",
		"/grpc.health.v1.Health/Check", "gem*", strings.Repeat("*a", 128),
	} {
		r.Match.Routes = []string{"generate", route}
		p := r.Check(true)
		if len(p) != 1 || p[0].Field != "match.routes" || !strings.Contains(p[0].Text, `"`+route+`"`) ||
			!strings.Contains(p[0].Text, "(read, write, search, embed, generate, infer)") {
			t.Errorf("%s: %v", route, p)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b", "axxb")
	f.Add("*", "")
	f.Add("a", "b")
	f.Add("***a*", "ba")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > 100 || len(value) > 1000 {
			return
		}
		if got, want := glob(pattern, value), slowGlob(pattern, value); got != want {
			t.Errorf("%q on %q: %v, want %v", pattern, value, got, want)
		}
	})
}

// slowGlob says it in another way: reached[v] is whether what of the pattern was read
// so far takes v bytes.
func slowGlob(pattern, value string) bool {
	reached := make([]bool, len(value)+1)
	reached[0] = true
	for p := range len(pattern) {
		next := make([]bool, len(value)+1)
		for v, ok := range reached {
			if !ok {
				continue
			}
			if pattern[p] == '*' {
				for after := v; after <= len(value); after++ {
					next[after] = true
				}
				break
			}
			if v < len(value) && value[v] == pattern[p] {
				next[v+1] = true
			}
		}
		reached = next
	}
	return reached[len(value)]
}

func TestWhichRequestsARuleIsAbout(t *testing.T) {
	f := Facts{
		Tenant: "acme", KeyID: "k1", Subject: "ada", User: "u1", Model: "small", Class: limit.Generate,
		Method: "/poterne.edge.v1.OpenAIService/CreateChatCompletion",
	}
	for name, c := range map[string]struct {
		match Match
		by    []Dimension
		want  bool
	}{
		"all":              {want: true},
		"tenant":           {match: Match{Tenants: []string{"b*", "ac*"}}, want: true},
		"another tenant":   {match: Match{Tenants: []string{"bcme"}}},
		"key":              {match: Match{Keys: []string{"k1"}}, want: true},
		"another key":      {match: Match{Keys: []string{"k2"}}},
		"user":             {match: Match{Users: []string{"u1"}}, want: true},
		"subject":          {match: Match{Users: []string{"ada"}}, want: true},
		"another user":     {match: Match{Users: []string{"u2"}}},
		"model":            {match: Match{Models: []string{"sm*"}}, want: true},
		"another model":    {match: Match{Models: []string{"big"}}},
		"class":            {match: Match{Routes: []string{"generate"}}, want: true},
		"method":           {match: Match{Routes: []string{"*/CreateChatCompletion"}}, want: true},
		"another route":    {match: Match{Routes: []string{"embed"}}},
		"both":             {match: Match{Tenants: []string{"acme"}, Models: []string{"big"}}},
		"counted by model": {by: []Dimension{ByModel}, want: true},
	} {
		o := Owned{Rule: Rule{Match: c.match, By: c.by}}
		if got := o.about(&f); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	without := f
	without.Model = ""
	if o := (Owned{Rule: Rule{By: []Dimension{ByModel}}}); o.about(&without) {
		t.Error("what has no model is counted by it")
	}
}

// No two callers share a bucket that is counted apart, whatever they are called.
func TestBucketsAreApart(t *testing.T) {
	seen := make(map[string]Facts)
	for _, d := range Dimensions() {
		for _, f := range []Facts{
			{Tenant: "a", KeyID: "b"},
			{Tenant: "a", KeyID: "b/3:c"},
			{Tenant: "a/1:b", KeyID: "c"},
			{Tenant: "a", Subject: "b"},
			{Tenant: "a", User: "b"},
			{Tenant: "a", User: "subject b"},
			{Tenant: "b", User: "b"},
			{Model: "b"},
			{Address: "b"},
			{Method: "b"},
		} {
			o := Owned{Rule: Rule{Name: string(d), By: []Dimension{d}}}
			if f.Model == "" && d == ByModel || f.Address == "" && d == ByAddress || f.Method == "" && d == ByRoute || f.Tenant == "" {
				continue
			}
			if d == ByTenant && (f.KeyID != "" || f.Subject != "" || f.User != "") && f.Tenant != "a/1:b" {
				continue // the same tenant
			}
			b := o.bucket(&f)
			if other, ok := seen[b]; ok && (d != ByKey || other.key() != f.key()) && (d != ByUser || other.user() != f.user()) {
				t.Errorf("%+v and %+v share %q", f, other, b)
			}
			seen[b] = f
		}
	}
	mine, theirs := Owned{Tenant: "a", Rule: Rule{Name: "x"}}, Owned{Tenant: "b", Rule: Rule{Name: "x"}}
	if mine.bucket(&Facts{Tenant: "a"}) == theirs.bucket(&Facts{Tenant: "b"}) {
		t.Error("rules of two tenants share a bucket")
	}
}
