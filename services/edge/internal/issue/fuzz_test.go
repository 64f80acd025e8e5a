package issue

import (
	"net/url"
	"strings"
	"testing"
)

// A form is read or refused, and what is read is within its bounds.
func FuzzForm(f *testing.F) {
	f.Add("grant_type=client_credentials&client_id=a&client_secret=b&scope=model%3Achat", "")
	f.Add("grant_type=client_credentials&audience=a&audience=b&resource=c", "Basic YTpi")
	f.Add("a=%zz;b", "Basic ?")
	f.Fuzz(func(t *testing.T, body, header string) {
		var headers []string
		if header != "" {
			headers = []string{header}
		}
		r, err := parseForm(body, headers)
		if err != nil {
			return
		}
		form, _ := url.ParseQuery(body)
		if len(r.scopes) > maxScopes || len(r.targets) > maxScopes || header != "" && form.Get("client_secret") != "" || len(form["client_secret"]) > 1 {
			t.Errorf("%q, %q: %+v", body, header, r)
		}
	})
}

// What is within two scopes is within each.
func FuzzScopes(f *testing.F) {
	f.Add("model:chat", "*:* model:*")
	f.Add("*:chat", "model:*")
	f.Fuzz(func(t *testing.T, wanted, granted string) {
		for _, text := range within(strings.Fields(wanted), strings.Fields(granted)) {
			if g := strings.Fields(granted); !covers(strings.Fields(wanted), []string{text}) || len(g) > 0 && !covers(g, []string{text}) {
				t.Errorf("%q of %q and %q", text, wanted, granted)
			}
		}
	})
}
