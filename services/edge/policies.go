package edge

import (
	"maps"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/health"
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
