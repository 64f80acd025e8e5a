package edge_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/config"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const (
	settingsPath = "/v1/admin/audit-content-settings"
	contentPath  = "/v1/admin/audit-content"
	spoken       = "xylophone7f3"
)

func masterKey(name, fill string) config.Secret {
	return config.Secret(name + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 32))))
}

// recorded returns the record of an answer.
func (g *gate) recorded(a answer) map[string]any {
	g.t.Helper()
	list := g.do("GET", "/v1/admin/audit?request_id="+a.header.Get("X-Request-Id"), "")
	rec, _ := list.at("records", 0).(map[string]any)
	if rec == nil {
		g.t.Fatalf("no record: %s", list.text)
	}
	return rec
}

func TestContentIsKeptReadAndErased(t *testing.T) {
	dir := t.TempDir()
	g := open(t, func(c *edge.Config) {
		c.DataDir = dir
		c.Security.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(dir, "edge.db"))
		c.Security.Audit.Content.Key = masterKey("m1", "a")
		c.Security.Audit.Content.MaxBytes, c.Security.Audit.Content.QueueBytes = 2048, 1<<20
		c.Detectors.Rules = []edge.DetectorRule{{Kinds: []string{"pii/*"}, Action: "redact"}}
	})
	bearer := func(subject, roles string) []string {
		a := g.do("POST", "/v1/admin/api-keys", `{"name":"k","tenant":"acme","subject":"`+subject+`","roles":["`+roles+`"]}`)
		return []string{"Authorization", "Bearer " + text(a.at("key"))}
	}
	admin, ada := bearer("root", "admin"), bearer("ada", "reader")
	ask := chat(spoken+" ada@example.com") + "}"

	if a := g.do("GET", settingsPath, "", admin...); a.at("settings", "enabled") != false || a.at("settings", "available") != true {
		t.Fatalf("%s", a.text)
	}
	before := g.recorded(g.do("POST", chatPath, ask, ada...))
	if before["content"] != "" || g.do("GET", contentPath+"/"+text(before["id"]), "", admin...).at("state") != "none" {
		t.Fatalf("%v is kept although nobody asked for it", before)
	}
	if a := g.do("PUT", settingsPath, `{"enabled":true}`, admin...); a.status != http.StatusOK || a.at("settings", "master_key_id") != "m1" {
		t.Fatalf("%s", a.text)
	}

	unary := g.recorded(g.do("POST", chatPath, ask, ada...))
	got := g.do("GET", contentPath+"/"+text(unary["id"]), "", admin...)
	if unary["content"] != "kept" || got.at("state") != "kept" || !strings.Contains(text(got.at("request")), spoken+" [REDACTED email]") ||
		strings.Contains(got.text, "ada@example") || !strings.Contains(text(got.at("answer")), `"role":"assistant"`) {
		t.Fatalf("%v: %s", unary, got.text)
	}
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		for range 3 {
			if err := sendChunk(out, `{"choices":[{"index":0,"delta":{"content":"`+strings.Repeat("é", 600)+`"}}]}`); err != nil {
				return err
			}
		}
		return sendFinish(out)
	}
	stream := g.recorded(g.do("POST", chatPath, chat(spoken)+`,"stream":true}`, ada...))
	got = g.do("GET", contentPath+"/"+text(stream["id"]), "", admin...)
	if text(got.at("state")) != "kept" || got.at("answer_cut") != true || text(got.at("answer_bytes")) != "3600" && got.at("answer_bytes") != 3600.0 ||
		strings.Count(text(got.at("answer")), "é") != 1024 || got.at("request_cut") != false {
		t.Fatalf("%s", got.text)
	}
	long := g.recorded(g.do("POST", chatPath, chat(strings.Repeat("long ", 1000))+"}", ada...))
	if got = g.do("GET", contentPath+"/"+text(long["id"]), "", admin...); got.at("request_cut") != true || len(text(got.at("request"))) != 2048 {
		t.Fatalf("%s", got.text)
	}

	// Who may not: the person, a reader, another tenant's administrators, the
	// platform's too.
	id := text(unary["id"])
	for who, want := range map[string]int{"ada": http.StatusForbidden, "platform": http.StatusNotFound} {
		pairs := map[string][]string{"ada": ada, "platform": nil}[who]
		for _, path := range []string{contentPath + "/" + id, contentPath + "/" + id[:len(id)-1] + "0"} {
			if a := g.do("GET", path, "", pairs...); a.status != want || strings.Contains(a.text, spoken) {
				t.Errorf("%s gets %d %s from %s", who, a.status, a.text, path)
			}
		}
	}
	if a := g.do("PUT", settingsPath, `{"enabled":true,"tenant":"default"}`, admin...); a.status != http.StatusForbidden {
		t.Errorf("an administrator changes another tenant's settings: %d", a.status)
	}
	reads := g.do("GET", `/v1/admin/audit?filter=method%3D%22/poterne.edge.v1.AuditContentService/ReadAuditContent%22%20AND%20resource%3A*`, "", admin...)
	if recs, _ := reads.at("records").([]any); len(recs) < 4 || !strings.Contains(reads.text, "audit-content/"+id) && !strings.Contains(reads.text, "audit-content "+id) {
		t.Errorf("readings are not recorded: %s", reads.text)
	}

	// A copy of everything, as a backup has it.
	g.nowhere(t, dir, spoken)
	if a := g.do("POST", contentPath+":deleteSubject", `{"subject":"ada"}`, admin...); a.at("destroyed_keys") != 1.0 {
		t.Fatalf("%s", a.text)
	}
	if a := g.do("POST", contentPath+":deleteSubject", `{"subject":"ada"}`, admin...); a.at("destroyed_keys") != 0.0 {
		t.Errorf("%s", a.text)
	}
	if got = g.do("GET", contentPath+"/"+id, "", admin...); got.at("state") != "erased" || got.at("erase_time") == nil || strings.Contains(got.text, spoken) {
		t.Errorf("%s", got.text)
	}
	if a := g.do("POST", "/v1/admin/audit:verify", "{}"); a.at("intact") != true {
		t.Errorf("%s", a.text)
	}
	after := g.recorded(g.do("POST", chatPath, ask, ada...))
	if got = g.do("GET", contentPath+"/"+text(after["id"]), "", admin...); got.at("state") != "kept" {
		t.Errorf("after the deletion: %v %s", after, got.text)
	}
	if a := g.do("POST", contentPath+":deleteTenant", `{"tenant":"acme"}`); a.at("destroyed_keys") != 1.0 {
		t.Errorf("%s", a.text)
	}
	if got = g.do("GET", contentPath+"/"+text(after["id"]), "", admin...); got.at("state") != "erased" {
		t.Errorf("%s", got.text)
	}
	if a := g.do("GET", settingsPath, "", admin...); a.at("settings", "enabled") != false {
		t.Errorf("%s", a.text)
	}
	if rec := g.recorded(g.do("POST", chatPath, ask, ada...)); rec["content"] != "" {
		t.Errorf("%v", rec)
	}
	g.nowhere(t, dir, spoken)
}

