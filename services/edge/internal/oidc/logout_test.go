package oidc

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func logoutProvider(tb testing.TB) *Provider {
	tb.Helper()
	c := ProviderConfig{Issuer: "https://id.example", ClientID: "edge"}
	c.Complete()
	p, err := NewProvider(c, Options{Clock: clock.NewFake(start()), Transport: http.DefaultTransport, PlatformTenant: "default"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// A token is refused, once used, as long as it could be shown again.
func TestLogoutUntil(t *testing.T) {
	p := logoutProvider(t)
	now := start().Unix()
	for _, tt := range []struct {
		issued, expires int64
		want            time.Duration
	}{{now, now + 120, 3 * time.Minute}, {now - 60, now + 3600, 5 * time.Minute}} {
		l, err := p.readLogout([]byte(`{"iss":"https://id.example","aud":"edge","sub":"ana","jti":"x","iat":`+strconv.FormatInt(tt.issued, 10)+
			`,"exp":`+strconv.FormatInt(tt.expires, 10)+`,"events":{"`+logoutEvent+`":{}}}`), start())
		if got := l.Until.Sub(time.Unix(now, 0)); err != nil || got != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
		if _, err := p.readLogout([]byte(`{"iss":"https://id.example","aud":"edge","sub":"ana","jti":"x","iat":`+strconv.FormatInt(tt.issued, 10)+
			`,"exp":`+strconv.FormatInt(tt.expires, 10)+`,"events":{"`+logoutEvent+`":{}}}`), l.Until); err == nil {
			t.Errorf("%+v: it is accepted longer than it is remembered", tt)
		}
	}
}

// What ends sessions names whose, has a name by which it is used once, and an end.
func FuzzLogoutToken(f *testing.F) {
	p := logoutProvider(f)
	now := strconv.FormatInt(start().Unix(), 10)
	head := `{"iss":"https://id.example","aud":"edge","jti":"x","iat":` + now + `,"exp":` + now + `,`
	for _, seed := range []string{
		head + `"sub":"ana","sid":"1","events":{"` + logoutEvent + `":{}}}`, head + `"sid":"1","events":{"` + logoutEvent + `":{"a":[]}}}`,
		head + `"sub":"ana","events":{"` + logoutEvent + `":null}}`, head + `"sub":"ana","nonce":"","events":{"` + logoutEvent + `":{}}}`,
		head + `"sub":"","sid":null,"events":{"` + logoutEvent + `":{}}}`, `{}`, `null`, `[]`, `{"events":{"a":{}},"events":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := p.readLogout(text, start())
		if err != nil {
			return
		}
		if l.ID == "" || l.Subject == "" && l.Session == "" || len(l.ID)+len(l.Subject)+len(l.Session) > 3*maxNameBytes {
			t.Errorf("%s ends %+v", text, l)
		}
		if l.Until.Before(start()) || l.Until.After(start().Add(logoutTokenAge+2*p.issuer.config.Skew)) {
			t.Errorf("%s is refused until %v", text, l.Until)
		}
	})
}
