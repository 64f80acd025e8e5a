package openinference

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestReference(t *testing.T) {
	for _, tt := range []struct{ name, version, want string }{
		{"m", "", "m"},
		{"m@stable", "", "m@stable"},
		{"m", "3", "m@v3"},
		{"m", "v3", "m@v3"},
		{"m@v3", "3", "m@v3"},
		{"m@v3", "4", ""},
		{"m@stable", "3", ""},
		{"m", "0", ""},
		{"m", "03", ""},
		{"m", "v", ""},
		{"m", "-1", ""},
		{"m", "latest", ""},
		{"m", "1234567890", ""},
	} {
		got, err := reference("name", tt.name, "version", tt.version)
		if got != tt.want || (err == nil) != (tt.want != "") || err != nil && apierr.From(err).Field != "version" {
			t.Errorf("%q and %q: %q, %v", tt.name, tt.version, got, err)
		}
	}
}
