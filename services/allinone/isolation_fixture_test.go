package allinone

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// marker is in every text that only the tenant acme knows.
const marker = "zebra7f3"

// acme is a tenant that has one of each thing.
type acme struct {
	g     *gate
	owner string // a key of its own, of the roles admin and custom
	// names are how requests name its things, and absent the same for things that
	// nobody has.
	names, absent map[string]string
}

// key makes a key, by the platform's administrator, and returns its id and itself.
func (g *gate) key(tenant, subject, role, name string) (id, key string) {
	g.t.Helper()
	var made struct {
		APIKey struct{ ID string } `json:"api_key"`
		Key    string
	}
	g.must("POST", "/v1/admin/api-keys", g.admin, fmt.Sprintf(`{"name":%q,"tenant":%q,"subject":%q,"roles":[%s]}`, name, tenant, subject, `"`+strings.ReplaceAll(role, ",", `","`)+`"`), &made)
	return made.APIKey.ID, made.Key
}

// must does what has to succeed.
func (g *gate) must(verb, path, key, body string, into any) {
	g.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got, err := g.rest(verb, path, key, body)
		if err != nil {
			g.t.Fatalf("%s %s: %v", verb, path, err)
		}
		if got.code == "200" {
			if into != nil {
				if err := json.Unmarshal([]byte(got.body), into); err != nil {
					g.t.Fatalf("%s %s: %v in %s", verb, path, err, got.body)
				}
			}
			return
		}
		// Models are loaded, and changes seen, a little later.
		if again := got.code == "503" || got.code == "404"; !again || time.Now().After(deadline) {
			g.t.Fatalf("%s %s: %s %s", verb, path, got.code, got.body)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// await asks until it is answered.
func (g *gate) await(path, key, body string) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		got, err := g.rest("POST", path, key, body)
		if err == nil && got.code == "200" {
			return
		}
		if err != nil || time.Now().After(deadline) {
			g.t.Fatalf("POST %s: %+v, %v", path, got, err)
		}
	}
}

