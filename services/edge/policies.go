package edge

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// CheckPolicies is what the readiness report says about the policies. It is
// advice: a replica that cannot load a newer one goes on with what it had.
const CheckPolicies = "edge: policies"

// maxPolicyProblems bounds what the report tells.
const maxPolicyProblems = 5

// advisePolicies returns what puts problems with policies into the readiness
// report.
func (s *Service) advisePolicies() func(problems map[string]string) {
	advice := health.NewReadiness(s.opts.clock)
	check := advice.Register(CheckPolicies)
	check.Ready() // until something cannot be loaded
	s.readiness.Advise(advice)
	return func(problems map[string]string) {
		if len(problems) == 0 {
			check.Ready()
			return
		}
		var texts []string
		for _, tenant := range slices.Sorted(maps.Keys(problems)) {
			if len(texts) == maxPolicyProblems {
				texts = append(texts, "and others")
				break
			}
			texts = append(texts, tenant+": "+problems[tenant])
		}
		check.NotReady("what was in force goes on: " + strings.Join(texts, "; "))
	}
}

// CheckModels is what the readiness report says about what rules know of models. It is
// advice: most rules ask for none of it.
const CheckModels = "edge: models"

// adviseModels returns what puts problems with following the registry into the
// readiness report.
func (s *Service) adviseModels() func(problem string) {
	advice := health.NewReadiness(s.opts.clock)
	check := advice.Register(CheckModels)
	check.Ready() // until the registry cannot be reached
	s.readiness.Advise(advice)
	return func(problem string) {
		if problem == "" {
			check.Ready()
			return
		}
		check.NotReady(problem)
	}
}

// policyHeader is the metadata by which the inference service is told what the policy
// says of versions: inferencev1.PolicyVerdicts.
const policyHeader = "poterne-policy-bin"

// withVerdicts tells the inference service what the policy says of the versions that
// may answer the request in hand.
func withVerdicts() grpcclient.Option {
	return grpcclient.WithOutgoing(func(ctx context.Context, m grpcclient.Metadata) (grpcclient.Metadata, error) {
		m = m.Without(policyHeader) // nobody else's
		if verdicts := obligation.LimitsFrom(ctx).Verdicts; verdicts != nil {
			m = m.With(policyHeader, string(verdicts))
		}
		return m, nil
	})
}
