package catalog

import (
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// Basis says on what of a request the version rests that Decide returns for it: two
// requests that agree in that are decided alike by one snapshot.
func (s *Snapshot) Basis(model string, who *split.Subject) inferencev1.ServingBasis {
	m, bare := s.models[model]
	if !bare { // an alias, a number or a digest
		return inferencev1.ServingBasis_SERVING_BASIS_MODEL
	}
	basis := inferencev1.ServingBasis_SERVING_BASIS_MODEL
	for _, e := range m.Experiments {
		if len(e.Arms) == 0 {
			continue // a shadow decides nothing
		}
		basis = inferencev1.ServingBasis_SERVING_BASIS_SUBJECT
		switch {
		case e.rule.Overridden(who):
			return basis
		case !e.rule.For(who):
			continue
		case e.rule.ByItself(who):
			return inferencev1.ServingBasis_SERVING_BASIS_REQUEST
		case e.rule.Decide(who) >= 0:
			return basis
		}
	}
	if len(m.Arms) == 0 {
		return basis
	}
	if who.User == "" {
		return inferencev1.ServingBasis_SERVING_BASIS_REQUEST
	}
	return inferencev1.ServingBasis_SERVING_BASIS_SUBJECT
}