// acme makes the tenant and what it has.
func (g *gate) acme() *acme {
	g.t.Helper()
	a := &acme{g: g}
	id, owner := g.key("acme", "alice."+marker, "custom,admin", marker+" key")
	a.owner = owner
	// They are registered, and loaded, a little later.
	g.await("/v1/embeddings", owner, `{"model":"sim-embedding","input":"x"}`)
	g.await("/v1/chat/completions", owner, `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`)
	g.must("POST", "/v1/collections", owner, `{"id":"vault","display_name":"`+marker+`"}`, nil)
	g.must("POST", "/v1/collections/vault/documents:batchUpsert", owner, `{"refresh":"wait","documents":[{"id":"doc-1","title":"`+marker+
		` title","text":"`+marker+` text","metadata":{"k":"`+marker+`"},"acl":{"principals":["tenant:acme","group:`+marker+`"]}}]}`, nil)

	const model = "/v1/registry/models/acme.private"
	g.must("POST", "/v1/registry/models", owner, `{"name":"acme.private","task":"TASK_CHAT","display_name":"`+marker+`","owner":"`+marker+
		`","card":"`+marker+`","labels":{"l":"`+marker+`"}}`, nil)
	version := `{"spec":{"task":"TASK_CHAT","engine":"sim","context_length":8192,"parameters":{"seed":"%d"}},"description":"` + marker + `"}`
	for i := range 2 {
		g.must("POST", model+"/versions", owner, fmt.Sprintf(version, i+1), nil)
	}
	g.must("PUT", model+"/aliases/production", owner, `{"version":1,"reason":"`+marker+`"}`, nil)
	g.must("PUT", model+"/aliases/canary", owner, `{"version":2,"reason":"`+marker+`"}`, nil)
	g.must("POST", model+"/versions/1/variants", owner, `{"variant":"small","description":"`+marker+`","spec":{"task":"TASK_CHAT","engine":"sim","context_length":8192,"parameters":{"seed":"9"}}}`, nil)
	g.must("PUT", model+"/split", owner, `{"arms":[{"name":"a","version":1,"weight":1000000}],"reason":"`+marker+`"}`, nil)
	g.must("POST", model+"/experiments", owner, `{"name":"trial","description":"`+marker+`","arms":[{"name":"control","version":1,"weight":500000},{"name":"other","version":2,"weight":500000}]}`, nil)
	g.must("POST", model+"/rollouts", owner, `{"rollout":"next","candidate":2,"alias":"canary","description":"`+marker+`","steps":[{"weight":10,"min_duration":"3600s"}]}`, nil)
	g.must("PUT", model+"/alias-protection", owner, `{"protected":["canaryx"],"reason":"`+marker+`"}`, nil)
	g.must("PUT", model+"/aliases/canaryx", owner, `{"version":1,"reason":"`+marker+`"}`, nil)
	var pending struct{ Changes []struct{ ID string } }
	g.must("GET", model+"/alias-changes", owner, "", &pending)
	if len(pending.Changes) != 1 {
		g.t.Fatalf("%+v", pending)
	}

	var chat struct{ ID string }
	g.must("POST", "/v1/chat/completions", owner, `{"model":"acme.private@v1","user":"`+marker+`","max_tokens":4,"messages":[{"role":"user","content":"`+marker+`"}]}`, &chat)
	g.must("POST", "/v1/feedback", owner, `{"response_id":"`+chat.ID+`","score":1,"comment":"`+marker+`"}`, nil)

	g.must("POST", "/v1/chat/completions", owner, `{"model":"acme.private@v1","max_tokens":4,"messages":[{"role":"user","content":"`+marker+`"}],"memory":{"conversation":"talk-1"}}`, nil)
	var talk struct{ ID string }
	g.must("POST", "/v1/conversations", owner, `{"metadata":{"a":"`+marker+`"},"items":[{"role":"user","content":"`+marker+`"}]}`, &talk)
	var said struct{ Data []struct{ ID string } }
	g.must("GET", "/v1/conversations/"+talk.ID+"/items", owner, "", &said)
	var kept struct{ ID string }
	g.must("POST", "/v1/responses", owner, `{"model":"acme.private@v1","instructions":"`+marker+`","max_output_tokens":4,"input":"`+marker+`"}`, &kept)
	g.must("POST", "/v1/admin/budgets", owner, `{"budget":{"id":"spend","scope":"team","scope_name":"`+marker+`","period":"month","unit":"tokens","amount":1000}}`, nil)
	g.must("PUT", "/v1/admin/webhooks/chat", owner, `{"webhook":{"url":"https://example.com/`+marker+`"}}`, nil)

	g.must("PUT", "/v1/admin/limits/tokens-of-acme", owner, `{"limit":{"kind":"LIMIT_KIND_TOTAL_TOKENS","by":["user"],"match":{"users":["`+marker+`"]},"amount":1000000}}`, nil)
	file, batch := a.batched()
	accountKey, request := a.secured(id), a.lastRequest()
	record := a.lastRecord()

	a.names = map[string]string{
		"collection": "vault", "document": "doc-1", "model": "acme.private", "experiment": "trial", "rollout": "next",
		"alias": "canary", "variant": "small", "change": pending.Changes[0].ID, "key": id, "response": chat.ID,
		"tenant": "acme", "account": "robot", "account_key": accountKey, "secret": owner, "request": request, "record": record,
		"session": sessionID, "subject": visitor, "group": secretGroup, "ban": banned, "kept": kept.ID, "budget": "spend", "webhook": "chat", "limit": "tokens-of-acme", "file": file, "batch": batch, "conversation": "talk-1", "talk": talk.ID, "item": said.Data[0].ID,
	}
	a.absent = map[string]string{
		"collection": "vaulz", "document": "doc-9", "model": "acme.privaty", "experiment": "trjal", "rollout": "nexu",
		"alias": "canarz", "variant": "smalm", "change": changed(pending.Changes[0].ID), "key": changed(id), "response": changed(chat.ID),
		"tenant": "acmf", "account": "robou", "account_key": changed(accountKey), "secret": g.unknown, "request": changed(request), "record": changed(record),
		"session": changed(sessionID), "subject": "bobbz", "group": "group8", "ban": "198.51.100.8", "kept": changed(kept.ID), "budget": "spene", "webhook": "chau", "limit": "tokens-of-acmf", "file": changed(file), "batch": changed(batch), "conversation": "talk-9", "talk": changed(talk.ID), "item": changed(said.Data[0].ID),
	}
	return a
}

// changed is a text that is as well-formed and is nothing's.
func changed(id string) string {
	last := byte('7')
	if id[len(id)-1] == last {
		last = '8'
	}
	return id[:len(id)-1] + string(last)
}

var (
	timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z|"(?:created|seconds|nanos)": ?"?\d+"?`)
	identifier = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}`)
	newSecret  = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]{44}`) // of a webhook that was just made
)

// normal is an answer without what differs between any two, and without the names
// that were asked for.
func (a *acme) normal(got answer) string {
	text := newSecret.ReplaceAllString(got.code+"\n"+got.body+"\n"+got.headers, "<secret>")
	var names []string
	what := make(map[string]string)
	for thing := range a.names {
		for _, name := range []string{a.names[thing], a.absent[thing]} {
			names, what[name] = append(names, name), thing
		}
	}
	// A name may be within another.
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(len(y)-len(x), strings.Compare(x, y)) })
	const long = 4 // shorter names may be in an identifier by chance
	for _, short := range []bool{false, true} {
		for _, name := range names {
			if len(name) < long == short {
				text = strings.ReplaceAll(text, name, "<"+what[name]+">")
			}
		}
		text = identifier.ReplaceAllString(timestamps.ReplaceAllString(text, "<time>"), "<id>")
	}
	return text
}
