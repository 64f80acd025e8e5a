package cli

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestTrafficVerbs asks a gateway by every verb about limits, prices, budgets, usage
// and the cache: what it asks, what it shows, and what is refused before it asks.
func TestTrafficVerbs(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		asked  string // method, path and body; empty: nothing is asked
		answer string
		says   string
	}{
		{"limits list --tenant acme", 0, "GET /v1/admin/limits?tenant=acme", `{"limits":[{"name":"few","kind":"LIMIT_KIND_TOTAL_TOKENS","amount":"9"}]}`, "few"},
		{
			"limits list", 0, "GET /v1/admin/limits", `{"limits":[{"name":"few","match":{"tenants":[],"models":["gpt-*","small"],"routes":["embed"]}},{"name":"all","match":{"models":[]}}]}`,
			"models=gpt-*,small routes=embed  ",
		},
		{"limits list -o json", 0, "GET /v1/admin/limits", `{"limits":[{"name":"few","match":{"models":["gpt-*"]}}]}`, `"models": [`},
		{"limits set few --amount 9 --routes embed", 0, "PUT /v1/admin/limits/few", `{"limit":{"name":"few","match":{"routes":["embed"]}}}`, "routes=embed"},
		{
			"limits set few --kind total-tokens --amount 9 --by tenant,user --models gpt-* --period 90s --check", 0,
			`PUT /v1/admin/limits/few {"etag":"","limit":{"amount":9,"away":"LIMIT_AWAY_LOCAL","burst":0,"by":["tenant","user"],"disabled":false,"kind":"LIMIT_KIND_TOTAL_TOKENS"`, `{"limit":{"name":"few"}}`, "few",
		},
		{"limits set few --kind LIMIT_KIND_TOTAL_TOKENS --amount 9", 0, `PUT /v1/admin/limits/few {"etag":"","limit":{"amount":9,"away":"LIMIT_AWAY_LOCAL","burst":0,"by":null,"disabled":false,"kind":"LIMIT_KIND_TOTAL_TOKENS"`, `{"limit":{"name":"few"}}`, "few"},
		{"limits set a/b --amount 1", 0, "PUT /v1/admin/limits/a%2Fb", `{"limit":{}}`, ""},
		{"limits set few", 2, "", "", ""},
		{"limits set --amount 1", 2, "", "", ""},
		{"limits set few --amount 0", 2, "", "", "--amount"},
		{"limits set few --amount many", 2, "", "", ""},
		{"limits set few --amount 1 --period soon", 2, "", "", ""},
		{"limits set few --amount 1 --kind sandwiches", 2, "", "", `--kind must be requests, input-tokens, output-tokens, total-tokens or concurrent-requests, got "sandwiches"`},
		{"limits set few --amount 1 --away LIMIT_AWAY_OFTEN", 2, "", "", `--away must be local, allow or refuse, got`},
		{"limits set few --amount 1 --models smoll", 0, "PUT /v1/admin/limits/few {", `{"limit":{"name":"few"},"warnings":["there is none"]}`, "warning: there is none"},
		{"limits delete few --etag 4", 0, "DELETE /v1/admin/limits/few?etag=4", `{}`, "limit few is removed"},
		{"limits delete", 2, "", "", ""},
		{"limits status --key k1 --user ana --model small", 0, "GET /v1/admin/limits:status?address=&key_id=k1", `{"limits":[{"name":"few","remaining":"3"}]}`, "3"},
		{"limits status more", 2, "", "", ""},
		{
			"limits status --user ana", 0, "GET /v1/admin/limits:status?", `{"limits":[],"misses":[{"name":"few","tenant":"acme","reason":"no model is given"}]}`,
			"the limit few (of acme) is not about this request: no model is given",
		},

		{"prices list --history", 0, "GET /v1/admin/prices?history=true", `{"prices":[{"model":"chat","rates":{"input":"150000"}}]}`, "0.15"},
		{
			"prices set chat@v3 --input 0.15 --cached-input 0 --from 2027-01-01T00:00:00Z", 0,
			`POST /v1/admin/prices {"price":{"model":"chat@v3","rates":{"cached_input":0,"input":150000},"valid_from":"2027-01-01T00:00:00Z"`, `{"price":{"model":"chat@v3"}}`, "chat@v3",
		},
		{
			"prices set chat --reasoning 2 --audio-input 3 --audio-output 4 --document 0.5", 0,
			`POST /v1/admin/prices {"price":{"model":"chat","rates":{"audio_input":3000000,"audio_output":4000000,"document":500000,"reasoning":2000000}`,
			`{"price":{"model":"chat","rates":{"reasoning":"2000000"}}}`, "2",
		},
		{"prices set chat", 2, "", "", ""},
		{"prices set chat --input -1", 2, "", "", ""},
		{"prices set chat --input 0.0000001", 2, "", "", ""},
		{"prices set chat --input 1 --from tomorrow", 2, "", "", ""},
		{"prices remove chat --variant q4", 0, `POST /v1/admin/prices {"price":{"model":"chat","removed":true,"variant":"q4"`, `{"price":{}}`, ""},
		{"prices remove", 2, "", "", ""},
		{"prices cancel chat --from 2027-01-01T00:00:00Z", 1, "GET /v1/admin/prices", `{"prices":[{"model":"chat","revision":"7"}]}`, "chat has no price that is to hold from"},
		{"prices cancel chat", 2, "", "", "--from"},

		{"budgets list --tenant acme", 0, "GET /v1/admin/budgets?tenant=acme", `{"budgets":[{"id":"lab","unit":"money","amount":"2500000","standing":{"settled":"500000"}}]}`, "0.5"},
		{"budgets get lab --tenant acme", 0, "GET /v1/admin/budgets/lab?tenant=acme", `{"budget":{"id":"lab","unit":"tokens","amount":"7"}}`, "lab"},
		{"budgets get", 2, "", "", ""},
		{
			"budgets set lab --team lab --tokens 2_000_000 --period day --warn 50 --soft", 0,
			`POST /v1/admin/budgets {"budget":{"amount":2000000,"hard":false,"id":"lab","period":"day","scope":"team","scope_name":"lab","unit":"tokens","warnings":[50]}`, `{"budget":{"id":"lab"}}`, "lab",
		},
		{"budgets set lub --team lub --tokens 5 --period day --warn 50 --soft", 0, "POST /v1/admin/budgets {", `{"budget":{"id":"lub"},"warnings":["nobody is in it"]}`, "warning: nobody is in it"},
		{"prices set smoll --input 1", 0, "POST /v1/admin/prices {", `{"price":{"model":"smoll"},"warnings":["there is none"]}`, "warning: there is none"},
		{"budgets set lab --money 5 --tokens 5", 2, "", "", ""},
		{"budgets set lab", 2, "", "", ""},
		{"budgets set lab --money five", 2, "", "", ""},
		{"budgets set lab --tokens 1.5", 2, "", "", ""},
		{"budgets set lab --team a --key b --tokens 5", 2, "", "", ""},
		{"budgets set --tokens 5", 2, "", "", ""},
		{"budgets delete lab", 0, "DELETE /v1/admin/budgets/lab", `{}`, "is removed"},
		{"budgets delete", 2, "", "", ""},

		{"budgets webhooks list --tenant acme", 0, "GET /v1/admin/webhooks?tenant=acme", `{"webhooks":[{"id":"ops","url":"https://example.com/h"}]}`, "https://example.com/h"},
		{
			"budgets webhooks set ops --url https://example.com/h --events budget.warning,budget.refused --tenant acme", 0,
			`PUT /v1/admin/webhooks/ops {"rotate_secret":false,"tenant":"acme","webhook":{"disabled":false,"events":["budget.warning","budget.refused"],"url":"https://example.com/h"}`,
			`{"webhook":{"id":"ops"},"secret":"whsec_AAAA"}`, "whsec_AAAA",
		},
		{"budgets webhooks set ops --url https://example.com/h", 0, `PUT /v1/admin/webhooks/ops {`, `{"webhook":{"id":"ops"}}`, "ops"},
		{"budgets webhooks set ops", 2, "", "", "--url"},
		{"budgets webhooks set --url https://example.com/h", 2, "", "", ""},
		{"budgets webhooks delete ops --tenant acme", 0, "DELETE /v1/admin/webhooks/ops?tenant=acme", `{}`, "is removed"},
		{"budgets webhooks delete", 2, "", "", ""},
		{"budgets webhooks test ops", 0, "POST /v1/admin/webhooks/ops:test {", `{"delivered":true,"status":204}`, "204"},
		{"budgets webhooks test ops", 1, "POST /v1/admin/webhooks/ops:test {", `{"problem":"it did not answer in time"}`, "it did not answer in time"},
		{"budgets webhooks test", 2, "", "", ""},
		{"budgets webhooks deliveries ops --state dead", 0, "GET /v1/admin/webhooks/ops/deliveries?state=dead", `{"deliveries":[{"event":"evt_1","state":"dead"}]}`, "evt_1"},
		{"budgets webhooks deliveries", 2, "", "", ""},
		{"budgets webhooks redeliver ops evt_1", 0, `POST /v1/admin/webhooks/ops:redeliver {"event":"evt_1","tenant":""}`, `{}`, "is told again"},
		{"budgets webhooks redeliver ops", 2, "", "", ""},

		{"usage list --by tenant,day --model chat", 0, "GET /v1/admin/usage?group_by=tenant&group_by=day&model=chat", `{"rows":[{"time":"2026-05-01T00:00:00Z","tenant":"acme","cost":"1500000"}]}`, "1.5"},
		{"usage list now", 2, "", "", ""},
		{"usage own", 0, "GET /v1/usage", `{"models":[{"model":"chat"}],"budgets":[{"id":"lab"}]}`, "lab"},
		{"usage export --from 2026-05-01T00:00:00Z", 0, "GET /v1/admin/usage:export?from=2026-05-01T00%3A00%3A00Z&group_by=model", "model,cost\n", "model,cost"},
		{"usage check", 0, "POST /v1/admin/usage:check {}", `{"adds_up":true,"requests":"7"}`, "7 requests added up"},
		{"usage check --from 2026-05-01T00:00:00Z", 1, "POST /v1/admin/usage:check", `{"adds_up":false,"difference_count":"1","differences":[{"table":"day","row":"x"}]}`, "day"},

		{"cache stats --tenant *", 0, "GET /v1/admin/cache?tenant=%2A", `{"tenant":"*","hits":"12","entries":"7","bytes":"4711"}`, "4711"},
		{"cache stats", 0, "GET /v1/admin/cache", `{"tenant":"acme","hits":"5","misses":"9","hit_ratio":0.35714285714285715,"entries":"0","bytes":"0"}`, " 35.71% "},
		{"cache stats --tenant acme", 0, "GET /v1/admin/cache?tenant=acme", `{"tenant":"acme","entries":"0","bytes":"0"}`, "with --tenant '*'"},
		{"cache purge --model small --collection docs", 0, `POST /v1/admin/cache:purge {"collection":"docs","model":"small","tenant":""}`, `{"revision":"4"}`, "4"},
		{"cache purge --model smoll", 0, "POST /v1/admin/cache:purge", `{"revision":"4","warnings":["there is none"]}`, "warning: there is none"},
		{"cache purge everything", 2, "", "", ""},
		{"cache", 2, "", "", "needs a verb"},
	} {
		var asked []string
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(c.args, "limits set") && r.Method == http.MethodGet { // what there is; see TestWhatALimitHasIsKept
				w.WriteHeader(http.StatusNotFound)
				return
			}
			body, _ := io.ReadAll(r.Body)
			asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
			_, _ = io.WriteString(w, c.answer)
		})
		code, stdout, stderr := run(t, gateway, "", strings.Fields(c.args)...)
		want := 0
		if c.asked != "" {
			want = 1
		}
		if code != c.code || len(asked) != want || want == 1 && !strings.HasPrefix(asked[0], c.asked) || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%s: code %d, asked %q, says %s%s", c.args, code, asked, stdout, stderr)
		}
		if code != 0 && stderr == "" {
			t.Errorf("%s: fails, and says nothing", c.args)
		}
	}
	refused := answer(http.StatusBadRequest, `{"title":"Bad request","detail":"kind must be one of","status":400}`)
	for _, args := range []string{
		"limits list", "limits set a --amount 1", "limits delete a", "limits status", "prices list", "prices set m --input 1", "prices remove m", "budgets list",
		"budgets get a", "budgets set a --tokens 1", "budgets delete a", "budgets webhooks list", "budgets webhooks set a --url https://a", "budgets webhooks delete a", "budgets webhooks test a", "budgets webhooks deliveries a", "budgets webhooks redeliver a e", "usage list", "usage own", "usage export", "usage check", "cache stats", "cache purge",
	} {
		if code, stdout, stderr := run(t, refused, "", strings.Fields(args)...); code != 1 || stdout != "" || !strings.Contains(stderr, "kind must be") {
			t.Errorf("%s, refused: code %d, says %q, %q", args, code, stdout, stderr)
		}
	}
}

