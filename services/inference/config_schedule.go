package inference

import (
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// The policies of Routing.
const (
	PolicyScored     = "scored"
	PolicyLeastLoad  = "least_load"
	PolicyRoundRobin = "round_robin"
)

// Score is the weights of the terms.
type Score struct {
	// Prefix is trust in what workers are believed to have cached of a prompt.
	Prefix float64 `yaml:"prefix"`
	// Prompts counts prompts that a worker was given and has not read yet.
	Prompts float64 `yaml:"prompts"`
	// Queue counts requests, above all those beyond a worker's slots.
	Queue float64 `yaml:"queue"`
	// KVCache avoids workers whose memory for running requests is nearly full.
	KVCache float64 `yaml:"kv_cache"`
	// Session prefers the worker that is the session's home.
	Session float64 `yaml:"session"`
	// Affinity leads a prompt that no worker is known to have cached to the same
	// worker from every replica.
	Affinity float64 `yaml:"affinity"`
}

// Queue says how requests wait for their turn.
type Queue struct {
	// MaxRequests and MaxBytes bound what waits for one version.
	MaxRequests int          `yaml:"max_requests"`
	MaxBytes    config.Bytes `yaml:"max_bytes"`
	// MaxWait is how long requests of each class may wait: one that would wait
	// longer is refused at once.
	MaxWait MaxWait `yaml:"max_wait"`
	// Overcommit is how many requests beyond its slots a worker is given, as a
	// share of the slots, but at least one: an engine that has the next request
	// at hand does not idle between two.
	Overcommit float64 `yaml:"overcommit"`
	// BatchShare is the share of a worker's slots that batch requests may fill
	// while requests of other classes were seen within BatchGrace.
	BatchShare float64       `yaml:"batch_share"`
	BatchGrace time.Duration `yaml:"batch_grace"`
	// InputWeight and OutputWeight are what a token of prompts and of answers
	// costs a tenant in fairness.
	InputWeight  float64 `yaml:"input_weight"`
	OutputWeight float64 `yaml:"output_weight"`
	// Weights are tenants' shares relative to others', which have 1.
	Weights map[string]float64 `yaml:"weights"`
}

// MaxWait is times by class.
type MaxWait struct {
	Interactive time.Duration `yaml:"interactive"`
	Standard    time.Duration `yaml:"standard"`
	Batch       time.Duration `yaml:"batch"`
}

func (r *Routing) validate(p *config.Problems) {
	policies := []string{PolicyScored, PolicyLeastLoad, PolicyRoundRobin}
	p.Check(slices.Contains(policies, r.Policy), "routing.policy", "must be one of %s, got %q", strings.Join(policies, ", "), r.Policy)
	p.Check(r.PrefixBlocks > 0 && r.PrefixBlocks <= 1<<24, "routing.prefix_blocks", "must be from 1 to %d, got %d", 1<<24, r.PrefixBlocks)
	p.Check(r.SessionBalance > 1 && r.SessionBalance <= 10, "routing.session_balance", "must be above 1 and at most 10, got %v", r.SessionBalance)
	for _, t := range []struct {
		key    string
		weight float64
	}{
		{"prefix", r.Score.Prefix},
		{"prompts", r.Score.Prompts},
		{"queue", r.Score.Queue},
		{"kv_cache", r.Score.KVCache},
		{"session", r.Score.Session},
		{"affinity", r.Score.Affinity},
	} {
		p.Check(t.weight >= 0 && t.weight <= 1000, "routing.score."+t.key, "must be from 0 to 1000, got %v", t.weight)
	}
}

func (q *Queue) validate(p *config.Problems) {
	p.Check(q.MaxRequests > 0 && q.MaxRequests <= 1<<20, "queue.max_requests", "must be from 1 to %d, got %d", 1<<20, q.MaxRequests)
	p.Check(q.MaxBytes >= 32*config.MiB, "queue.max_bytes", "must be at least 32MiB, so that the largest request fits, got %v", q.MaxBytes)
	for _, w := range []struct {
		key string
		d   time.Duration
	}{{"interactive", q.MaxWait.Interactive}, {"standard", q.MaxWait.Standard}, {"batch", q.MaxWait.Batch}} {
		p.Check(w.d > 0, "queue.max_wait."+w.key, "must be positive, got %v", w.d)
	}
	p.Check(q.Overcommit >= 0 && q.Overcommit <= 10, "queue.overcommit", "must be from 0 to 10, got %v", q.Overcommit)
	p.Check(q.BatchShare > 0 && q.BatchShare <= 1, "queue.batch_share", "must be above 0 and at most 1, got %v", q.BatchShare)
	p.Check(q.BatchGrace >= 0, "queue.batch_grace", "must not be negative, got %v", q.BatchGrace)
	p.Check(q.InputWeight >= 0 && q.OutputWeight >= 0 && q.InputWeight+q.OutputWeight > 0, "queue.input_weight",
		"must not be negative, nor 0 together with output_weight, got %v and %v", q.InputWeight, q.OutputWeight)
	for tenant, w := range q.Weights {
		p.Check(w >= 0.001 && w <= 1000, "queue.weights."+tenant, "must be from 0.001 to 1000, got %v", w)
	}
}

func (c Placement) validate(p *config.Problems, prefix string) {
	replicas := func(key string, n, least int) {
		p.Check(n >= least && n <= placement.MaxReplicas, prefix+"."+key, "must be from %d to %d, got %d", least, placement.MaxReplicas, n)
	}
	replicas("replicas", c.Replicas, 0)
	replicas("max_replicas", c.MaxReplicas, 0)
	p.Check(c.TargetUtilization > 0 && c.TargetUtilization <= 1, prefix+".target_utilization", "must be above 0 and at most 1, got %v", c.TargetUtilization)
	p.Check(c.IdleUnload >= 0, prefix+".idle_unload", "must not be negative, got %v", c.IdleUnload)
	p.Check(c.Stagger >= 0 && c.Stagger <= time.Minute, prefix+".stagger", "must be from 0 to 1m, got %v", c.Stagger)
	for name, m := range c.Models {
		at := "models." + name + "."
		if m.MinReplicas != nil {
			replicas(at+"min_replicas", *m.MinReplicas, 0)
		}
		if m.MaxReplicas != nil {
			replicas(at+"max_replicas", *m.MaxReplicas, 1)
			p.Check(m.MinReplicas == nil || *m.MinReplicas <= *m.MaxReplicas, prefix+"."+at+"max_replicas", "must not be less than min_replicas")
		}
		p.Check(m.MaxQualityLoss == nil || *m.MaxQualityLoss >= 0 && *m.MaxQualityLoss <= placement.MaxQualityLoss,
			prefix+"."+at+"max_quality_loss", "must be from 0 to %d", placement.MaxQualityLoss)
		p.Check(m.IdleUnload == nil || *m.IdleUnload >= 0, prefix+"."+at+"idle_unload", "must not be negative")
	}
}

// policies are the placement's, by model.
func (c Placement) policies() placement.Policies {
	return placement.Policies{
		Default: placement.Policy{Min: c.Replicas, Max: c.MaxReplicas, IdleUnload: c.IdleUnload, WarmUp: c.WarmUp},
		Models:  c.Models,
	}
}
