package edge_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

const conversationsPath = "/v1/conversations"

// begunTalk begins a conversation, and returns its id.
func (g *gate) begunTalk(body string, pairs ...string) string {
	g.t.Helper()
	a := g.do("POST", conversationsPath, body, pairs...)
	id, _ := a.at("id").(string)
	if a.status != http.StatusOK || !regexp.MustCompile(`^conv_[0-9a-f]{32}$`).MatchString(id) {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	return id
}

// items is what was said in a conversation as OpenAI's items, the oldest first, and
// their ids.
func (g *gate) items(id string, pairs ...string) (said, ids []string) {
	g.t.Helper()
	a := g.do("GET", conversationsPath+"/"+id+"/items?order=asc&limit=100&include=message.output_text.logprobs", "", pairs...)
	list, _ := a.at("data").([]any)
	if a.status != http.StatusOK || a.at("object") != "list" {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	for _, item := range list {
		id, _ := at(item, "id").(string)
		ids = append(ids, id)
		switch at(item, "type") {
		case "function_call":
			said = append(said, fmt.Sprint("calls ", at(item, "call_id"), " ", at(item, "name"), at(item, "arguments")))
		case "function_call_output":
			said = append(said, fmt.Sprint("gives ", at(item, "call_id"), " ", at(item, "output")))
		default:
			said = append(said, fmt.Sprint(at(item, "role"), " ", at(item, "content", 0, "type"), " ", at(item, "content", 0, "text")))
		}
	}
	return said, ids
}

// TestOpenAIsConversations goes the way of OpenAI's clients: a conversation is made,
// added to, gone on with in both shapes, read, pruned and deleted.
func TestOpenAIsConversations(t *testing.T) {
	g := open(t, nil)
	reader := g.keyFor("acme", "reader", "ada")
	id := g.begunTalk(`{"metadata":{"topic":"names"},"items":[{"type":"message","role":"developer","content":"Be brief."},
		{"role":"user","content":[{"type":"input_text","text":"My name"},{"type":"input_text","text":"is Ada."}]}]}`, reader...)
	path := conversationsPath + "/" + id
	if a := g.do("GET", path, "", reader...); a.at("object") != "conversation" || a.at("created_at") == nil || a.at("metadata", "topic") != "names" || a.at("id") != id {
		t.Errorf("%s", a.text)
	}
	added := g.do("POST", path+"/items", `{"items":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello Ada.","annotations":[]}]},
		{"type":"function_call","call_id":"c1","name":"weather","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"Sun"},{"role":"user","content":"Thanks."}]}`, reader...)
	if added.status != http.StatusOK || added.at("object") != "list" || added.at("data", 3, "id") != added.at("last_id") || added.at("data", 0, "status") != "completed" {
		t.Fatalf("%d %s", added.status, added.text)
	}
	before := []string{
		"developer input_text Be brief.", "user input_text My name\n\nis Ada.", "assistant output_text Hello Ada.", "calls c1 weather{}", "gives c1 Sun", "user input_text Thanks.",
	}
	said, ids := g.items(id, reader...)
	if !slices.Equal(said, before) || added.at("data", 1, "id") != ids[3] {
		t.Errorf("it has %q, want %q; ids %q", said, before, ids)
	}
	// Both shapes go on with it, and say which it is.
	for _, body := range []string{`{"model":"small","input":"Who am I?","conversation":%q}`, `{"model":"small","input":"Who am I?","conversation":{"id":%q},"stream":true}`} {
		a := g.do("POST", responsesPath, fmt.Sprintf(body, id), reader...)
		if a.status != http.StatusOK || !strings.Contains(a.text, `"conversation":{"id":"`+id+`"}`) {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	g.do("POST", chatPath, remembering("And now?", id, ""), reader...)
	if want := []string{"system: Be kind.", "developer: Be brief.", "user: My name\n\nis Ada.", "assistant: Hello Ada.", "tool: Sun", "user: Thanks."}; !slices.Equal(g.roles(t)[:len(want)], want) {
		t.Errorf("the model read %q", g.roles(t))
	}
	said, ids = g.items(id, reader...)
	if len(said) != 12 || said[10] != "user input_text And now?" || said[11] != "assistant output_text Hello" {
		t.Fatalf("it has %q", said)
	}
	// The items that others follow keep their ids.
	for _, gone := range []int{3, 2, 0} { // the call, the message that made it, and one alone in its place
		if a := g.do("DELETE", path+"/items/"+ids[gone], "", reader...); a.status != http.StatusOK || a.at("object") != "conversation" || a.at("id") != id {
			t.Errorf("%d %s", a.status, a.text)
		}
		if a := g.do("GET", path+"/items/"+ids[gone], "", reader...); a.status != http.StatusNotFound || a.at("error", "param") != "item_id" {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	left, leftIDs := g.items(id, reader...)
	if want := slices.Concat(said[1:2], said[4:]); !slices.Equal(left, want) || !slices.Equal(leftIDs, slices.Concat(ids[1:2], ids[4:])) {
		t.Errorf("left are %q, want %q", left, want)
	}
	if a := g.do("GET", path+"/items/"+ids[4], "", reader...); a.at("call_id") != "c1" || a.at("id") != ids[4] || a.at("type") != "function_call_output" {
		t.Errorf("%s", a.text)
	}
	if a := g.do("POST", path, `{"metadata":{"topic":"weather"}}`, reader...); a.status != http.StatusOK || a.at("metadata", "topic") != "weather" || a.at("object") != "conversation" {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do("DELETE", path, "", reader...); a.at("id") != id || a.at("object") != "conversation.deleted" || a.at("deleted") != true {
		t.Errorf("%s", a.text)
	}
	// What the gateway named is not begun again by whoever still has the name.
	for _, ask := range [][3]string{
		{"GET", path, ""},
		{"GET", path + "/items", ""},
		{"POST", path, `{"metadata":{}}`},
		{"POST", path + "/items", `{"items":[{"role":"user","content":"x"}]}`},
		{"POST", responsesPath, `{"model":"small","input":"x","conversation":"` + id + `"}`},
		{"POST", chatPath, remembering("x", id, "")},
	} {
		if a := g.do(ask[0], ask[1], ask[2], reader...); a.status != http.StatusNotFound || a.at("error", "type") != "invalid_request_error" {
			t.Errorf("%s %s: %d %s", ask[0], ask[1], a.status, a.text)
		}
	}
}

func TestItemsComeInPages(t *testing.T) {
	g := open(t, nil)
	id := g.begunTalk(`{}`)
	if a := g.do("GET", conversationsPath+"/"+id+"/items", ""); a.text != `{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}` {
		t.Errorf("%s", a.text)
	}
	for i := range 3 {
		g.do("POST", conversationsPath+"/"+id+"/items", `{"items":[`+strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"role":"user","content":"n%d"},`, i), 9), ",")+`]}`)
	}
	said, ids := g.items(id)
	if len(said) != 27 {
		t.Fatalf("%q", said)
	}
	slices.Reverse(ids)
	var got []string
	for after := ""; ; {
		a := g.do("GET", conversationsPath+"/"+id+"/items"+after, "")
		list, _ := a.at("data").([]any)
		for _, item := range list {
			got = append(got, fmt.Sprint(at(item, "id")))
		}
		if a.at("has_more") != true {
			break
		}
		if len(list) != 20 || a.at("last_id") != at(list[19], "id") || a.at("first_id") != at(list[0], "id") {
			t.Fatalf("%s", a.text)
		}
		after = fmt.Sprint("?after=", a.at("last_id"))
	}
	if !slices.Equal(got, ids) {
		t.Errorf("the pages have %q, want %q", got, ids)
	}
}

func TestItemsAtOnceAreAllKept(t *testing.T) {
	g := open(t, nil)
	id := g.begunTalk(`{}`)
	const n = 6
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			if a := g.do("POST", conversationsPath+"/"+id+"/items", fmt.Sprintf(`{"items":[{"role":"user","content":"n%d"}]}`, i)); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
	}
	wait.Wait()
	if said, ids := g.items(id); len(said) != n || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != n {
		t.Errorf("%q %q", said, ids)
	}
}

func TestItemsAreTheirOwners(t *testing.T) {
	g := open(t, nil)
	ada := g.keyFor("acme", "reader", "ada")
	id := g.begunTalk(`{"items":[{"role":"user","content":"The code is 42."}]}`, ada...)
	_, ids := g.items(id, ada...)
	path := conversationsPath + "/" + id
	for who, header := range map[string][]string{"another": g.keyFor("acme", "reader", "bob"), "another tenant's admin": g.keyFor("globex", "admin", "ada")} {
		for _, ask := range [][3]string{
			{"GET", path, ""},
			{"POST", path, `{"metadata":{"a":"b"}}`},
			{"DELETE", path, ""},
			{"GET", path + "/items", ""},
			{"GET", path + "/items/" + ids[0], ""},
			{"POST", path + "/items", `{"items":[{"role":"user","content":"x"}]}`},
			{"DELETE", path + "/items/" + ids[0], ""},
			{"POST", responsesPath, `{"model":"small","input":"What is the code?","conversation":"` + id + `"}`},
		} {
			if a := g.do(ask[0], ask[1], ask[2], header...); a.status != http.StatusNotFound || strings.Contains(a.text, "code is 42") {
				t.Errorf("%s: %s %s: %d %s", who, ask[0], ask[1], a.status, a.text)
			}
		}
	}
	if said, _ := g.items(id, ada...); len(said) != 1 {
		t.Errorf("%q", said)
	}
}

func TestConversationsRefused(t *testing.T) {
	g := open(t, func(cfg *edge.Config) { cfg.Conversations.MaxBytes = 4096; cfg.Conversations.PerSubject = 2 })
	id := g.begunTalk(`{}`)
	path := conversationsPath + "/" + id
	many := `{"role":"user","content":"x"}` + strings.Repeat(`,{"role":"user","content":"x"}`, 20)
	for name, c := range map[string]struct{ path, body, field string }{
		"too many items":         {path + "/items", `{"items":[` + many + `]}`, "items"},
		"too many to begin with": {conversationsPath, `{"items":[` + many + `]}`, "items"},
		"no items":               {path + "/items", `{"items":[]}`, "items"},
		"too large":              {path + "/items", `{"items":[{"role":"user","content":"` + strings.Repeat("x", 5000) + `"}]}`, "items"},
		"too large to begin":     {conversationsPath, `{"items":[{"role":"user","content":"` + strings.Repeat("x", 5000) + `"}]}`, "items"},
		"an image":               {path + "/items", `{"items":[{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/x"}]}]}`, "items[0].content[0].type"},
		"an image of a function": {path + "/items", `{"items":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"https://example.com/x"}]}]}`, "items[0].output[0].type"},
		"a file":                 {path + "/items", `{"items":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}`, "items[0].content[0].type"},
		"a thought":              {path + "/items", `{"items":[{"type":"reasoning","summary":[]}]}`, "items[0].type"},
		"a tool of OpenAI's":     {path + "/items", `{"items":[{"type":"web_search_call"}]}`, "items[0].type"},
		"nobody":                 {path + "/items", `{"items":[{"content":"x"}]}`, "items[0].role"},
		"no call":                {path + "/items", `{"items":[{"type":"function_call_output","output":"x"}]}`, "items[0].call_id"},
		"too many notes":         {path, `{"metadata":{` + strings.TrimSuffix(strings.Repeat(`"k%d":"v",`, 17), ",") + `}}`, "metadata"},
	} {
		body := c.body
		for i := range 17 {
			body = strings.Replace(body, "k%d", fmt.Sprint("k", i), 1)
		}
		if a := g.do("POST", c.path, body); a.status != http.StatusBadRequest || a.at("error", "param") != c.field || a.at("error", "type") != "invalid_request_error" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for query, field := range map[string]string{"limit=101": "limit", "order=up": "order", "after=msg_1": "after"} {
		if a := g.do("GET", path+"/items?"+query, ""); a.status != http.StatusBadRequest || a.at("error", "param") != field {
			t.Errorf("%s: %d %s", query, a.status, a.text)
		}
	}
	if said, _ := g.items(id); len(said) != 0 {
		t.Errorf("%q was kept", said)
	}
	// Those that rest longest go first, by whichever way they came.
	g.begunTalk(`{}`)
	g.begunTalk(`{}`)
	if a := g.do("GET", path, ""); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.text)
	}
	off := open(t, func(cfg *edge.Config) { cfg.Conversations.Enabled = false })
	if a := off.do("POST", conversationsPath, `{}`); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// What the detectors take out of requests is not kept of items either, and what they
// block is not added.
func TestItemsAreInspected(t *testing.T) {
	g := guarded(t)
	id := g.begunTalk(`{"items":[{"role":"user","content":"Write to ` + address + `"},{"type":"function_call","call_id":"c1","name":"mail","arguments":"{\"to\":\"` + address + `\"}"}]}`)
	if a := g.do("GET", conversationsPath+"/"+id+"/items", ""); strings.Contains(a.text, address) || !strings.Contains(a.text, "Write to") {
		t.Errorf("%s", a.text)
	}
	if a := g.do("POST", conversationsPath+"/"+id+"/items", `{"items":[{"role":"user","content":"The key is `+accessKey+`"}]}`); a.status != http.StatusBadRequest || a.at("error", "code") != "content_filter" {
		t.Errorf("%d %s", a.status, a.text)
	}
	if said, _ := g.items(id); len(said) != 2 {
		t.Errorf("it has %q", said)
	}
}
