package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pressly/goose/v3"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Random operations on experiments of one layer, against what the states allow:
// no point is given away twice, weights are what the ranges hold, and nothing else
// changes a state.
func (s suite) randomExperiments(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	random := rand.New(rand.NewPCG(11, 13))
	states := map[string]registryv1.ExperimentState{}
	for step := range 150 {
		name := fmt.Sprintf("x%d", random.IntN(4))
		was := states[name]
		var err error
		var want registryv1.ExperimentState
		switch random.IntN(7) {
		case 0:
			_, err = e.CreateExperiment(ctx, "", plan(name, inLayer("l", 1+random.Int32N(600_000))))
			want = isDraft
			if was != 0 && apierr.ReasonOf(err) != apierr.AlreadyExists {
				t.Fatalf("step %d: created twice: %v", step, err)
			}
		case 1, 2:
			_, err = e.StartExperiment(ctx, "", "m", name, "*")
			want = isRunning
		case 3, 4:
			_, err = e.RampExperiment(ctx, "", "m", name, map[string]int32{"candidate": random.Int32N(1_000_001)}, random.Int32N(700_000), "*")
			want = was
		case 5:
			_, err = e.StopExperiment(ctx, "", "m", name, "", "*")
			want = isStopped
		default:
			if random.IntN(2) == 0 {
				_, err = e.ConcludeExperiment(ctx, "", "m", name, "", "", "*")
				want = isConcluded
			} else if err = e.DeleteExperiment(ctx, "", "m", name, "*"); err == nil {
				delete(states, name)
				continue
			}
		}
		switch apierr.ReasonOf(err) {
		case "":
			states[name] = want
		case apierr.NotFound, apierr.AlreadyExists, apierr.FailedPrecondition:
		default:
			t.Fatalf("step %d: %v", step, err)
		}
		list, err := e.ListExperiments(ctx, "m", "", 10)
		check(t, err)
		if len(list) != len(states) {
			t.Fatalf("step %d: %d experiments, want %d", step, len(list), len(states))
		}
		for _, x := range list {
			if x.GetState() != states[x.GetName()] {
				t.Fatalf("step %d: %s is %v, want %v", step, x.GetName(), x.GetState(), states[x.GetName()])
			}
			held := map[int32]int32{}
			for _, r := range x.GetArmRanges() {
				held[r.GetArm()] += r.GetEnd() - r.GetStart()
			}
			for i, a := range x.GetArms() {
				if x.GetState() != isDraft && held[int32(i)] != a.GetWeight() {
					t.Fatalf("step %d: arm %d of %s has %d points of %d", step, i, x.GetName(), held[int32(i)], a.GetWeight())
				}
			}
		}
		disjoint(t, e.state("m").GetExperiments()...)
	}
}

// A database from before experiments keeps what it holds when it is brought up to
// date, and when it is taken back.
func (s suite) experimentMigration(t *testing.T) {
	e, ctx := s.withVersions(t), t.Context()
	_, err := e.SetAlias(ctx, "", "m", "production", 2, "")
	check(t, err)
	old, counted := e.state("m"), e.versionBytes("m")
	same := func(when string) {
		t.Helper()
		if got := e.state("m"); !proto.Equal(got, old) || e.versionBytes("m") != counted {
			t.Errorf("%s: %d bytes of %v\nwant %d of %v", when, e.versionBytes("m"), got, counted, old)
		}
	}
	dialect := goose.DialectSQLite3
	if e.raw().Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, e.raw().DB, os.DirFS("migrations/"+string(e.raw().Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("registry_migrations"))
	check(t, err)
	_, err = provider.DownTo(ctx, 5)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	same("up from a database without experiments")
	e.started(plan("x"))
	if e.versionBytes("m") <= counted {
		t.Error("the experiment is not counted")
	}
	_, err = provider.DownTo(ctx, 5)
	check(t, err)
	if _, err = e.raw().ExecContext(ctx, `SELECT 1 FROM registry_experiments`); err == nil {
		t.Error("the table is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	same("down and up again")
}
