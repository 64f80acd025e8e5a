// Package storetest gives tests of the registry a store: on SQLite, and on a
// real PostgreSQL under the build tag real. Only tests import it.
package storetest

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/digest"
	"github.com/poterne/poterne/pkg/sqldb"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Databases makes an empty database for a test.
type Databases func(tb testing.TB) sqldb.Config

// SQLite makes a database in a file that goes with the test.
func SQLite(tb testing.TB) sqldb.Config {
	tb.Helper()
	return sqldb.DefaultConfig("sqlite://" + filepath.Join(tb.TempDir(), "registry.db"))
}

// Open opens a store on the database, closed with the test.
func Open(tb testing.TB, cfg sqldb.Config, opts store.Options) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), cfg, slog.New(slog.DiscardHandler), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Spec returns a specification that is different for every seed.
func Spec(seed int) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{
		Task:   commonv1.Task_TASK_CHAT,
		Engine: "sim",
		Artifacts: []*commonv1.Artifact{{
			Uri: fmt.Sprintf("file:///models/%d.gguf", seed), Sha256: strings.Repeat("0a", 32), SizeBytes: int64(seed),
		}},
		Parameters:    map[string]string{"seed": fmt.Sprint(seed)},
		ContextLength: 4096,
	}
}

// Variant returns what a variant of a version of the model is created from: one
// that is different for every seed, and from what Version returns.
func Variant(tb testing.TB, model, name string, seed int) *registryv1.Variant {
	tb.Helper()
	spec := Spec(seed)
	spec.Engine = "llama-server"
	d, err := digest.Of(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return &registryv1.Variant{Model: model, Name: name, Digest: d, Spec: spec, Description: fmt.Sprintf("seed %d", seed)}
}

// Version returns what a version of the model is created from.
func Version(tb testing.TB, model string, seed int) *registryv1.Version {
	tb.Helper()
	spec := Spec(seed)
	d, err := digest.Of(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return &registryv1.Version{Model: model, Digest: d, Spec: spec, Description: fmt.Sprintf("seed %d", seed)}
}
