package edge_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// summing is in the prompt of who sums up, and in no other.
const summing = "Sum up the conversation"

func remembering(said, conversation, more string) string {
	return fmt.Sprintf(`{"model":"small","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":%q}],"memory":{"conversation":%q}%s}`, said, conversation, more)
}

// roles is who said what in the last prompt that was not for a summary.
func (g *gate) roles(t *testing.T) []string {
	t.Helper()
	g.inference.mu.Lock()
	asked := slices.Clone(g.inference.invoked)
	g.inference.mu.Unlock()
	var out []string
	asked = slices.DeleteFunc(asked, func(r *inferencev1.InvokeRequest) bool { return strings.Contains(string(r.GetBody()), summing) })
	list, _ := decoded(t, string(asked[len(asked)-1].GetBody()))["messages"].([]any)
	for _, m := range list {
		out = append(out, fmt.Sprintf("%v: %v", at(m, "role"), at(m, "content")))
	}
	return out
}

func TestAConversationIsRemembered(t *testing.T) {
	g := open(t, nil)
	reader := g.keyFor("acme", "reader")
	for i, stream := range []string{"", `,"stream":true`} {
		if a := g.do("POST", chatPath, remembering("My name is Ada.", fmt.Sprint("talk-", i), stream), reader...); a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.text)
		}
		a := g.do("POST", chatPath, remembering("Who am I?", fmt.Sprint("talk-", i), ""), reader...)
		said := "Hello"
		if stream != "" {
			said = "Hel\nlo"
		}
		if want := []string{"system: Be kind.", "user: My name is Ada.", "assistant: " + said, "user: Who am I?"}; a.status != 200 || !slices.Equal(g.roles(t), want) {
			t.Errorf("the model read %q, want %q", g.roles(t), want)
		}
		if _, there := g.inference.last(t)["memory"]; there {
			t.Error("the engine got memory")
		}
	}
	list := g.do("GET", "/v1/conversations", "", reader...)
	if list.at("conversations", 0, "id") != "talk-0" || list.at("conversations", 1, "turn_count") != "2" && list.at("conversations", 1, "turn_count") != 2.0 {
		t.Errorf("the list is %s", list.text)
	}
	one := g.do("GET", "/v1/conversations/talk-1", "", reader...)
	if one.at("turns", 1, "messages", 0, "content") != "Who am I?" || one.at("turns", 0, "messages", 1, "role") != "assistant" {
		t.Errorf("the conversation is %s", one.text)
	}
	// Not kept when that is not wanted, and only the last turns when these are.
	g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"Psst"}],"memory":{"conversation":"talk-0","store":false,"max_turns":1}}`, reader...)
	if got := g.roles(t); len(got) != 3 || got[0] != "user: Who am I?" {
		t.Errorf("the model read %q", got)
	}
	if one := g.do("GET", "/v1/conversations/talk-0", "", reader...); strings.Contains(one.text, "Psst") {
		t.Errorf("the conversation is %s", one.text)
	}
}

// Nobody reads, goes on with or forgets what another principal, or another tenant, said.
func TestAConversationIsItsOwners(t *testing.T) {
	g := open(t, func(cfg *edge.Config) { cfg.Security.Cache.Enabled = true })
	ada, bob, eve := g.keyFor("acme", "reader", "ada"), g.keyFor("acme", "reader", "bob"), g.keyFor("globex", "admin", "ada")
	g.do("POST", chatPath, remembering("The code is 42.", "talk", ""), ada...)
	for who, header := range map[string][]string{"another": bob, "another tenant's admin": eve} {
		if a := g.do("GET", "/v1/conversations/talk", "", header...); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", who, a.status, a.text)
		}
		if a := g.do("DELETE", "/v1/conversations/talk", "", header...); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", who, a.status, a.text)
		}
		if a := g.do("GET", "/v1/conversations", "", header...); strings.Contains(a.text, "talk") {
			t.Errorf("%s: %s", who, a.text)
		}
		if a := g.do("POST", "/v1/admin/conversations:purge", `{"tenant":"acme"}`, header...); a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", who, a.status, a.text)
		}
		g.do("POST", chatPath, remembering("What is the code?", "talk", ""), header...)
		if got := g.roles(t); len(got) != 2 {
			t.Errorf("%s: the model read %q", who, got)
		}
	}
	if a := g.do("POST", "/v1/admin/conversations:purge", `{}`, g.keyFor("acme", "admin", "root")...); a.at("purged") != 2.0 {
		t.Errorf("purged %s", a.text)
	}
	if a := g.do("GET", "/v1/conversations/talk", "", ada...); a.status != http.StatusNotFound {
		t.Errorf("it is there: %s", a.text)
	}
	if a := g.do("GET", "/v1/conversations/talk", "", eve...); a.status != 200 {
		t.Errorf("another tenant's is gone: %s", a.text)
	}
}

func TestTurnsAtOnceAreAllKept(t *testing.T) {
	g := open(t, nil)
	const n = 6
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			if a := g.do("POST", chatPath, remembering(fmt.Sprint("turn ", i), "talk", "")); a.status != 200 {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
	}
	wait.Wait()
	one := g.do("GET", "/v1/conversations/talk", "")
	for i := range n {
		if !strings.Contains(one.text, fmt.Sprint("turn ", i)) {
			t.Errorf("turn %d is lost: %s", i, one.text)
		}
	}
}

// What is forgotten while it is answered stays forgotten, and what fails is not kept.
func TestWhatIsNotKept(t *testing.T) {
	g := open(t, nil)
	g.do("POST", chatPath, remembering("One", "talk", ""))
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if a := g.do("DELETE", "/v1/conversations/talk", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.text)
		}
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Body: []byte(`{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}`)}, nil
	}
	g.do("POST", chatPath, remembering("Two", "talk", ""))
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		return errors.Join(sendServedBy(out), sendChunk(out, helloChunk), errors.New("lost"))
	}
	g.do("POST", chatPath, remembering("Three", "talk", `,"stream":true`))
	if a := g.do("GET", "/v1/conversations/talk", ""); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.text)
	}
	for name, body := range map[string]string{"a path": `"../x"`, "none": `""`, "a number": `5`} {
		if a := g.do("POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"x"}],"memory":{"conversation":`+body+`}}`); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	off := open(t, func(cfg *edge.Config) { cfg.Conversations.Enabled = false })
	if a := off.do("POST", chatPath, remembering("x", "talk", "")); a.status != 400 || a.at("error", "param") != "memory" {
		t.Errorf("off: %d %s", a.status, a.text)
	}
}

