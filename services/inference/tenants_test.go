package inference_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/signing"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func of(tenant string) fakes.Change {
	return func(s *registryv1.ModelState) { s.Model.Tenant = tenant }
}

// A model of a tenant is for the callers of others as if it were not there.
func TestModelsOfOtherTenants(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("a-beta", 1, of("beta")), fakes.Model("b-shared", 1), fakes.Model("c-acme", 1, of("acme")),
		fakes.Model("d-beta", 2, of("beta")), fakes.Model("e-shared", 1))
	list := func(tenant string) string {
		t.Helper()
		ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: tenant, Subject: "bob"})
		var names []string
		for token := ""; ; {
			resp, err := m.client.ListServedModels(ctx, &inferencev1.ListServedModelsRequest{PageSize: 1, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range resp.GetModels() {
				names = append(names, one.GetName())
			}
			if token = resp.GetNextPageToken(); token == "" {
				return strings.Join(names, " ")
			}
		}
	}
	for tenant, want := range map[string]string{
		"acme": "b-shared c-acme e-shared", "beta": "a-beta b-shared d-beta e-shared", "default": "a-beta b-shared c-acme d-beta e-shared",
	} {
		if got := list(tenant); got != want {
			t.Errorf("%s is shown %q, want %q", tenant, got, want)
		}
	}
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "alice"})
	for _, reference := range []string{"a-beta", "a-beta@v1", "d-beta", "d-beta@nothing"} {
		_, err := m.client.Invoke(ctx, chat(reference, `{}`))
		wantReason(t, err, apierr.ModelNotFound, "model")
		_, err = m.client.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: reference})
		wantReason(t, err, apierr.ModelNotFound, "model")
	}
	if _, err := m.client.Invoke(ctx, chat("c-acme", `{}`)); err != nil {
		t.Errorf("its own model: %v", err)
	}
}

// What no trusted key has signed is neither loaded nor answers, whatever the
// registry says.
func TestUnsignedVersionsDoNotServe(t *testing.T) {
	private, public, err := signing.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.ParsePrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(s *registryv1.ModelState) {
		v := s.GetVersions()[0]
		v.Signatures = []*registryv1.Signature{{KeyId: signing.KeyID(signing.Public(key)), Signature: signing.Sign(key, v.GetDigest())}}
	}
	m := newMesh(t, 1, meshOptions{config: func(c *inference.Config) {
		c.Signatures = signing.Config{Required: true, TrustedKeys: []string{public}}
	}}, fakes.Model("signed", 1, sign), fakes.Model("unsigned", 1), fakes.Model("moved", 2, sign, fakes.Alias("production", 2)))
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "alice"})
	if _, err := m.client.Invoke(ctx, chat("signed", `{}`)); err != nil {
		t.Errorf("a signed version: %v", err)
	}
	for _, reference := range []string{"unsigned", "unsigned@v1", "moved"} {
		_, err := m.client.Invoke(ctx, chat(reference, `{}`))
		wantReason(t, err, apierr.FailedPrecondition, "model")
	}
	resp, err := m.client.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: "unsigned"})
	if err == nil && resp.GetModel().GetReadyWorkers() != 0 {
		t.Errorf("an unsigned version is loaded: %v", resp)
	}
}
