package outputonly_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/outputonly"
)

func TestTenant(t *testing.T) {
	for _, given := range []string{"", "acme"} {
		if err := outputonly.Tenant("limit.tenant", given, "acme"); err != nil {
			t.Errorf("%q: %v", given, err)
		}
	}
	for _, given := range []string{"default", "Acme", " ", "*"} {
		e := apierr.From(outputonly.Tenant("limit.tenant", given, "acme"))
		if e == nil || e.Reason != apierr.InvalidArgument || e.Field != "limit.tenant" {
			t.Errorf("%q: %v", given, e)
		}
	}
}