// Who makes a new secret has not said that the webhook is to be told of everything.
func TestARotationLeavesTheWebhookAsItIs(t *testing.T) {
	for args, want := range map[string]string{
		"":                               `{"disabled":true,"events":["budget.warning"],"url":"https://a/h"}`,
		"--url https://b --overlap 0s":   `{"disabled":true,"events":["budget.warning"],"url":"https://b"}`,
		"--events budget.refused":        `{"disabled":true,"events":["budget.refused"],"url":"https://a/h"}`,
		"--disabled=false --tenant acme": `{"disabled":false,"events":["budget.warning"],"url":"https://a/h"}`,
	} {
		var put string
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				body, _ := io.ReadAll(r.Body)
				put = string(body)
			} else if strings.Contains(args, "acme") != (r.URL.Query().Get("tenant") == "acme") {
				t.Errorf("%s: asks for %s", args, r.URL)
			}
			_, _ = io.WriteString(w, `{"webhook":{"id":"ops","url":"https://a/h","events":["budget.warning"],"disabled":true},"secret":"whsec_AAAA"}`)
		})
		code, stdout, stderr := run(t, gateway, "", strings.Fields("budgets webhooks set ops --rotate-secret "+args)...)
		if code != 0 || !strings.Contains(put, `"webhook":`+want) || !strings.Contains(put, `"rotate_secret":true`) || !strings.Contains(stdout, "whsec_AAAA") {
			t.Errorf("%s: code %d, asked %s, says %s%s", args, code, put, stdout, stderr)
		}
	}
}

