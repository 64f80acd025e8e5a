package inference

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
	"github.com/poterne/poterne/services/inference/internal/shadow"
)

// Shadow bounds the copies of requests that experiments have other versions get.
type Shadow struct {
	// MaxInFlight is how many run at once; 0 makes none.
	MaxInFlight int `yaml:"max_in_flight"`
	// Timeout is how long one may take, the wait for the request's own end included.
	Timeout time.Duration `yaml:"timeout"`
}

func (c Shadow) validate(p *config.Problems) {
	p.Check(c.MaxInFlight >= 0 && c.MaxInFlight <= 1024, "shadow.max_in_flight", "must be from 0 to 1024, got %d", c.MaxInFlight)
	p.Check(c.Timeout > 0, "shadow.timeout", "must be positive, got %v", c.Timeout)
}

// newShadows needs the router.
func (s *Service) newShadows() (*shadow.Runner, error) {
	counts, err := metrics.NewShadows(s.opts.telemetry.Meter(metrics.Scope))
	if err != nil {
		return nil, err
	}
	return shadow.New(shadow.Options{
		Router: s.router, Clock: s.opts.clock, Replica: s.replica,
		MaxInFlight: s.cfg.Shadow.MaxInFlight, Timeout: s.cfg.Shadow.Timeout,
		Ended: func(ctx context.Context, c shadow.Comparison) {
			count(ctx, counts, c)
			if o, ok := copied(c); ok {
				s.reporting.recorder.Record(o)
			}
		},
	}), nil
}

func count(ctx context.Context, m *metrics.Shadows, c shadow.Comparison) {
	model := c.Shadow.Version.Model
	m.Outcome(ctx, model, c.Shadow.Experiment, string(c.Outcome))
	if c.Outcome != shadow.Equal && c.Outcome != shadow.Different {
		return
	}
	m.Compared(ctx, model, c.Shadow.Experiment, measured(c.Request), measured(c.Copy), c.Similarity)
}

// copied is what a rollout's copy came to, if it came to an end of its own: one that
// was in the way, or had nothing to be compared with, says nothing of the version.
func copied(c shadow.Comparison) (outcomes.Outcome, bool) {
	if c.Shadow.Arm == "" {
		return outcomes.Outcome{}, false
	}
	switch c.Outcome {
	case shadow.Equal, shadow.Different, shadow.Unread, shadow.Failed:
	default:
		return outcomes.Outcome{}, false
	}
	o := outcomes.Outcome{
		Model: c.Shadow.Model, Target: catalog.Target{Version: c.Shadow.Version, Arm: c.Shadow.Arm},
		Reason: c.Copy.Reason, Duration: c.Copy.Took, PromptTokens: -1, OutputTokens: -1,
	}
	if u := c.Copy.Usage; u != nil {
		o.PromptTokens, o.OutputTokens = int64(u.GetPromptTokens()), int64(u.GetCompletionTokens())
	}
	return o, true
}

func measured(s shadow.Side) metrics.ShadowSide {
	return metrics.ShadowSide{
		Took: s.Took, Bytes: int64(s.Bytes),
		Tokens: int64(s.Usage.GetPromptTokens()) + int64(s.Usage.GetCompletionTokens()),
	}
}

// shadowComponent ends the copies when the service does: nobody waits for them.
func (s *Service) shadowComponent() lifecycle.Component {
	return lifecycle.Component{
		Name: "inference: shadows",
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			s.shadows.Close()
			return nil
		},
	}
}
