package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// warmUp runs a small request on an engine that has just started. One that fails
// at it is used all the same: its callers are told what is wrong. What tensors a
// model takes is not known here, so one that takes them is left cold.
func (a *Agent) warmUp(ctx context.Context, m *model, e engine.Engine) {
	if m.spec.GetTask() == commonv1.Task_TASK_TENSOR {
		return
	}
	begun := a.parts.Clock.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := a.parts.Clock.NewTimer(a.cfg.WarmUpTimeout)
	defer timer.Stop()
	done := make(chan error, 1)
	go func() { done <- warmUpRequest(ctx, m, e) }()
	var err error
	select {
	case err = <-done:
	case <-timer.C():
		cancel()
		err = errors.Join(context.DeadlineExceeded, <-done)
	}
	attrs := []any{slog.String(keyModel, m.name), slog.Duration("took", a.parts.Clock.Now().Sub(begun).Round(time.Millisecond))}
	if err != nil {
		a.log.WarnContext(ctx, "the engine failed at its warm-up", append(attrs, slog.Any("error", err))...)
		return
	}
	a.log.InfoContext(ctx, "engine warmed up", attrs...)
}

func warmUpRequest(ctx context.Context, m *model, e engine.Engine) error {
	if m.spec.GetTask() == commonv1.Task_TASK_EMBEDDING {
		_, err := e.Embed(ctx, engine.EmbedRequest{Inputs: []engine.Input{{Text: "warm-up"}}, InputType: "query", Turn: m.turn})
		return err
	}
	if r, can := e.(engine.Reranker); can && m.spec.GetTask() == commonv1.Task_TASK_RERANK {
		_, err := r.Rerank(ctx, engine.RerankRequest{Query: "warm-up", Documents: []string{"warm-up"}, Turn: m.turn})
		return err
	}
	_, err := e.Invoke(ctx, engine.Chat, []byte(`{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1}`))
	return err
}
