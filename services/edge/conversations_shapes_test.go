package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// One conversation goes on in whichever shape it is asked, whole and in pieces; what is
// kept of it is the same.
func TestAConversationGoesOnInEveryShape(t *testing.T) {
	g := open(t, nil)
	reader := g.keyFor("acme", "reader")
	shapes := []struct{ path, body string }{
		{messagesPath, `{"model":"small","max_tokens":9,"system":"Be kind.","messages":[{"role":"user","content":%q}],"memory":{"conversation":"talk"}%s}`},
		{responsesPath, `{"model":"small","instructions":"Be kind.","input":%q,"conversation":"talk"%s}`},
		{responsesPath, `{"model":"small","instructions":"Be kind.","input":%q,"conversation":{"id":"talk"}%s}`},
		{chatPath, `{"model":"small","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":%q}],"memory":{"conversation":"talk"}%s}`},
	}
	want := []string{"system: Be kind."}
	n := 0
	for _, s := range shapes {
		for _, stream := range []string{"", `,"stream":true`} {
			n++
			said := fmt.Sprint("turn ", n)
			a := g.do("POST", s.path, fmt.Sprintf(s.body, said, stream), reader...)
			want = append(want, "user: "+said)
			if got := g.roles(t); a.status != http.StatusOK || !slices.Equal(got, want) {
				t.Fatalf("%s%s: %d: the model read\n%q, want\n%q\n%s", s.path, stream, a.status, got, want, a.text)
			}
			body := g.inference.last(t)
			for _, member := range []string{"memory", "conversation"} {
				if _, there := body[member]; there {
					t.Errorf("%s: the engine got %s", s.path, member)
				}
			}
			answered := "Hello"
			if stream != "" {
				answered = "Hel\nlo"
			}
			want = append(want, "assistant: "+answered)
		}
	}
	one := g.do("GET", "/v1/conversations/talk", "", reader...)
	if one.at("turn_count") != float64(n) || one.at("turns", n-1, "messages", 1, "content") == nil || strings.Contains(one.text, "Be kind.") {
		t.Errorf("%s", one.text)
	}
	if a := g.do("GET", "/v1/conversations/talk", "", g.keyFor("acme", "reader", "bob")...); a.status != http.StatusNotFound {
		t.Errorf("another reads it: %d %s", a.status, a.text)
	}
	// What is not to be kept is not, nor what nobody was to be told of.
	g.do("POST", responsesPath, `{"model":"small","input":"Psst","conversation":"talk","store":false}`, reader...)
	g.do("POST", messagesPath, `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"Psst"}],"memory":{"conversation":"talk","store":false}}`, reader...)
	if one := g.do("GET", "/v1/conversations/talk", "", reader...); one.at("turn_count") != float64(n) || strings.Contains(one.text, "Psst") {
		t.Errorf("%s", one.text)
	}
}

// A tool's result finds the call that it answers, which the conversation has.
func TestACallIsRememberedWithItsResult(t *testing.T) {
	g := open(t, nil)
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(`{"choices":[{"message":{"role":"assistant","content":null,
			"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`)}, nil
	}
	if a := g.do("POST", responsesPath, `{"model":"small","input":"Weather?","conversation":"talk"}`); a.at("output", 0, "call_id") != "c1" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	g.inference.unary = nil
	g.do("POST", responsesPath, `{"model":"small","input":[{"type":"function_call_output","call_id":"c1","output":"Sun"}],"conversation":"talk"}`)
	body := g.inference.last(t)
	if at(body, "messages", 1, "tool_calls", 0, "id") != "c1" || at(body, "messages", 2, "tool_call_id") != "c1" || at(body, "messages", 2, "content") != "Sun" {
		t.Errorf("the engine got %v", body["messages"])
	}
}

