//go:build real

package main

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Two processes share a PostgreSQL database. The one that looks after a rollout is
// killed in the middle of a step, and the other goes on; so it is with a third one
// when the second is killed.
func TestRealAnotherProcessGoesOnWithARollout(t *testing.T) {
	server := testkit.Postgres(t)
	env := append(quickRollouts(), "POTERNE_STORE_DSN="+server.DSN)
	first := startProcess(t, "", env...)
	rollOut(t, first.client, time.Second)
	reaches(t, first.client, 1) // it has the lease
	second := startProcess(t, "", env...)
	first.Kill()
	reaches(t, second.client, 2)
	third := startProcess(t, "", env...)
	second.Kill()
	ends(t, third.client)
	events, err := third.client.ListRolloutEvents(t.Context(), &registryv1.ListRolloutEventsRequest{Model: "m", Rollout: "r"})
	fatal(t, err)
	for i, e := range events.GetEvents() {
		if i > 2 {
			if d := e.GetTime().AsTime().Sub(events.GetEvents()[i-1].GetTime().AsTime()); d < time.Second {
				t.Errorf("step %d lasted %v, less than it should", e.GetStep(), d)
			}
		}
	}
}
