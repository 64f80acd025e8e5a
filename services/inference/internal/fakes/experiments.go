package fakes

import (
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Experiment adds one that runs, with an arm for each version, whose ranges are of
// equal weights in the arms' order; change may change it.
func Experiment(name string, change func(*registryv1.Experiment), versions ...int32) Change {
	return func(s *registryv1.ModelState) {
		e := &registryv1.Experiment{
			Model: s.GetModel().GetName(), Name: name, State: registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING,
			Share: 1_000_000, Salt: name, LayerSalt: name + "/layer",
			LayerRanges: []*registryv1.PointRange{{Start: 0, End: 1_000_000}},
		}
		for i, v := range versions {
			start, end := 1_000_000*i/len(versions), 1_000_000*(i+1)/len(versions)
			e.Arms = append(e.Arms, &registryv1.ExperimentArm{
				Name: string(rune('a' + i)), Version: v, Weight: int32(end - start),
			})
			e.ArmRanges = append(e.ArmRanges, &registryv1.ArmRange{Start: int32(start), End: int32(end), Arm: int32(i)})
		}
		if change != nil {
			change(e)
		}
		s.Experiments = append(s.Experiments, e)
	}
}
