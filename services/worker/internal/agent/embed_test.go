package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

func (r *rig) embed(ctx context.Context, c string, texts ...string) (*workerv1.EmbedResponse, error) {
	req := &workerv1.EmbedRequest{Digest: digest(c)}
	for _, text := range texts {
		req.Inputs = append(req.Inputs, &workerv1.EmbedInput{Input: &workerv1.EmbedInput_Text{Text: text}})
	}
	return r.client.Embed(ctx, req)
}

func TestEmbed(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		resp, err := r.embed(r.Context(), "a", "x", "x")
		if err != nil || len(resp.GetEmbeddings()) != 2 || resp.GetEmbeddings()[1].GetValues()[0] != 1 || resp.GetUsage().GetPromptTokens() != 1 {
			r.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestEmbedRefusesWhatIsTooLong(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a") // with a context of 2000 tokens
		if _, err := r.embed(r.Context(), "a", strings.Repeat("word ", 8000)); err != nil {
			r.Errorf("four times the context: %v", err)
		}
		_, err := r.embed(r.Context(), "a", "x", strings.Repeat("word ", 8001))
		e := apierr.From(err)
		if e.Reason != apierr.ContextLengthExceeded || e.Field != "input[1]" || !strings.Contains(e.Message, "input 1 has at least about 8001 tokens") {
			r.Errorf("one word more: %v, field %q", err, e.Field)
		}
		if e.Metadata["context_length"] != "2000" {
			r.Errorf("metadata %v", e.Metadata)
		}
		list := make([]string, 20)
		for i := range list {
			list[i] = strings.Repeat("x", 60_000)
		}
		if _, err := r.embed(r.Context(), "a", list...); apierr.ReasonOf(err) != apierr.PayloadTooLarge {
			r.Errorf("1.2 MB together: %v", err)
		}
		if n := r.agent.State("").GetInFlight(); n != 0 {
			r.Errorf("%d in flight", n)
		}
	})
	unknown := EmbeddingConfig{ContextMultiple: 4, MaxBytes: 100}
	if err := unknown.check([]engine.Input{{Text: strings.Repeat("a ", 50)}}, 0); err != nil {
		t.Errorf("a context that is not known: %v", err)
	}
}

// A call with many inputs lets another one in after each part, and ends with its
// caller.
func TestEmbedTakesTurns(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.ready("a")
		step := make(chan struct{})
		r.engine.set(func() { r.engine.release = step })
		start := func(texts ...string) (<-chan error, context.CancelFunc) {
			ctx, cancel := context.WithCancel(r.Context())
			done := make(chan error, 1)
			go func() {
				_, err := r.embed(ctx, "a", texts...)
				done <- err
			}()
			synctest.Wait()
			return done, cancel
		}
		large, leave := start("1", "2", "3")
		defer leave()
		small, cancel := start("x")
		defer cancel()
		waiting, cancelWaiting := start("y")
		if n := r.engine.busy(); n != 1 {
			r.Fatalf("%d run at once", n)
		}
		full, cancelFull := start("z")
		defer cancelFull()
		if err := <-full; apierr.ReasonOf(err) != apierr.Overloaded {
			r.Errorf("one too many: %v", err)
		}
		cancelWaiting()
		if err := <-waiting; apierr.ReasonOf(err) != apierr.Cancelled {
			r.Errorf("left the line: %v", err)
		}
		step <- struct{}{} // the first part of the large one
		synctest.Wait()
		step <- struct{}{} // the small one, which came before the second part
		select {
		case err := <-small:
			if err != nil {
				r.Errorf("small: %v", err)
			}
		case err := <-large:
			r.Errorf("the large call was let through first: %v", err)
		}
		leave()
		if err := <-large; apierr.ReasonOf(err) != apierr.Cancelled {
			r.Errorf("large: %v", err)
		}
		synctest.Wait()
		if n := r.engine.busy(); n != 0 || r.agent.State("").GetInFlight() != 0 {
			r.Errorf("%d still run", n)
		}
	})
}
