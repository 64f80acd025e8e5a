package oidc

import (
	"net/http"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
)

// An answer lets in only whom it names, in a tenant that may be named, and for a
// time that ends.
func FuzzIntrospection(f *testing.F) {
	c := DefaultConfig()
	c.Introspection = IntrospectionConfig{URL: "https://id.example", ClientID: "a", ClientSecret: "b", Audiences: []string{"poterne"}}
	c.Complete()
	i, err := NewIntrospector(c.Introspection, 1, Options{Clock: clock.NewFake(start()), Transport: http.DefaultTransport, PlatformTenant: "default"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","roles":["a",1],"groups":"b c","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`,
		`{"active":true,"aud":"poterne","sub":"ana","tenant":"default"}`, `{"active":true,"active":false}`, `{"active":1}`, `{}`, `null`,
		`{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","exp":1e300}`, `{"active":true,"aud":"poterne","sub":"ana","tenant":"acme","cnf":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := i.read(text, start())
		if err != nil {
			return
		}
		caller := a.who.Caller
		if a.cause == "" && (!tenantForm.MatchString(caller.Tenant) || !subjectForm.MatchString(caller.Subject) || caller.Tenant == "default") {
			t.Errorf("%s lets in %+v", text, caller)
		}
		if a.until.After(start().Add(c.Introspection.CacheFor)) {
			t.Errorf("%s is remembered until %v", text, a.until)
		}
	})
}
