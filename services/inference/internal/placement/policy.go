package placement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Policy says how many workers shall have a model's versions, and how they are
// treated there.
type Policy struct {
	// Min is how many workers shall have each version that serves, whatever is
	// asked of it, and Max how many at most.
	Min, Max int
	// IdleUnload is how long fewer copies must have been enough for one above Min
	// to be unloaded; 0 is never.
	IdleUnload time.Duration
	// Pinned has no copy unloaded to make room for another version.
	Pinned bool
	// WarmUp has a small request run before a copy counts as ready.
	WarmUp bool
	// MaxLoss bounds by which share a variant may be worse than the version's own
	// weights to serve in their place; nil allows all of them.
	MaxLoss *float64
	// Fallback lets worse variants serve while better ones have no room.
	Fallback bool
	// Guaranteed is how many copies are pinned and may drive others out: Min where
	// it was said for this very model.
	Guaranteed int
	// Problem says what of the model's labels could not be used.
	Problem string
}

// MaxReplicas bounds Policy.Max.
const MaxReplicas = 1024

// MaxQualityLoss bounds Policy.MaxLoss.
const MaxQualityLoss = 1000

// Override is what is said of one model; what is nil is as for all.
type Override struct {
	// MinReplicas and MaxReplicas are how many workers shall have each version of
	// the model that serves, at least and at most. So many as are said here at least
	// are pinned; 0 loads it when it is asked for.
	MinReplicas *int `yaml:"min_replicas"`
	MaxReplicas *int `yaml:"max_replicas"`
	// IdleUnload is how long fewer copies must have been enough for one above the
	// least to be unloaded; 0 is never.
	IdleUnload *time.Duration `yaml:"idle_unload"`
	// Pinned has no copy unloaded to make room for another version.
	Pinned *bool `yaml:"pinned"`
	// WarmUp has a small request run before a copy counts as ready.
	WarmUp *bool `yaml:"warm_up"`
	// MaxQualityLoss bounds by which share a variant may be worse than the version's
	// own weights to serve in their place: 0.02 is 2 %. One that was not measured
	// may not, then.
	MaxQualityLoss *float64 `yaml:"max_quality_loss"`
	// SaturationFallback lets worse variants serve while better ones have no room.
	SaturationFallback *bool `yaml:"saturation_fallback"`
}

// The labels of a model in the registry that say the same. What an Override says
// goes before.
const (
	LabelMinReplicas = "poterne.dev/min-replicas"
	LabelMaxReplicas = "poterne.dev/max-replicas"
	LabelIdleUnload  = "poterne.dev/idle-unload"
	LabelPinned      = "poterne.dev/pinned"
	LabelWarmUp      = "poterne.dev/warm-up"

	LabelMaxQualityLoss     = "poterne.dev/max-quality-loss"
	LabelSaturationFallback = "poterne.dev/saturation-fallback"
)

// Policies is the policy of every model.
type Policies struct {
	// Default is that of models of which nothing is said.
	Default Policy
	// Models are what is said of models, by name.
	Models map[string]Override
}

// Problem says what of a model's labels cannot be used; "" when all can.
func (p Policies) Problem(labels map[string]string) string {
	_, problem := overrideOf(labels)
	return problem
}

// Of returns the policy of a model with the given labels.
func (p Policies) Of(model string, labels map[string]string) Policy {
	out := p.Default
	labelled, problem := overrideOf(labels)
	out.Problem = problem
	out = p.Models[model].over(labelled.over(out))
	out.Min = min(max(out.Min, 0), MaxReplicas)
	out.Max = min(max(out.Max, out.Min, 1), MaxReplicas)
	return out
}

func (o Override) over(p Policy) Policy {
	if o.MinReplicas != nil {
		p.Min, p.Guaranteed = *o.MinReplicas, *o.MinReplicas
	}
	if o.MaxReplicas != nil {
		p.Max = *o.MaxReplicas
		p.Min, p.Guaranteed = min(p.Min, p.Max), min(p.Guaranteed, p.Max)
	}
	set(&p.IdleUnload, o.IdleUnload)
	set(&p.Pinned, o.Pinned)
	set(&p.WarmUp, o.WarmUp)
	set(&p.Fallback, o.SaturationFallback)
	if o.MaxQualityLoss != nil {
		p.MaxLoss = o.MaxQualityLoss
	}
	return p
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// labelPrefix is that of the labels that are read here.
const labelPrefix = "poterne.dev/"

// overrideOf reads labels, and tells those that cannot be used.
func overrideOf(labels map[string]string) (o Override, problem string) {
	if len(labels) == 0 {
		return o, ""
	}
	var problems []string
	known := make(map[string]bool)
	read := func(name string, use func(text string) bool) {
		known[name] = true
		if text, ok := labels[name]; ok && !use(text) {
			problems = append(problems, fmt.Sprintf("label %s: %.64q cannot be used", name, text))
		}
	}
	count := func(least int, to **int) func(string) bool {
		return func(text string) bool {
			n, err := strconv.Atoi(text)
			if err != nil || n < least || n > MaxReplicas {
				return false
			}
			*to = &n
			return true
		}
	}
	yes := func(to **bool) func(string) bool {
		return func(text string) bool {
			b, err := strconv.ParseBool(text)
			if err != nil {
				return false
			}
			*to = &b
			return true
		}
	}
	read(LabelMinReplicas, count(0, &o.MinReplicas))
	read(LabelMaxReplicas, count(1, &o.MaxReplicas))
	read(LabelPinned, yes(&o.Pinned))
	read(LabelWarmUp, yes(&o.WarmUp))
	read(LabelSaturationFallback, yes(&o.SaturationFallback))
	read(LabelMaxQualityLoss, func(text string) bool {
		loss, err := strconv.ParseFloat(text, 64)
		usable := err == nil && loss >= 0 && loss <= MaxQualityLoss
		if !usable {
			loss = 0 // a bound was meant: nothing worse serves until it is known
		}
		o.MaxQualityLoss = &loss
		return usable
	})
	read(LabelIdleUnload, func(text string) bool {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return false
		}
		o.IdleUnload = &d
		return true
	})
	for name := range labels {
		if strings.HasPrefix(name, labelPrefix) && !known[name] {
			problems = append(problems, fmt.Sprintf("label %s: is not known", name))
		}
	}
	slices.Sort(problems)
	return o, strings.Join(problems, "; ")
}
