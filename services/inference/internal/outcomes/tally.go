package outcomes

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// The bounds of one batch, within what the contract allows.
const (
	maxCells     = 4096
	maxExposures = 1024
	maxFresh     = 2048 // subjects of one exposure
	maxSeen      = 16_384
	maxPlans     = 4096
	maxSegments  = 32
)

// The labels of a model that price its answers, per million tokens, in any unit;
// `.v3` after the name makes it the price of version 3.
const (
	LabelInputPrice  = "poterne.dev/price-input"
	LabelOutputPrice = "poterne.dev/price-output"
)

// cellKey is what outcomes are told apart by.
type cellKey struct {
	model, experiment, arm string
	version                int32
	digest, segment        string
	prompt                 string
	promptVersion          int32
}

// cell is the sums of one key.
type cell struct {
	sums          *registryv1.OutcomeSums
	priced        bool
	input, output float64 // per token
}

// planKey names a division of subjects at one etag.
type planKey struct{ model, experiment, etag string }

// plan is the subjects that were seen of a division: those that were reported, and
// those that are to be.
type plan struct {
	division *catalog.Division
	seen     map[uint64]bool
	fresh    map[string][]uint64 // by arm
	news     int
	used     bool // since the last sweep
}

// tally adds outcomes up between two batches. It is not safe for concurrent use.
type tally struct {
	segments map[string]string // by tenant
	cells    map[cellKey]*cell
	plans    map[planKey]*plan
	dropped  int64
}

func newTally(segments map[string]string) *tally {
	return &tally{segments: segments, cells: make(map[cellKey]*cell), plans: make(map[planKey]*plan)}
}

// add counts an outcome, or counts it as dropped where there is no room.
func (t *tally) add(o *Outcome) {
	v, d := o.Target.Version, o.Target.Division
	k := cellKey{v.Model, d.Name(), o.Target.Arm, v.Number, v.Digest, t.segments[o.Tenant], o.Prompt, o.PromptVersion}
	c := t.cells[k]
	if c == nil {
		if len(t.cells) >= maxCells {
			t.dropped++
			return
		}
		c = newCell(o.Model, v.Number)
		t.cells[k] = c
	}
	c.add(o)
	if d != nil {
		t.expose(v.Model, d, o.Target.Arm, o.Key)
	}
}

// expose notes a subject that is seen for the first time.
func (t *tally) expose(model string, d *catalog.Division, arm, key string) {
	k := planKey{model, d.Experiment, d.Etag}
	p := t.plans[k]
	if p == nil {
		if len(t.plans) >= maxPlans {
			return // the check of the sample ratio rests on what was seen before
		}
		p = &plan{division: d, seen: make(map[uint64]bool), fresh: make(map[string][]uint64)}
		t.plans[k] = p
	}
	p.used = true
	if len(p.seen) >= maxSeen || p.news >= maxFresh {
		return
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.Salt + "\x00" + key))
	if subject := h.Sum64(); !p.seen[subject] {
		p.seen[subject] = true
		p.fresh[arm] = append(p.fresh[arm], subject)
		p.news++
	}
}

func newCell(m *catalog.Model, version int32) *cell {
	labels := m.State.GetModel().GetLabels()
	input, ok := price(labels, LabelInputPrice, version)
	output, also := price(labels, LabelOutputPrice, version)
	return &cell{sums: new(registryv1.OutcomeSums), priced: ok || also, input: input, output: output}
}

func price(labels map[string]string, name string, version int32) (float64, bool) {
	text, ok := labels[name+".v"+strconv.Itoa(int(version))]
	if !ok {
		if text, ok = labels[name]; !ok {
			return 0, false
		}
	}
	p, err := strconv.ParseFloat(text, 64)
	if err != nil || !(p >= 0) || p > 1e12 {
		return 0, false
	}
	return p / 1e6, true
}

func (c *cell) add(o *Outcome) {
	s := c.sums
	switch o.kind() {
	case cancelled:
		s.Cancelled++
		return
	case rejected:
		s.Rejected++
		return
	case failed:
		s.Requests++
		s.Errors++
		return
	case answered:
	}
	s.Requests++
	if o.Refused {
		s.Refusals++
	}
	s.Duration = count(s.GetDuration(), o.Duration)
	if o.First > 0 {
		s.FirstToken = count(s.GetFirstToken(), o.First)
		s.FirstTokenSeconds = value(s.GetFirstTokenSeconds(), o.First.Seconds())
		if rest := o.Duration - o.First; rest > 0 && o.OutputTokens > 1 {
			s.TokensPerSecond = value(s.GetTokensPerSecond(), float64(o.OutputTokens-1)/rest.Seconds())
		}
	}
	if o.OutputTokens >= 0 {
		s.OutputTokens = value(s.GetOutputTokens(), float64(o.OutputTokens))
		if c.priced {
			s.Cost = value(s.GetCost(), float64(max(o.PromptTokens, 0))*c.input+float64(o.OutputTokens)*c.output)
		}
	}
}

func value(m *registryv1.Moments, x float64) *registryv1.Moments {
	if m == nil {
		m = new(registryv1.Moments)
	}
	m.Count++
	m.Sum += x
	m.SumSquares += x * x
	return m
}

// take returns what was counted as the parts of a batch, and begins anew. It
// returns nil when there is nothing.
func (t *tally) take() *registryv1.OutcomeBatch {
	b := &registryv1.OutcomeBatch{Dropped: t.dropped}
	t.dropped = 0
	for k, c := range t.cells {
		b.Outcomes = append(b.Outcomes, &registryv1.Outcome{
			Model: k.model, Experiment: k.experiment, Arm: k.arm, Version: k.version, Digest: k.digest, Segment: k.segment, Sums: c.sums,
			Prompt: k.prompt, PromptVersion: k.promptVersion,
		})
	}
	clear(t.cells)
	slices.SortFunc(b.Outcomes, func(x, y *registryv1.Outcome) int {
		return cmp.Or(cmp.Compare(x.GetModel(), y.GetModel()), cmp.Compare(x.GetExperiment(), y.GetExperiment()),
			cmp.Compare(x.GetArm(), y.GetArm()), cmp.Compare(x.GetVersion(), y.GetVersion()), cmp.Compare(x.GetSegment(), y.GetSegment()),
			cmp.Compare(x.GetPrompt(), y.GetPrompt()), cmp.Compare(x.GetPromptVersion(), y.GetPromptVersion()))
	})
	for k, p := range t.plans {
		if p.news == 0 || len(b.Exposures) >= maxExposures {
			continue
		}
		b.Exposures = append(b.Exposures, p.exposure(k))
	}
	if len(b.Outcomes) == 0 && len(b.Exposures) == 0 && b.GetDropped() == 0 {
		return nil
	}
	return b
}

func (p *plan) exposure(k planKey) *registryv1.Exposure {
	e := &registryv1.Exposure{Model: k.model, Experiment: k.experiment, Etag: k.etag}
	for i, arm := range p.division.Arms {
		e.Shares = append(e.Shares, &registryv1.Share{Arm: arm, Weight: p.division.Weights[i], Subjects: p.fresh[arm]})
	}
	p.fresh, p.news = make(map[string][]uint64), 0
	return e
}

// sweep forgets divisions of which nothing was seen since the last sweep.
func (t *tally) sweep() {
	for k, p := range t.plans {
		if !p.used && p.news == 0 {
			delete(t.plans, k)
		}
		p.used = false
	}
}
