package catalog_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/inproc"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func follower(r *fakes.Registry, path string) *catalog.Follower {
	conn := inproc.New(nil, func(s grpc.ServiceRegistrar) { registryv1.RegisterRegistryServiceServer(s, r) })
	opts := catalog.FollowerOptions{
		Registry: registryv1.NewRegistryServiceClient(conn), Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Backoff: backoff.Policy{Base: 100 * time.Millisecond, Max: time.Second}, SilenceTimeout: 15 * time.Second,
	}
	if path != "" {
		opts.File = catalog.NewFile(path)
	}
	return catalog.NewFollower(opts)
}

func names(s *catalog.Snapshot) []string {
	if s == nil {
		return []string{"nothing known"}
	}
	models, _ := s.Page("", 1000)
	out := make([]string, 0, len(models))
	for _, m := range models {
		out = append(out, m.Name())
	}
	return out
}

func expect(t *testing.T, f *catalog.Follower, current bool, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := names(f.Snapshot()); !slices.Equal(got, want) {
		t.Errorf("models %v; want %v", got, want)
	}
	if f.Current() != current {
		t.Errorf("current is %t; want %t", f.Current(), current)
	}
}

// run follows in the background until the test ends.
func run(t *testing.T, f *catalog.Follower) {
	t.Helper()
	go func() { _ = f.Run(t.Context()) }()
}

func TestFollowerResumesFromTheLastRevision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		f := follower(r, "")
		r.Put(fakes.Model("a", 1))
		run(t, f)
		expect(t, f, true, "a")
		r.Put(fakes.Model("b", 1))
		r.Put(fakes.Model("c", 1))
		r.Remove("a")
		expect(t, f, true, "b", "c")

		r.Cut(true)
		expect(t, f, false, "b", "c")
		r.Put(fakes.Model("d", 1))
		fakes.Pass(t, 10*time.Second)
		expect(t, f, false, "b", "c") // the last state goes on
		r.Cut(false)
		fakes.Pass(t, time.Second)
		expect(t, f, true, "b", "c", "d")
		if asked := r.Asked(); asked[0] != 0 || asked[1] != 4 || asked[len(asked)-1] != 4 {
			t.Errorf("the watcher came with revisions %v; want 0 and then 4", asked)
		}
		if n := len(r.Asked()); n > 15 {
			t.Errorf("%d tries within 11s: no back-off", n)
		}
	})
}

func TestFollowerStartsAnewWhenTheRevisionIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		f := follower(r, "")
		r.Put(fakes.Model("a", 1))
		run(t, f)
		expect(t, f, true, "a")
		r.Cut(true)
		r.Remove("a")
		r.Put(fakes.Model("b", 1))
		r.Compact()
		r.Cut(false)
		fakes.Pass(t, 2*time.Second)
		expect(t, f, true, "b")
	})
}

// A registry that was put back, or is another one, may have passed the revision that
// the follower has: what was seen before must not stay.
func TestFollowerStartsAnewWithAnotherRegistry(t *testing.T) {
	t.Parallel()
	for _, models := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			r := fakes.NewRegistry()
			f := follower(r, "")
			r.Put(fakes.Model("a", 1))
			r.Put(fakes.Model("b", 1))
			run(t, f)
			expect(t, f, true, "a", "b")
			r.Cut(true)
			r.Replace()
			var want []string
			for i := range models {
				want = append(want, fmt.Sprintf("other-%d", i))
				r.Put(fakes.Model(want[i], 1))
			}
			r.Cut(false)
			fakes.Pass(t, 2*time.Second)
			expect(t, f, true, want...)
		})
	}
}

func TestFollowerLeavesASilentStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		f := follower(r, "")
		r.Put(fakes.Model("a", 1))
		run(t, f)
		expect(t, f, true, "a")
		fakes.Pass(t, 16*time.Second) // no heartbeats: taken for dead, and opened again
		if n := len(r.Asked()); n != 2 {
			t.Errorf("%d streams were opened; want 2", n)
		}
	})
}

func TestFollowerStaysOnHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		r.Heartbeat = 5 * time.Second
		f := follower(r, "")
		r.Put(fakes.Model("a", 1))
		run(t, f)
		before, changed := f.Watch()
		if before == nil {
			<-changed
			_, changed = f.Watch()
		}
		fakes.Pass(t, time.Hour)
		expect(t, f, true, "a")
		if n := len(r.Asked()); n != 1 {
			t.Errorf("%d streams were opened; want 1", n)
		}
		select {
		case <-changed:
			t.Error("a heartbeat woke those who wait for changes")
		default:
		}
	})
}

func TestFollowerStartsFromTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.snapshot")
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		r.Put(fakes.Model("a", 2, fakes.Alias("production", 1)))
		run(t, follower(r, path))
		fakes.Pass(t, 5*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		r := fakes.NewRegistry()
		r.Cut(true)
		f := follower(r, path)
		f.Load(t.Context())
		run(t, f)
		expect(t, f, false, "a")
		if got, err := f.Snapshot().Resolve("a", ""); err != nil || got.Version.Number != 1 {
			t.Errorf("Resolve = %+v, %v", got, err)
		}
		// Another registry's history: what the file says is void.
		r.Put(fakes.Model("b", 1))
		r.Cut(false)
		fakes.Pass(t, 2*time.Second)
		expect(t, f, true, "b")
		if asked := r.Asked(); asked[len(asked)-1] != 0 {
			t.Errorf("the watcher came with revision %d of the file; want 0", asked[len(asked)-1])
		}
	})
}

func TestFileThatIsDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.snapshot")
	file := catalog.NewFile(path)
	if s, err := file.Read(); s != nil || err != nil {
		t.Fatalf("a file that is not there: %v, %v", s, err)
	}
	if err := file.Write(snapshot(fakes.Model("a", 1))); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := file.Read(); err == nil || s != nil {
			t.Fatalf("byte %d was changed and the file was read: %v", i, names(s))
		}
		data[i] ^= 1
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
