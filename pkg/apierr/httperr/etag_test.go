package httperr_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
)

// Who lost a race reads what is there now from the answer, also that nothing is.
func TestConflictTellsTheEtag(t *testing.T) {
	conflict := apierr.New(apierr.Conflict, "it has changed")
	for want, err := range map[string]error{
		`"etag":"r7"`: conflict.WithMetadata("etag", "r7"),
		`"etag":""`:   conflict.WithMetadata("etag", ""),
	} {
		if got := string(httperr.ProblemBody(err, "req")); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	for _, err := range []error{conflict, apierr.New(apierr.NotFound, "gone").WithMetadata("etag", "r7")} {
		if got := string(httperr.ProblemBody(err, "req")); strings.Contains(got, "etag") {
			t.Errorf("got %s", got)
		}
	}
}
