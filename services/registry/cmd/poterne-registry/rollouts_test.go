package main

import (
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// rollOut declares a rollout of three steps by time.
func rollOut(t *testing.T, c registryv1.RegistryServiceClient, each time.Duration) {
	t.Helper()
	_, err := c.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: "m"}, grpc.WaitForReady(true))
	fatal(t, err)
	for _, seed := range []string{"1", "2"} {
		_, err := c.CreateVersion(t.Context(), &registryv1.CreateVersionRequest{Model: "m", Spec: &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: map[string]string{"seed": seed},
		}})
		fatal(t, err)
	}
	_, err = c.SetAlias(t.Context(), &registryv1.SetAliasRequest{Model: "m", Alias: "production", Version: 1})
	fatal(t, err)
	req := &registryv1.CreateRolloutRequest{Model: "m", Rollout: "r", Candidate: 2}
	for _, weight := range []int32{10_000, 250_000, 1_000_000} {
		req.Steps = append(req.Steps, &registryv1.RolloutStep{Weight: weight, MinDuration: durationpb.New(each)})
	}
	_, err = c.CreateRollout(t.Context(), req)
	fatal(t, err)
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reaches watches until the rollout is at a step, or over.
func reaches(t *testing.T, c registryv1.RegistryServiceClient, step int32) {
	t.Helper()
	s, err := c.Watch(t.Context(), &registryv1.WatchRequest{}, grpc.WaitForReady(true)) // it may be ready before its port is
	fatal(t, err)
	for {
		m, err := s.Recv()
		fatal(t, err)
		r := m.GetChanged().GetRollout()
		for _, part := range m.GetSnapshot().GetModels() {
			r = part.GetRollout()
		}
		if r.GetStep() >= step || r.GetEndTime() != nil {
			return
		}
	}
}

// ends checks that the rollout went its whole way, each step once.
func ends(t *testing.T, c registryv1.RegistryServiceClient) {
	t.Helper()
	reaches(t, c, 99)
	got, err := c.GetRollout(t.Context(), &registryv1.GetRolloutRequest{Model: "m", Rollout: "r"})
	fatal(t, err)
	list, err := c.ListRolloutEvents(t.Context(), &registryv1.ListRolloutEventsRequest{Model: "m", Rollout: "r"})
	fatal(t, err)
	want := []registryv1.RolloutEventKind{
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_CREATED, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_STARTED,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ADVANCED, registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_ADVANCED,
		registryv1.RolloutEventKind_ROLLOUT_EVENT_KIND_SUCCEEDED,
	}
	for i, e := range list.GetEvents() {
		if i >= len(want) || e.GetKind() != want[i] {
			t.Fatalf("event %d is %v", i+1, e)
		}
	}
	alias, err := c.GetAlias(t.Context(), &registryv1.GetAliasRequest{Model: "m", Alias: "production"})
	fatal(t, err)
	if len(list.GetEvents()) != len(want) || alias.GetAlias().GetVersion() != 2 {
		t.Errorf("it ends as %v, with production %v", got, alias)
	}
}

func quickRollouts() []string {
	return []string{"POTERNE_ROLLOUTS_PERIOD=50ms", "POTERNE_ROLLOUTS_LEASE=500ms"}
}

// Killed in the middle of a step, the registry goes on with the rollout once it is
// there again.
func TestKilledInTheMiddleOfAStep(t *testing.T) {
	db := filepath.Join(t.TempDir(), "registry.db")
	p := startProcess(t, db, quickRollouts()...)
	rollOut(t, p.client, 300*time.Millisecond)
	for step := range int32(3) {
		reaches(t, p.client, step+1)
		p.Kill()
		p = startProcess(t, db, quickRollouts()...)
	}
	ends(t, p.client)
}
