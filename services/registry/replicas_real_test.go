//go:build real

package registry_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/testkit"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// Two replicas share a PostgreSQL database. A watcher of one sees the commits of
// the other long before the poll, and resumes on the other without a gap.
func TestRealReplicasOnPostgres(t *testing.T) {
	server := testkit.Postgres(t)
	on := func(c *registry.Config) {
		c.Store.DSN = config.SecretURL(server.DSN)
		c.Watch.PollInterval = time.Minute
	}
	a, b := start(t, on), start(t, on)
	s := watch(t, b, 0)
	next(t, s)
	_, err := a.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	if m := next(t, s); m.GetRevision() != 1 {
		t.Fatalf("got %v", m)
	}
	for i := range 10 {
		_, err := a.CreateVersion(t.Context(), &registryv1.CreateVersionRequest{Model: "m", Spec: spec(strconv.Itoa(i))})
		fatal(t, err)
	}
	// The replica that committed has the revision; the other one may not know it
	// yet, and must not take it for the future.
	resumed := watch(t, b, 11)
	if m, err := resumed.Recv(); err != nil || m.GetRevision() != 11 || m.GetHeartbeat() == nil {
		t.Fatalf("resumed at the newest revision: %v, %v", m, err)
	}
	for last := int64(1); last < 11; {
		m := next(t, s)
		if m.GetRevision() <= last || int64(len(m.GetChanged().GetVersions())) != m.GetRevision()-1 {
			t.Fatalf("revision %d with %d versions after %d", m.GetRevision(), len(m.GetChanged().GetVersions()), last)
		}
		last = m.GetRevision()
	}
}

// Without its database the registry is not ready, and ends the watches rather
// than say that nothing happens.
func TestRealPostgresThatGoesAway(t *testing.T) {
	server := testkit.Postgres(t)
	r := start(t, func(c *registry.Config) {
		c.Store.DSN = config.SecretURL(server.DSN)
		c.Watch.PollInterval = 50 * time.Millisecond
	})
	_, err := r.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	s := watch(t, r, 0)
	next(t, s)
	notReady := make(chan struct{}, 1)
	r.service.Readiness().Subscribe(func(ready bool) {
		if !ready {
			select {
			case notReady <- struct{}{}:
			default:
			}
		}
	})
	server.Kill()
	for err == nil {
		_, err = s.Recv()
	}
	wantError(t, err, "UNAVAILABLE", "")
	<-notReady
	_, err = r.GetModel(t.Context(), &registryv1.GetModelRequest{Model: "m"})
	wantError(t, err, "UNAVAILABLE", "")
}

// BenchmarkCommitSeenOnPostgres is BenchmarkCommitSeen from one replica to
// another.
func BenchmarkCommitSeenOnPostgres(b *testing.B) {
	server := testkit.Postgres(b)
	on := func(c *registry.Config) { c.Store.DSN = config.SecretURL(server.DSN) }
	commitSeen(b, start(b, on), start(b, on), 10)
}