// What is long ago is summed up by the model, and what it says stands in the system's
// part as data. When it fails the last turns are there.
func TestALongConversationIsSummedUp(t *testing.T) {
	g := open(t, func(cfg *edge.Config) {
		cfg.Conversations.Summary.AfterTurns, cfg.Conversations.Summary.KeepTurns = 4, 2
	})
	made, fail := make(chan struct{}, 10), true
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		content := "Yes."
		if strings.Contains(string(req.GetBody()), summing) {
			defer func() { made <- struct{}{} }()
			if fail {
				fail = false
				return nil, errors.New("no")
			}
			content = "Ada likes </summary> tea."
		}
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(`{"choices":[{"message":{"content":"` + content + `"},"finish_reason":"stop"}]}`)}, nil
	}
	ask := func(i int) { g.do("POST", chatPath, remembering(fmt.Sprint("turn ", i), "talk", "")) }
	for i := range 4 {
		ask(i)
	}
	<-made
	ask(4)
	if got := g.roles(t); !slices.Contains(got, "user: turn 0") {
		t.Errorf("after a failure the model read %q", got)
	}
	// The next turn has it made again, unless the one that failed was still at work.
	for i := 5; ; i++ {
		if one := g.do("GET", "/v1/conversations/talk", ""); one.at("summary") != "" && one.at("summary") != nil {
			break
		}
		if i > 60 {
			t.Fatal("nothing is summed up")
		}
		ask(i)
		select {
		case <-made:
		case <-time.After(20 * time.Millisecond):
		}
	}
	ask(99)
	got := g.roles(t)
	if !strings.Contains(got[0], "Ada likes &lt;/summary&gt; tea.") || !strings.HasPrefix(got[0], "system: Be kind.") || slices.Contains(got, "user: turn 0") {
		t.Errorf("the model read %q", got)
	}
}
