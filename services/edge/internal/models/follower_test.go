package models

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

// fakeRegistry sends each watcher what a test gives it.
type fakeRegistry struct {
	streams chan *fakeStream
	away    atomic.Bool
}

type fakeStream struct {
	grpc.ClientStream
	ctx      context.Context
	messages chan *registryv1.WatchResponse
}

func (f *fakeRegistry) Watch(ctx context.Context, _ *registryv1.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[registryv1.WatchResponse], error) {
	if f.away.Load() {
		return nil, errors.New("away")
	}
	s := &fakeStream{ctx: ctx, messages: make(chan *registryv1.WatchResponse)}
	f.streams <- s
	return s, nil
}

func (s *fakeStream) Recv() (*registryv1.WatchResponse, error) {
	select {
	case m, ok := <-s.messages:
		if !ok {
			return nil, errors.New("the stream ended")
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func state(name string, change func(*registryv1.ModelState)) *registryv1.ModelState {
	s := &registryv1.ModelState{Model: &registryv1.Model{Name: name, Labels: map[string]string{"tier": "gold"}}}
	for n, digest := range []string{"sha256:a", "sha256:b", "sha256:c"} {
		s.Versions = append(s.Versions, &registryv1.Version{
			Number: int32(n + 1), Digest: digest, Labels: map[string]string{"n": digest}, Variants: []*registryv1.Variant{{Name: "q4", Digest: digest + "-q4"}},
		})
	}
	s.Aliases = []*registryv1.Alias{{Name: "production", Version: 2}, {Name: "old", Version: 1}}
	if change != nil {
		change(s)
	}
	return s
}

func whole(models ...*registryv1.ModelState) *registryv1.WatchResponse {
	return &registryv1.WatchResponse{Revision: 1, Event: &registryv1.WatchResponse_Snapshot{Snapshot: &registryv1.SnapshotPart{Models: models, First: true, Last: true}}}
}

// TestFind: every way to name a version leads where inference leads it.
func TestFind(t *testing.T) {
	splits := func(s *registryv1.ModelState) {
		s.Split = &registryv1.Split{Arms: []*registryv1.Arm{{Name: "a", Version: 1, Weight: 900_000}, {Name: "b", Version: 3, Weight: 100_000}, {Name: "off", Version: 2}}}
	}
	set := &Set{models: map[string]*model{
		"m": read(state("m", nil), "1"), "split": read(state("split", splits), "2"),
		"torn": read(state("torn", func(s *registryv1.ModelState) {
			splits(s)
			s.Split.Arms[0].Version = 9
		}), "3"),
		"theirs": read(state("theirs", func(s *registryv1.ModelState) { s.Model.Tenant = "globex" }), "4"),
		"tried": read(state("tried", func(s *registryv1.ModelState) {
			s.Experiments = []*registryv1.Experiment{
				{Name: "e", State: registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING, Arms: []*registryv1.ExperimentArm{{Name: "x", Alias: "old"}, {Name: "y", Version: 3}}, Shadow: &registryv1.Shadow{Version: 2}},
				{Name: "over", State: registryv1.ExperimentState_EXPERIMENT_STATE_STOPPED, Arms: []*registryv1.ExperimentArm{{Name: "z", Version: 1}}},
			}
		}), "5"),
		"copied": read(state("copied", func(s *registryv1.ModelState) {
			s.Experiments = []*registryv1.Experiment{{Name: "e", State: registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING, Shadow: &registryv1.Shadow{Version: 3}}}
		}), "8"),
		"empty": read(&registryv1.ModelState{Model: &registryv1.Model{Name: "empty"}}, "6"),
		"many":  read(state("many", func(s *registryv1.ModelState) { s.Aliases = nil }), "7"),
	}}
	for reference, want := range map[string]string{
		"m": "2//", "m@v1": "1//", "m@old": "1//", "m@sha256:c": "3//", "m@sha256:c-q4": "3//", "m@v4": "none", "m@nothing": "none", "m@sha256:x": "none",
		"m@v99999999999": "none", "split": "1/a/ 3/b/", "split@v2": "2//", "torn": "2//", "theirs": "none", "nothing": "none",
		"tried": "1/x/e 3/y/e 2/shadow/e+shadow 2//", "empty": "", "many": "",
	} {
		name, ref, _ := strings.Cut(reference, "@")
		facts, err := set.Find(name, ref, "acme", "default")
		got := "none"
		if err == nil {
			got = text(facts)
		} else if !errors.Is(err, authz.ErrNoModel) {
			t.Errorf("%s: %v", reference, err)
		}
		if got != want {
			t.Errorf("%s leads to %q, want %q", reference, got, want)
		}
	}
	for reference, want := range map[string]string{
		"m": "sha256:b", "m@v1": "sha256:a", "m@old": "sha256:a", "m@sha256:c": "sha256:c", "m@sha256:c-q4": "sha256:c-q4",
		"split": "", "split@v2": "sha256:b", "tried": "", "empty": "", "copied": "sha256:b",
	} {
		name, ref, _ := strings.Cut(reference, "@")
		if facts, err := set.Find(name, ref, "acme", "default"); err != nil || facts.OnlyDigest(ref) != want {
			t.Errorf("%s: %v, want the digest %q", reference, err, want)
		}
	}
	for tenant, sees := range map[string]bool{"globex": true, "default": true, "acme": false} {
		if set.Any(tenant, "default", func(name string) bool { return strings.HasPrefix(name, "the") }) != sees || !set.Any(tenant, "default", func(name string) bool { return name == "m" }) {
			t.Errorf("%s knows others by some names", tenant)
		}
		if _, err := set.Find("theirs", "", tenant, "default"); (err == nil) != sees {
			t.Errorf("%s: %v", tenant, err)
		}
	}
}

func text(f *authz.ModelFacts) string {
	var out []string
	for _, v := range f.Versions {
		one := string('0'+v.Number) + "/" + v.Arm + "/" + v.Experiment
		if v.Shadow {
			one += "+shadow"
		}
		out = append(out, one)
	}
	return strings.Join(out, " ")
}

// TestFollow: changes are followed; while the registry is away what was known goes on,
// and its age is told.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &fakeRegistry{streams: make(chan *fakeStream)}
		problems := make(chan string, 16)
		f := NewFollower(Deps{Registry: registry, Platform: "default", Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Report: func(p string) { problems <- p }})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Component().Run(ctx) }()
		s := <-registry.streams
		if !f.Any("acme", func(string) bool { return false }) {
			t.Error("what nobody has told is known")
		}
		if _, err := f.Find("m", "", "acme"); !errors.Is(err, authz.ErrModelsUnknown) {
			t.Errorf("before anything came: %v", err)
		}
		s.messages <- whole(state("m", nil))
		s.messages <- &registryv1.WatchResponse{Event: &registryv1.WatchResponse_Changed{Changed: state("n", nil)}}
		synctest.Wait()
		first, err := f.Find("m", "", "acme")
		if err != nil || <-problems != "" {
			t.Fatalf("%v", err)
		}
		if _, err := f.Find("n", "", "acme"); err != nil {
			t.Errorf("a model that came later: %v", err)
		}
		s.messages <- &registryv1.WatchResponse{Event: &registryv1.WatchResponse_Changed{Changed: state("m", func(s *registryv1.ModelState) { s.Model.Labels["tier"] = "lead" })}}
		s.messages <- &registryv1.WatchResponse{Event: &registryv1.WatchResponse_Removed{Removed: "n"}}
		synctest.Wait()
		if m, err := f.Find("m", "", "acme"); err != nil || m.Labels["tier"] != "lead" || m.State == first.State || first.Labels["tier"] != "gold" {
			t.Errorf("changed: %+v, %v", m, err)
		}
		if _, err := f.Find("n", "", "acme"); !errors.Is(err, authz.ErrNoModel) {
			t.Errorf("removed: %v", err)
		}
		registry.away.Store(true)
		close(s.messages)
		<-time.After(time.Minute)
		synctest.Wait()
		if p := <-problems; !strings.Contains(p, "away") {
			t.Errorf("told %q", p)
		}
		if _, err := f.Find("m", "", "acme"); err != nil {
			t.Errorf("while it is away: %v", err)
		}
		if !f.Any("acme", func(string) bool { return false }) {
			t.Error("what may have come meanwhile is said not to be there")
		}
		if _, err := f.Find("n", "", "acme"); !errors.Is(err, authz.ErrModelsUnknown) {
			t.Errorf("what may have come meanwhile: %v", err)
		}
		if age, ok := f.Age(); !ok || age < time.Minute {
			t.Errorf("its age is %v", age)
		}
		registry.away.Store(false)
		s = <-registry.streams
		s.messages <- whole(state("other", nil))
		synctest.Wait()
		if _, err := f.Find("m", "", "acme"); !errors.Is(err, authz.ErrNoModel) || <-problems != "" {
			t.Errorf("a new snapshot: %v", err)
		}
		// A stream on which nothing comes is taken for dead.
		again := <-registry.streams
		if again.ctx.Err() != nil || s.ctx.Err() == nil {
			t.Error("a silent stream was kept")
		}
		again.messages <- &registryv1.WatchResponse{Event: &registryv1.WatchResponse_Changed{Changed: proto.CloneOf(state("x", nil))}} // before its snapshot
		synctest.Wait()
		if _, err := f.Find("x", "", "acme"); err == nil {
			t.Error("a change before the snapshot counts")
		}
		stop()
		synctest.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPresent: every change has a number of its own, each stream too, and there is none
// while nothing is followed.
func TestPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &fakeRegistry{streams: make(chan *fakeStream)}
		f := NewFollower(Deps{Registry: registry, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Component().Run(ctx) }()
		s := <-registry.streams
		numbers := map[int64]bool{}
		wants := func(what string, known, anew bool, revision int64) {
			t.Helper()
			synctest.Wait()
			change, got := f.Present()
			if (change != 0) != known || got != revision || known && numbers[change] == anew {
				t.Errorf("%s: change %d, revision %d", what, change, got)
			}
			numbers[change] = true
		}
		heartbeat := func(revision int64) *registryv1.WatchResponse {
			return &registryv1.WatchResponse{Revision: revision, Event: &registryv1.WatchResponse_Heartbeat{Heartbeat: new(registryv1.Heartbeat)}}
		}
		wants("before anything came", false, false, 0)
		s.messages <- heartbeat(4)
		wants("a heartbeat before the snapshot", false, false, 0)
		part := whole(state("m", nil))
		part.GetSnapshot().Last, part.Revision = false, 0
		s.messages <- part
		wants("a part of a snapshot", false, false, 0)
		last := whole(state("n", nil))
		last.GetSnapshot().First, last.Revision = false, 4
		s.messages <- last
		wants("the snapshot", true, true, 4)
		s.messages <- heartbeat(4)
		wants("a heartbeat", true, false, 4)
		s.messages <- &registryv1.WatchResponse{Revision: 5, Event: &registryv1.WatchResponse_Changed{Changed: state("n", nil)}}
		wants("a model changed", true, true, 5)
		s.messages <- &registryv1.WatchResponse{Revision: 6, Event: &registryv1.WatchResponse_Removed{Removed: "n"}}
		wants("a model is gone", true, true, 6)
		s.messages <- &registryv1.WatchResponse{Revision: 6, Event: &registryv1.WatchResponse_PromptChanged{PromptChanged: new(registryv1.PromptState)}}
		wants("a prompt changed", true, true, 6)
		s.messages <- heartbeat(7)
		wants("its revision", true, true, 7)
		close(s.messages)
		wants("the stream ended", false, false, 0)
		s = <-registry.streams
		s.messages <- whole(state("m", nil))
		wants("another stream", true, true, 1)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wants("after the end", false, false, 0)
	})
}