// Who changes a budget's amount has not said that it is to refuse, or of what it warns; a
// new one has what the flags say by themselves.
func TestABudgetKeepsWhatIsNotGiven(t *testing.T) {
	there := `{"budget":{"id":"lab","unit":"tokens","amount":"9","period":"day","scope":"team","scope_name":"lab","hard":false,"warnings":[50]}}`
	for args, want := range map[string]string{
		"":                            `"hard":false,"id":"lab","period":"day","scope":"team","scope_name":"lab","unit":"tokens","warnings":[50]}`,
		"--soft=false --warn 10":      `"hard":true,"id":"lab","period":"day","scope":"team","scope_name":"lab","unit":"tokens","warnings":[10]}`,
		"--period total":              `"hard":false,"id":"lab","period":"total","scope":"team","scope_name":"lab","unit":"tokens","warnings":[50]}`,
		"--key k --tenant acme":       `"hard":false,"id":"lab","period":"day","scope":"key","scope_name":"k","unit":"tokens","warnings":[50]}`,
		"--team new --soft --warn 20": `"hard":false,"id":"lab","period":"month","scope":"team","scope_name":"new","unit":"tokens","warnings":[20]}`, // there is none
	} {
		var post string
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				body, _ := io.ReadAll(r.Body)
				post = string(body)
			case strings.Contains(args, "acme") != (r.URL.Query().Get("tenant") == "acme"):
				t.Errorf("%s: asks for %s", args, r.URL)
			case strings.Contains(args, "new"):
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"title":"Not found","status":404}`)
				return
			}
			_, _ = io.WriteString(w, there)
		})
		if code, stdout, stderr := run(t, gateway, "", strings.Fields("budgets set lab --tokens 7 "+args)...); code != 0 || !strings.Contains(post, want) {
			t.Errorf("%s: code %d, asked %s, says %s%s", args, code, post, stdout, stderr)
		}
	}
}

// Every column of these tables has a heading of its own, and what lies under it.
func TestColumnsOfClasses(t *testing.T) {
	for args, answer := range map[string]string{
		"usage list --by model": `{"rows":[{"model":"m","audio_input_tokens":"41","audio_output_tokens":"43","cost":"0"}]}`,
		"prices list":           `{"prices":[{"model":"m","rates":{"audio_input":"41000000","audio_output":"43000000"}}]}`,
	} {
		gateway := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
		_, stdout, _ := run(t, gateway, "", strings.Fields(args)...)
		heading, row, _ := strings.Cut(stdout, "\n")
		for title, value := range map[string]string{"AUDIO_IN": "41", "AUDIO_OUT": "43"} {
			if at := slices.Index(strings.Fields(heading), title); at < 0 || strings.Fields(row)[at] != value {
				t.Errorf("%s: %s is not %s:\n%s", args, title, value, stdout)
			}
		}
	}
}

// A price to come is taken back by its number, which is found by its model, variant and
// time.
func TestAPriceToComeIsTakenBack(t *testing.T) {
	const there = `{"prices":[{"model":"chat","revision":"7"},{"model":"chat","variant":"q4","valid_from":"2027-01-01T00:00:00Z","revision":"9"},
		{"model":"chat","valid_from":"2027-01-01T00:00:00Z","revision":"8"}]}`
	for args, want := range map[string]string{
		"--from 2027-01-01T01:00:00+01:00":           "/v1/admin/prices/8",
		"--from 2027-01-01T00:00:00Z --variant q4":   "/v1/admin/prices/9",
		"--from 2027-01-01T00:00:00Z --variant q8_0": "",
	} {
		deleted := ""
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				deleted = r.URL.Path
			}
			_, _ = io.WriteString(w, there)
		})
		code, stdout, stderr := run(t, gateway, "", strings.Fields("prices cancel chat "+args)...)
		if deleted != want || (code == 0) != (want != "") || strings.Contains(stdout, "is taken back") != (want != "") {
			t.Errorf("%s: code %d, removes %q, says %s%s", args, code, deleted, stdout, stderr)
		}
	}
}
