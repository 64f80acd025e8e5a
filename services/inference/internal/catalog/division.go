package catalog

import registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"

// Division is how subjects were divided among arms: a model's split, or one of its
// experiments, as it was at one etag. It is not changed once made.
type Division struct {
	// Experiment is the experiment's name, empty for the model's plain split.
	Experiment string
	Etag, Salt string
	// Arms are the names of all arms, Weights their shares in millionths.
	Arms    []string
	Weights []int32
}

// Name is the experiment's name; empty for a plain split and for none.
func (d *Division) Name() string {
	if d == nil {
		return ""
	}
	return d.Experiment
}

// divisionOf is the division that a plain split makes.
func divisionOf(s *registryv1.Split) *Division {
	d := &Division{Etag: s.GetEtag(), Salt: s.GetSalt()}
	for _, a := range s.GetArms() {
		d.Arms, d.Weights = append(d.Arms, a.GetName()), append(d.Weights, a.GetWeight())
	}
	return d
}

// divided is the division that an experiment makes.
func divided(e *registryv1.Experiment) *Division {
	d := &Division{Experiment: e.GetName(), Etag: e.GetEtag(), Salt: e.GetSalt()}
	for _, a := range e.GetArms() {
		d.Arms, d.Weights = append(d.Arms, a.GetName()), append(d.Weights, a.GetWeight())
	}
	return d
}
