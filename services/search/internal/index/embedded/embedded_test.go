package embedded

import (
	"testing"

	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/indextest"
)

func TestEmbedded(t *testing.T) {
	indextest.Run(t, func(t *testing.T, dir string) index.Index {
		t.Helper()
		x, err := New(dir)
		if err != nil {
			t.Fatal(err)
		}
		return x
	})
}

func TestNamesThatLeaveTheDirectoryAreRefused(t *testing.T) {
	x, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc"} {
		if _, err := x.Open(t.Context(), name); err == nil {
			t.Errorf("%q is opened", name)
		}
		if err := x.Drop(t.Context(), name); err == nil {
			t.Errorf("%q is dropped", name)
		}
	}
}
