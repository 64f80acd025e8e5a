package security

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/models"
	"github.com/poterne/poterne/services/edge/internal/policy"
	"github.com/poterne/poterne/services/edge/internal/policyserver"
)

// openPolicies has the authorizer decide by the policies in the store, on top of
// those that came with the program.
func (s *Security) openPolicies(ctx context.Context, cfg authz.Config, d Deps, db *sqldb.DB, authorizer *authz.Authorizer) error {
	m, err := metrics.NewPolicies(d.Telemetry.Meter(metrics.Scope), authorizer.PolicyVersion)
	if err != nil {
		return err
	}
	s.close = append(s.close, m.Close)
	var registry models.Registry
	if d.Registry != nil {
		registry = d.Registry
	}
	s.models = models.NewFollower(models.Deps{
		Registry: registry, Platform: cfg.PlatformTenant, Clock: d.Clock, Log: d.Telemetry.Logger, Report: d.ModelProblem,
	})
	authorizer.AskModels(s.models)
	compiler, err := authz.NewCompiler()
	if err != nil {
		return err
	}
	space := policy.Space{Platform: cfg.PlatformTenant, Base: authorizer.Base(), Compiler: compiler, TenantConditions: cfg.MaxTenantConditions}
	trial := policy.NewTrial(cfg.PlatformTenant, d.Clock, m.DryRunDifference)
	store := policy.NewStore(db)
	s.rules, err = policy.NewFollower(ctx, policy.FollowerDeps{
		Space: space, Source: store, Target: authorizer, Clock: d.Clock, Interval: cfg.PollInterval, Log: d.Telemetry.Logger,
		Trial: trial, Report: d.PolicyProblems,
	})
	if err != nil {
		return err
	}
	s.dryRuns = policy.NewReporter(store, trial, replicaName(d.IDs), d.Clock, d.Telemetry.Logger)
	s.Policies = policyserver.New(policyserver.Deps{
		Store: store, Follower: s.rules, Reporter: s.dryRuns, Space: space, Authorizer: authorizer, Models: s.models, Clock: d.Clock, Log: d.Telemetry.Logger,
	})
	return nil
}

// replicaName tells this replica from the others, in what people read: its host, and
// something that no other one has.
func replicaName(source ids.Source) string {
	id := source.New()
	if host, err := os.Hostname(); err == nil && host != "" {
		return host + "/" + id[max(0, len(id)-8):]
	}
	return id
}
