package hugepages

import "testing"

func TestUnwantedOnes(t *testing.T) {
	for enabled, want := range map[string]bool{"always [madvise] never\n": false, "always madvise [never]\n": true, "[always] madvise never\n": false, "": false} {
		if never(enabled) != want {
			t.Errorf("%q: never is %t", enabled, !want)
		}
	}
	t.Setenv("GODEBUG", "http2client=1,"+off)
	if !unwanted() {
		t.Error("Go's own setting is not heeded")
	}
}
