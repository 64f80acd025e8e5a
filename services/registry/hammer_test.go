package registry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Every kind of change at once, on few names: nothing but refusals comes of it, and
// what is there in the end can be read, exported and watched.
func TestEveryChangeAtOnce(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	refused := func(err error) bool {
		return err == nil || slices.Contains([]apierr.Reason{
			apierr.NotFound, apierr.ModelNotFound, apierr.AlreadyExists, apierr.Conflict, apierr.FailedPrecondition, apierr.InvalidArgument,
		}, apierr.ReasonOf(err))
	}
	name := func(kind string) string { return fmt.Sprintf("%s%d", kind, rand.IntN(2)) }
	version := func() int32 { return rand.Int32N(3) + 1 }
	half := func() []*registryv1.Arm {
		return []*registryv1.Arm{{Name: "a", Version: version(), Weight: 500_000}, {Name: "b", Version: version(), Weight: 500_000}}
	}
	changes := map[string]func() error{
		"CreateModel": func() error {
			_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: name("m")})
			return err
		},
		"CreateVersion": func() error {
			_, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: name("m"), Spec: spec(name("s"))})
			return err
		},
		"DeleteVersion": func() error {
			_, err := r.DeleteVersion(ctx, &registryv1.DeleteVersionRequest{Model: name("m"), Version: fmt.Sprint(version())})
			return err
		},
		"UndeleteVersion": func() error {
			_, err := r.UndeleteVersion(ctx, &registryv1.UndeleteVersionRequest{Model: name("m"), Version: fmt.Sprint(version())})
			return err
		},
		"UpdateVersion": func() error {
			_, err := r.UpdateVersion(ctx, &registryv1.UpdateVersionRequest{Model: name("m"), Version: fmt.Sprint(version()), Metrics: map[string]float64{name("x"): 1}})
			return err
		},
		"CreateVariant": func() error {
			_, err := r.CreateVariant(ctx, &registryv1.CreateVariantRequest{Model: name("m"), Version: fmt.Sprint(version()), Variant: name("v"), Spec: spec(name("w"))})
			return err
		},
		"DeleteVariant": func() error {
			_, err := r.DeleteVariant(ctx, &registryv1.DeleteVariantRequest{Model: name("m"), Version: fmt.Sprint(version()), Variant: name("v")})
			return err
		},
		"SetAlias": func() error {
			_, err := r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: name("m"), Alias: name("a"), Version: version(), Etag: "*"})
			return err
		},
		"DeleteAlias": func() error {
			_, err := r.DeleteAlias(ctx, &registryv1.DeleteAliasRequest{Model: name("m"), Alias: name("a"), Etag: "*"})
			return err
		},
		"SetSplit": func() error {
			_, err := r.SetSplit(ctx, &registryv1.SetSplitRequest{Model: name("m"), Arms: half(), Etag: "*"})
			return err
		},
		"DeleteSplit": func() error {
			_, err := r.DeleteSplit(ctx, &registryv1.DeleteSplitRequest{Model: name("m"), Etag: "*"})
			return err
		},
		"CreateExperiment": func() error {
			_, err := r.CreateExperiment(ctx, &registryv1.CreateExperimentRequest{
				Model: name("m"), Name: name("e"),
				Arms: []*registryv1.ExperimentArm{{Name: "a", Alias: name("a"), Weight: 500_000}, {Name: "b", Version: version(), Weight: 500_000}},
			})
			return err
		},
		"StartExperiment": func() error {
			_, err := r.StartExperiment(ctx, &registryv1.StartExperimentRequest{Model: name("m"), Experiment: name("e"), Etag: "*"})
			return err
		},
		"RampExperiment": func() error {
			_, err := r.RampExperiment(ctx, &registryv1.RampExperimentRequest{Model: name("m"), Experiment: name("e"), Etag: "*", Weights: map[string]int32{"b": rand.Int32N(1_000_000)}})
			return err
		},
		"ConcludeExperiment": func() error {
			_, err := r.ConcludeExperiment(ctx, &registryv1.ConcludeExperimentRequest{Model: name("m"), Experiment: name("e"), Etag: "*"})
			return err
		},
		"DeleteExperiment": func() error {
			_, err := r.DeleteExperiment(ctx, &registryv1.DeleteExperimentRequest{Model: name("m"), Experiment: name("e"), Etag: "*"})
			return err
		},
		"CreateRollout": func() error {
			_, err := r.CreateRollout(ctx, &registryv1.CreateRolloutRequest{
				Model: name("m"), Rollout: name("r"), Candidate: version(), Alias: name("a"),
				Steps: []*registryv1.RolloutStep{{Weight: 1_000_000, MinDuration: durationpb.New(1)}},
			})
			return err
		},
		"AbortRollout": func() error {
			_, err := r.AbortRollout(ctx, &registryv1.AbortRolloutRequest{Model: name("m"), Rollout: name("r"), Etag: "*"})
			return err
		},
		"DeleteModel": func() error {
			_, err := r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: name("m"), Purge: rand.IntN(2) == 0})
			return err
		},
		"UndeleteModel": func() error {
			_, err := r.UndeleteModel(ctx, &registryv1.UndeleteModelRequest{Model: name("m")})
			return err
		},
		"RollbackAlias": func() error {
			_, err := r.RollbackAlias(ctx, &registryv1.RollbackAliasRequest{Model: name("m"), Alias: name("a"), Revision: rand.Int64N(50) + 1, Etag: "*"})
			return err
		},
		"RollbackSplit": func() error {
			_, err := r.RollbackSplit(ctx, &registryv1.RollbackSplitRequest{Model: name("m"), Revision: rand.Int64N(50) + 1, Etag: "*"})
			return err
		},
		"SetAliasProtection": func() error {
			_, err := r.SetAliasProtection(ctx, &registryv1.SetAliasProtectionRequest{Model: name("m"), Protected: []string{"z"}, Etag: "*"})
			return err
		},
		"ImportModels": func() error {
			page, err := r.ExportModels(ctx, &registryv1.ExportModelsRequest{})
			if err != nil || len(page.GetModels()) == 0 {
				return err
			}
			_, err = r.ImportModels(ctx, &registryv1.ImportModelsRequest{Models: page.GetModels()[:1], Conflict: registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE})
			return err
		},
		"CreatePromptVersion": func() error {
			_, err := r.CreatePromptVersion(ctx, &registryv1.CreatePromptVersionRequest{
				Prompt: name("p"), Spec: &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "user", Content: name("c")}}},
			})
			return err
		},
		"SetPromptAlias": func() error {
			_, err := r.SetPromptAlias(ctx, &registryv1.SetPromptAliasRequest{Prompt: name("p"), Alias: name("a"), Version: version(), Etag: "*"})
			return err
		},
	}
	var (
		hands sync.WaitGroup
		done  atomic.Int64
	)
	for kind, change := range changes {
		hands.Go(func() {
			for range 4 {
				err := change()
				if !refused(err) {
					t.Errorf("%s: %v", kind, err)
				}
				if err == nil {
					done.Add(1)
				}
			}
		})
	}
	hands.Wait()
	if done.Load() == 0 {
		t.Error("nothing was changed")
	}
	_, err := r.ExportModels(ctx, &registryv1.ExportModelsRequest{})
	fatal(t, err)
	watch, err := r.Watch(ctx, &registryv1.WatchRequest{})
	fatal(t, err)
	_, err = watch.Recv()
	fatal(t, err)
}
