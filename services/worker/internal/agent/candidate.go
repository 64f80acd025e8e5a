package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
)

// candidate is a model that is not admitted yet, or was admitted by the sizes of
// its files alone.
type candidate struct {
	model *model
	input engine.Model
	// plan is how it is served; nil before the survey, and while it depends on
	// which GPUs it gets.
	plan *engine.Plan
	// size is what it takes of GPUs; zero when it uses none.
	size    engine.Size
	devices map[string]engine.GPU // by pool
	limit   int                   // of models
	learned *memory.Learned
}

func (a *Agent) candidateOf(m *model) *candidate {
	return &candidate{
		model: m, input: engine.Model{Name: m.name, Spec: m.spec, Files: m.files, Adapters: m.adapters, Impossible: a.impossible(m.name)},
		devices: a.devicesOf(), limit: a.cfg.MaxModels, learned: a.parts.Learned,
	}
}

// impossible counts answers whose engine counted what cannot be, and says it once of a
// model that is loaded.
func (a *Agent) impossible(model string) func(context.Context) {
	var once sync.Once
	labels := metric.WithAttributeSet(attribute.NewSet(attribute.String(keyModel, model)))
	return func(ctx context.Context) {
		a.metrics.impossible.Add(context.WithoutCancel(ctx), 1, labels)
		once.Do(func() {
			a.log.WarnContext(ctx, "an engine counts more tokens than a request can have, or fewer than none; what it can have counts, and this is said once",
				slog.String(keyModel, model))
		})
	}
}

// survey finds out how large the model is, by its files.
func (c *candidate) survey(ctx context.Context) (err error) {
	if sizer, is := c.model.adapter.(engine.Sizer); is && len(c.devices) > 0 {
		if c.size, err = sizer.Size(ctx, c.input); err != nil {
			return err
		}
	}
	if c.size.Shared == 0 {
		c.plan, err = c.model.adapter.Plan(ctx, c.input)
	}
	return err
}

// corrected is the estimate after what earlier loads of the version took; n is
// the number of GPUs that it is spread over.
func (c *candidate) corrected(estimate map[string]int64, n int) map[string]int64 {
	return memory.Corrected(estimate, func(pool string) float64 { return c.ratio(pool, n) })
}

// ratio is by how much an estimate is corrected. What a greedy engine was given
// and did not take it may take yet.
func (c *candidate) ratio(pool string, n int) float64 {
	ratio := 1.0
	if c.learned != nil {
		ratio = c.learned.Ratio(lesson(c.model.digest, classOf(pool, c.size.Greedy), n))
	}
	if c.size.Greedy && pool != engine.PoolCPU {
		ratio = max(ratio, 1)
	}
	return ratio
}

// classOf is what is learnt together: main memory, GPUs as they were estimated,
// and GPUs of which the engine was given so much.
func classOf(pool string, greedy bool) string {
	switch {
	case !strings.HasPrefix(pool, gpuPrefix):
		return pool
	case greedy:
		return "given"
	}
	return gpuPrefix
}

// lesson is the key under which it is learnt what a version takes. Its digest
// covers its parameters.
func lesson(digest, class string, gpus int) string {
	return fmt.Sprintf("%s/%s/%d", digest, class, gpus)
}

// admit finds room for the candidate, makes it if it may, and takes it. a.loading
// is held.
func (a *Agent) admit(ctx context.Context, c *candidate) error {
	a.sample(ctx, freshEnough)
	at, err := a.makeRoom(ctx, c, c.model.evict)
	if err != nil {
		return err
	}
	if err := a.settle(ctx, c, at); err != nil {
		return err
	}
	if short := a.hold(c.model, at.need); short != nil {
		return tooLarge(c.model.name, short)
	}
	return nil
}

// settle fills in what follows from where the model goes; without its files that
// is a guess.
func (a *Agent) settle(ctx context.Context, c *candidate, at spot) error {
	m, plan := c.model, c.plan
	switch {
	case c.size.Shared > 0:
		c.input.GPUs = at.gpus
		var err error
		if plan, err = m.adapter.Plan(ctx, c.input); err != nil {
			return err
		}
	case plan == nil:
		plan = &engine.Plan{MemoryBytes: at.need}
	}
	if plan.Connect != nil {
		m.turns = a.cfg.Embedding.turns(plan.Slots)
		m.gate.allow(plan.Slots, plan.MaxInFlight)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan, m.gpus, m.estimated = plan, at.gpus, sum(at.need)
	return nil
}
