package catalog_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// Of a model with too many versions only some are told. One that happens to be the
// only one told is not taken for the model's only one.
func TestVersionsThatAreLeftOut(t *testing.T) {
	t.Parallel()
	omit := func(s *registryv1.ModelState) { s.OmittedVersions = 40 }
	s := snapshot(fakes.Model("old", 1, omit), fakes.Model("named", 2, omit, fakes.Alias("production", 1)))
	if _, err := s.Resolve("old", ""); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("the only version told answers the name: %v", err)
	}
	if got, err := s.Resolve("named", ""); err != nil || got.Version.Number != 1 {
		t.Errorf("the alias leads to %v, %v", got, err)
	}
	_, err := s.Resolve("named@v9", "")
	if apierr.ReasonOf(err) != apierr.ModelNotFound || !strings.Contains(err.Error(), "40 oldest") {
		t.Errorf("a version that is left out: %v", err)
	}
}
