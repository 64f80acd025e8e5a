package rollout_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// Whoever has something new wakes the controller, which does not look more often
// than ten times a period for it.
func TestAControllerIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t, storetest.SQLite(t), store.Options{})
		fill(t, s, "m")
		judge := new(judge)
		judge.say(requests(0), nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c := rollout.NewController(s, rollout.Options{Judge: judge, Holder: "only", Period: time.Hour})
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait()
		made, err := rollout.New(plan(nil), "", true)
		check(t, err)
		_, err = s.CreateRollout(t.Context(), "", made, false, rollout.Begin)
		check(t, err)
		stands := func() bool {
			t.Helper()
			synctest.Wait()
			r, err := s.GetRollout(t.Context(), "m", "r")
			check(t, err)
			return r.GetState() == running
		}
		c.Wake()
		<-time.After(5 * time.Minute)
		c.Wake()
		if stands() {
			t.Error("it looked before a tenth of the period was over")
		}
		<-time.After(2 * time.Minute)
		if !stands() {
			t.Error("it did not look when it was woken")
		}
		judge.say(breach(), nil)
		<-time.After(40 * time.Minute)
		if !stands() {
			t.Error("it looked without being woken")
		}
		<-time.After(20 * time.Minute)
		if stands() {
			t.Error("it did not look when the period was over")
		}
		cancel()
		check(t, <-ended)
	})
}