func TestConversationsRefusedInOtherShapes(t *testing.T) {
	g := open(t, nil)
	first := g.turn(`{"model":"small","input":"One"}`)
	for name, c := range map[string]struct{ path, body, field string }{
		"a path":                  {responsesPath, `{"model":"small","input":"x","conversation":"../x"}`, "conversation"},
		"nothing":                 {responsesPath, `{"model":"small","input":"x","conversation":""}`, "conversation"},
		"a number":                {responsesPath, `{"model":"small","input":"x","conversation":7}`, "conversation"},
		"an object without an id": {responsesPath, `{"model":"small","input":"x","conversation":{}}`, "conversation"},
		"two ways to go on":       {responsesPath, `{"model":"small","input":"x","conversation":"talk","previous_response_id":"` + first + `"}`, "conversation"},
		"by a chat's name":        {responsesPath, `{"model":"small","input":"x","memory":{"conversation":"talk"}}`, "memory"},
		"counted":                 {responsesPath + "/input_tokens", `{"model":"small","input":"x","conversation":"talk"}`, "conversation"},
		"a message of a path":     {messagesPath, `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"x"}],"memory":{"conversation":"../x"}}`, "memory.conversation"},
		"a message, counted":      {messagesPath + "/count_tokens", `{"model":"small","messages":[{"role":"user","content":"x"}],"memory":{"conversation":"talk"}}`, "memory"},
	} {
		a := g.do("POST", c.path, c.body)
		field := a.at("error", "param")
		if field == nil {
			field = a.at("error", "field")
		}
		if a.status != http.StatusBadRequest || field != c.field {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := g.do("POST", responsesPath, `{"model":"small","input":"x","conversation":null}`); a.status != http.StatusOK {
		t.Errorf("null: %d %s", a.status, a.text)
	}
}

// The turns of a conversation go to one worker, whose prefix cache is warm, unless the
// request says otherwise. No two owners' are the same.
func TestAConversationIsASession(t *testing.T) {
	g := open(t, nil)
	ada, bob := g.keyFor("acme", "reader", "ada"), g.keyFor("acme", "reader", "bob")
	session := func() string {
		g.inference.mu.Lock()
		defer g.inference.mu.Unlock()
		return g.inference.invoked[len(g.inference.invoked)-1].GetSessionId()
	}
	ask := func(conversation, more string, pairs ...string) string {
		t.Helper()
		if a := g.do("POST", chatPath, remembering("Hi", conversation, more), pairs...); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
		return session()
	}
	first := ask("talk", "", ada...)
	if first == "" || strings.Contains(first, "talk") || ask("talk", `,"stream":true`, ada...) != first {
		t.Errorf("the sessions are %q and %q", first, session())
	}
	g.do("POST", responsesPath, `{"model":"small","input":"Hi","conversation":"talk"}`, ada...)
	if session() != first {
		t.Errorf("a response's is %q, want %q", session(), first)
	}
	if other, others := ask("other", "", ada...), ask("talk", "", bob...); other == first || others == first || other == "" || others == "" {
		t.Errorf("another conversation's is %q, another owner's %q", other, others)
	}
	if got := ask("talk", "", append([]string{"X-Poterne-Session", "own"}, ada...)...); got != "own" {
		t.Errorf("who names one gets %q", got)
	}
	if got := ask("talk", `,"prompt_cache_key":"key"`, ada...); got != "key" {
		t.Errorf("who names a key gets %q", got)
	}
	g.do("POST", chatPath, fmt.Sprintf(sayHi, "small", ""), ada...)
	if session() != "" {
		t.Errorf("without a conversation it is %q", session())
	}
}

// With a master key nothing of what was said is in the store, summaries included, and
// whoever it is of reads it all the same.
func TestConversationsAreSealed(t *testing.T) {
	dsn := "sqlite://" + t.TempDir() + "/edge.db"
	g := open(t, func(cfg *edge.Config) {
		cfg.Security.Store = sqldb.DefaultConfig(dsn)
		cfg.Conversations.Key = masterKey("m1", "a")
	})
	g.do("POST", chatPath, remembering("My name is Ada.", "talk", ""))
	g.do("POST", chatPath, remembering("Who am I?", "talk", ""))
	if got := g.roles(t); !slices.Contains(got, "user: My name is Ada.") {
		t.Errorf("the model read %q", got)
	}
	if one := g.do("GET", "/v1/conversations/talk", ""); one.at("turns", 0, "messages", 0, "content") != "My name is Ada." || one.at("turn_count") != 2.0 {
		t.Errorf("%s", one.text)
	}
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig(dsn))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var body string
	if err := db.Reader().QueryRowContext(t.Context(), `SELECT body FROM edge_conversations`).Scan(&body); err != nil || strings.Contains(body, "Ada") || !strings.HasPrefix(body, "sealed-1 m1 ") {
		t.Errorf("kept is %q, %v", body, err)
	}
	// So is a response that is kept, and who goes on from it finds what was said.
	first := g.do("POST", responsesPath, `{"model":"small","input":"My name is Ada."}`)
	id, _ := first.at("id").(string)
	if again := g.do("POST", responsesPath, `{"model":"small","input":"Who am I?","previous_response_id":"`+id+`"}`); again.status != http.StatusOK {
		t.Errorf("%s", again.text)
	}
	if got := g.roles(t); !slices.Contains(got, "user: My name is Ada.") {
		t.Errorf("the model read %q", got)
	}
	if kept := g.do("GET", responsesPath+"/"+id+"/input_items", ""); !strings.Contains(kept.text, "My name is Ada.") {
		t.Errorf("%s", kept.text)
	}
	var sealed, all int
	if err := db.Reader().QueryRowContext(t.Context(), `SELECT COUNT(*), COALESCE(SUM(CASE WHEN input LIKE 'sealed-1 m1 %' AND response LIKE 'sealed-1 m1 %' THEN 1 ELSE 0 END), 0)
		FROM edge_responses`).Scan(&all, &sealed); err != nil || all != 2 || sealed != 2 {
		t.Errorf("%d of %d responses are sealed: %v", sealed, all, err)
	}
	bad := edge.DefaultConfig()
	bad.Conversations.Key = "short"
	if err := bad.Complete(); err == nil || !strings.Contains(err.Error(), "conversations.key") || strings.Contains(err.Error(), "short") {
		t.Errorf("a key that is none: %v", err)
	}
}
