package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func headers(pairs map[string][]string) func(string) []string {
	return func(name string) []string { return pairs[name] }
}

func TestWhichRoutesAreAboutARequest(t *testing.T) {
	ask := Facts{
		Operation: Chat, Path: "/v1/chat/completions", Method: "/poterne.edge.v1.OpenAIService/CreateChatCompletion", Model: "gpt-big@v3",
		Tenant: "acme", Subject: "ada", KeyID: "k1", Header: headers(map[string][]string{"x-team": {"b", "blue-7"}, "x-empty": {""}}),
	}
	for name, c := range map[string]struct {
		match  Match
		misses string
	}{
		"everything":                    {Match{}, ""},
		"the operation":                 {Match{Operations: []Operation{Embed, Chat}}, ""},
		"another operation":             {Match{Operations: []Operation{Embed}}, byOperations},
		"the path":                      {Match{Paths: []string{"/v1/chat/*"}}, ""},
		"the method":                    {Match{Paths: []string{"*/CreateChatCompletion"}}, ""},
		"another path":                  {Match{Paths: []string{"/v1/chat"}}, byPaths},
		"the model, of any version":     {Match{Models: []string{"gpt-big"}}, ""},
		"the model's version":           {Match{Models: []string{"gpt-big@v3"}}, ""},
		"another version":               {Match{Models: []string{"gpt-big@v2"}}, byModels},
		"any version of it":             {Match{Models: []string{"gpt-*@v*"}}, ""},
		"a pattern":                     {Match{Models: []string{"llama-*", "*-b*g"}}, ""},
		"a pattern that is too short":   {Match{Models: []string{"gpt-"}}, byModels},
		"the tenant":                    {Match{Tenants: []string{"ac*"}}, ""},
		"another tenant":                {Match{Tenants: []string{"acm"}}, byTenants},
		"the subject":                   {Match{Subjects: []string{"ada"}}, ""},
		"another subject":               {Match{Subjects: []string{"bob"}}, bySubjects},
		"the key":                       {Match{Keys: []string{"k1"}}, ""},
		"another key":                   {Match{Keys: []string{"k2"}}, byKeys},
		"a header that is there":        {Match{Headers: []HeaderMatch{{Name: "x-empty", Present: true}}}, ""},
		"a header that is not":          {Match{Headers: []HeaderMatch{{Name: "x-none", Present: true}}}, byHeaders},
		"one of a header's values":      {Match{Headers: []HeaderMatch{{Name: "x-team", Value: "b"}}}, ""},
		"another value":                 {Match{Headers: []HeaderMatch{{Name: "x-team", Value: "blue"}}}, byHeaders},
		"how a value begins":            {Match{Headers: []HeaderMatch{{Name: "x-team", Prefix: "blue-"}}}, ""},
		"every header, of which one is": {Match{Headers: []HeaderMatch{{Name: "x-team", Value: "b"}, {Name: "x-none", Present: true}}}, byHeaders},
	} {
		if got := c.match.misses(&ask); got != c.misses {
			t.Errorf("%s: misses %q, want %q", name, got, c.misses)
		}
	}
	nobody := Facts{Operation: Search}
	for _, m := range []Match{{Models: []string{"*"}}, {Subjects: []string{"*"}}, {Keys: []string{"*"}}} {
		if m.misses(&nobody) == "" {
			t.Errorf("%+v is about a request that has none", m)
		}
	}
}

func TestTheHighestPriorityHolds(t *testing.T) {
	r := testRouter(t, DefaultConfig())
	r.Use([]Route{{Name: "b", Priority: 5}, {Name: "a", Priority: 5}, {Name: "z", Priority: 9, Disabled: true}, {Name: "top", Priority: 7, Match: Match{Models: []string{"x"}}}})
	if got := r.Find(&Facts{Operation: Chat, Model: "x"}).Name; got != "top" {
		t.Error(got)
	}
	if got := r.Find(&Facts{Operation: Chat, Model: "y"}).Name; got != "a" {
		t.Error(got)
	}
	verdicts := r.Test(&Facts{Operation: Chat, Model: "y"})
	if len(verdicts) != 3 || verdicts[0].Misses != byModels || verdicts[1].Misses != "" {
		t.Errorf("%+v", verdicts)
	}
}

func TestRoutesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		route Route
		want  string
	}{
		"nothing":                         {Route{}, ""},
		"a name":                          {Route{Name: "No"}, "name"},
		"a priority":                      {Route{Priority: MaxPriority + 1}, "priority"},
		"an operation":                    {Route{Match: Match{Operations: []Operation{"sing"}}}, "match.operations"},
		"an empty pattern":                {Route{Match: Match{Models: []string{""}}}, "match.models"},
		"credentials":                     {Route{Match: Match{Headers: []HeaderMatch{{Name: "authorization", Prefix: "Bearer x"}}}}, "match.headers[0].name"},
		"a header in two ways":            {Route{Match: Match{Headers: []HeaderMatch{{Name: "a", Value: "b", Present: true}}}}, "match.headers[0]"},
		"a model's pattern":               {Route{Model: "gpt-*"}, "model"},
		"no time":                         {Route{Timeouts: Timeouts{Request: -1}}, "timeouts.request"},
		"an attempt longer than all":      {Route{Timeouts: Timeouts{Request: time.Second, Attempt: time.Minute}}, "timeouts.attempt"},
		"many attempts":                   {Route{Retry: Retry{Attempts: 6}}, "retry.attempts"},
		"asking again is of no use":       {Route{Retry: Retry{Attempts: 2, On: []Reason{ContextLength}}}, "retry.on"},
		"reasons without retries":         {Route{Retry: Retry{On: []Reason{Timeout}}}, "retry.attempts"},
		"a fallback to itself":            {Route{Match: Match{Models: []string{"a"}}, Fallback: Fallback{Models: []string{"a"}}}, "fallback.models[0]"},
		"a fallback to the route's model": {Route{Model: "a", Fallback: Fallback{Models: []string{"a"}}}, "fallback.models[0]"},
		"a fallback twice":                {Route{Fallback: Fallback{Models: []string{"a", "a"}}}, "fallback.models[1]"},
		"fallbacks of vectors":            {Route{Match: Match{Operations: []Operation{Embed}}, Fallback: Fallback{Models: []string{"a"}}}, "fallback.models"},
		"a cookie of the browser's":       {Route{Sticky: Sticky{By: ByCookie, Name: "__Host-a"}}, "sticky.name"},
		"sticky by something":             {Route{Sticky: Sticky{By: "moon"}}, "sticky.by"},
		"a mirror of nothing":             {Route{Mirror: Mirror{Percent: 5}}, "mirror.model"},
		"a hedged chat":                   {Route{Match: Match{Operations: []Operation{Chat}}, Hedge: Hedge{Delay: time.Second}}, "hedge.delay"},
		"a hedge without end":             {Route{Hedge: Hedge{Delay: time.Hour}}, "hedge.delay"},
	} {
		if c.route.Name == "" {
			c.route.Name = "a"
		}
		c.route.Complete()
		problems := c.route.Check()
		switch {
		case c.want == "" && len(problems) > 0:
			t.Errorf("%s: %+v", name, problems)
		case c.want != "" && !slices.ContainsFunc(problems, func(p Problem) bool { return p.Field == c.want && p.Text != "" }):
			t.Errorf("%s: %+v, want one of %s", name, problems, c.want)
		}
	}
}

func testRouter(t *testing.T, cfg Config) *Router {
	t.Helper()
	return New(Options{Config: cfg, Clock: clock.Real(), Random: func() float64 { return 0.5 }})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b", "ab")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		got := glob(pattern, text)
		if want := slowGlob(pattern, text); len(pattern) < 12 && len(text) < 12 && got != want {
			t.Errorf("glob(%q, %q) is %v", pattern, text, got)
		}
	})
}

// slowGlob is glob as it is defined.
func slowGlob(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		for i := range len(text) + 1 {
			if slowGlob(pattern[1:], text[i:]) {
				return true
			}
		}
		return false
	}
	return text != "" && text[0] == pattern[0] && slowGlob(pattern[1:], text[1:])
}

func TestPatternsMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"*", "", true},
		{"a", "a", true},
		{"a", "b", false},
		{"/v1/*", "/v1/collections/*:search", true},
		{"/v1/collections/handbook:search", "/v1/collections/*:search", true},
		{"*search", "/v1/collections/*:search", true},
		{"/v1/*/x", "/v1/y/*", true},
		{"/v2/*", "/v1/*", false},
		{"nonsense", "/v1/*", false},
		{"a*b", "b*a", false},
		{"*a*", "b*", true},
	} {
		if Meet(c.a, c.b) != c.want || Meet(c.b, c.a) != c.want {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
}

// A pattern meets a text exactly when it stands for it.
func FuzzPatternsMeet(f *testing.F) {
	f.Add("/v1/*", "/v1/chat")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		text = strings.ReplaceAll(text, "*", "")
		if len(pattern)+len(text) < 1000 && Meet(pattern, text) != glob(pattern, text) {
			t.Errorf("%q and %q", pattern, text)
		}
	})
}