// nowhere looks into every file for what must not be read there.
func (g *gate) nowhere(t *testing.T, dir string, words ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, word := range words {
			if strings.Contains(string(raw), word) || strings.Contains(string(raw), base64.StdEncoding.EncodeToString([]byte(word))[:8]) {
				t.Errorf("%s has %q in it", filepath.Base(path), word)
			}
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Fatalf("%d files, %v", files, err)
	}
}

func TestContentNeedsAMasterKey(t *testing.T) {
	g := open(t, nil)
	a := g.do("PUT", settingsPath, `{"enabled":true}`)
	if a.status != http.StatusBadRequest && a.status != http.StatusConflict && a.status != http.StatusPreconditionFailed || !strings.Contains(a.text, "audit.content.key") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.do("PUT", settingsPath, `{"enabled":false}`); a.status != http.StatusOK || a.at("settings", "available") != false {
		t.Errorf("%d %s", a.status, a.text)
	}
	if rec := g.recorded(g.do("POST", chatPath, chat("x")+"}")); rec["content"] != "" {
		t.Errorf("%v", rec)
	}
}

// Two edges on one store: what is wanted, and what is erased, both know within a
// second.
func TestEdgesKnowOfContentWithinASecond(t *testing.T) {
	dsn := config.SecretURL("sqlite://" + filepath.Join(t.TempDir(), "edge.db"))
	shared := func(c *edge.Config) {
		c.Security.Store.DSN, c.Security.Audit.Content.Key = dsn, masterKey("m1", "a")
		c.Security.Keys.Pepper = config.Secret(strings.Repeat("p", 32))
	}
	a := open(t, shared)
	b := open(t, shared)
	b.key = a.key
	within := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Second); ; <-time.After(20 * time.Millisecond) {
			if rec := b.recorded(b.do("POST", chatPath, chat("x")+"}")); rec["content"] == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("after a second: %v", rec)
			}
		}
	}
	a.do("PUT", settingsPath, `{"enabled":true}`)
	within("kept")
	rec := b.recorded(b.do("POST", chatPath, chat("x")+"}"))
	if got := a.do("GET", contentPath+"/"+text(rec["id"]), ""); got.at("state") != "kept" {
		t.Fatalf("the other edge does not read it: %s", got.text)
	}
	a.do("POST", contentPath+":deleteTenant", `{}`)
	within("")
}
