package edge_test

import (
	"net/http"
	"testing"
)

// Two tabs of one browser log in at once: each comes to its page, and an answer is
// accepted once.
func TestLoginInTwoTabs(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	b := g.browser()
	first, second := p.consent(b.begin("/login")), p.consent(b.begin("/login?return_to=/docs/"))
	for i, tt := range []struct {
		back, to string
	}{{first.String(), "/account"}, {second.String(), "/docs/"}} {
		if a := b.get(tt.back); a.status != http.StatusSeeOther || a.header.Get("Location") != g.url+tt.to {
			t.Errorf("tab %d: status %d to %s: %s", i, a.status, a.header.Get("Location"), a.text)
		}
	}
	if b.cookies()["poterne-login"] != "" {
		t.Error("the logins are not over")
	}
	if a := b.get(first.String()); a.status != http.StatusUnauthorized || !b.works() {
		t.Errorf("an answer again: status %d", a.status)
	}
}
