package health_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/health"
)

func TestReadiness(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fake := clock.NewFake(start)
	r := health.NewReadiness(fake)
	var told []bool
	r.Subscribe(func(ready bool) { told = append(told, ready) })
	db := r.Register("database")
	if r.Register("database") != db {
		t.Fatal("the same name must give the same check")
	}
	fake.Advance(time.Second)
	db.Ready()
	fake.Advance(time.Second)
	db.Ready()
	engine := r.Register("engine")
	engine.Report(errors.New("loading the model"))
	get := func() (int, health.Report) {
		t.Helper()
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		var report health.Report
		if err := json.Unmarshal(w.Body.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		return w.Code, report
	}
	code, report := get()
	want := []health.State{
		{Name: "database", Ready: true, Since: start.Add(time.Second)},
		{Name: "engine", Reason: "loading the model", Since: start.Add(2 * time.Second)},
	}
	if code != 503 || report.Ready || !slices.Equal(report.Checks, want) {
		t.Fatalf("%d %+v", code, report)
	}
	engine.Report(nil)
	if code, report = get(); code != 200 || !report.Ready || !r.Ready() {
		t.Fatalf("%d %+v", code, report)
	}
	r.Drain("asked to end")
	engine.Ready()
	if code, report = get(); code != 503 || report.Draining != "asked to end" {
		t.Fatalf("%d %+v", code, report)
	}
	if !slices.Equal(told, []bool{true, false, true, false, true, false}) {
		t.Fatalf("told %v", told)
	}
}

func TestAdvisoryChecksAreShownAndDoNotDecide(t *testing.T) {
	r, other := health.NewReadiness(clock.Real()), health.NewReadiness(clock.Real())
	r.Advise(other)
	r.Register("chat").Ready()
	index := other.Register("indexes")
	got := r.Report()
	if !got.Ready || !got.Degraded || len(got.Checks) != 2 || !got.Checks[1].Advisory || got.Checks[1].Ready || got.Checks[0].Advisory {
		t.Errorf("while the other is not ready: %+v", got)
	}
	index.Ready()
	if got := r.Report(); !got.Ready || got.Degraded || !got.Checks[1].Ready {
		t.Errorf("once it is: %+v", got)
	}
	if other.Register("disk"); other.Ready() || !r.Ready() {
		t.Error("the other set must decide for itself alone")
	}
}
