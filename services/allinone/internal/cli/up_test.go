package cli

import (
	"net/http"
	"strings"
	"testing"
)

// TestUpRefusesUnknownNames holds that `up`, like the services, does not pass
// over a name in the environment that looks like a setting.
func TestUpRefusesUnknownNames(t *testing.T) {
	t.Setenv("POTERNE_FOO_BAR", "1")
	code, _, stderr := run(t, http.NotFoundHandler(), "", "up", "--data-dir", t.TempDir(), "--http-addr", "nowhere")
	if code != 2 || !strings.Contains(stderr, "POTERNE_FOO_BAR: is not a setting") || !strings.Contains(stderr, "--http-addr") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
