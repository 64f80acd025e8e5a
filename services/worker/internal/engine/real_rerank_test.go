//go:build real

package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// TestRealLlamaReranks has llama-server score documents. No reranking model could
// be had, so a chat model does it: what its scores say is nothing, but how they
// are asked for and told is the engine's own.
func TestRealLlamaReranks(t *testing.T) {
	l := NewLlama(LlamaConfig{Program: NewProgram(variable(t, "POTERNE_LLAMA_SERVER")), Slots: 2, Context: 4096, Queue: 8})
	plan, err := l.Plan(t.Context(), Model{
		Name: "judge@v1", Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_RERANK, Engine: KindLlamaServer, ContextLength: 512},
		Files: []File{{Role: RoleWeights, Path: variable(t, "POTERNE_WEIGHTS_CHAT")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, can := started(t, plan).(Reranker)
	if !can {
		t.Fatal("it is no Reranker")
	}
	documents := []string{"bread and honey", "the key opens the gate", "a lamp"}
	out, err := e.Rerank(t.Context(), RerankRequest{Query: "which key opens the gate", Documents: documents})
	if err != nil || len(out.Scores) != len(documents) || out.Usage.GetPromptTokens() < int32(8*len(documents)) {
		t.Fatalf("%d scores, usage %v, %v", len(out.Scores), out.Usage, err)
	}
	if slices.Contains(out.Scores, 0) {
		t.Errorf("scores %v", out.Scores)
	}
	_, err = e.Rerank(t.Context(), RerankRequest{Query: "q", Documents: []string{strings.Repeat("word ", 3000)}})
	if apierr.ReasonOf(err) != apierr.ContextLengthExceeded {
		t.Errorf("too long: %v", err)
	}
}
