package issue

import (
	"net/url"
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
