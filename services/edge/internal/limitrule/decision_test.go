package limitrule

import (
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

func TestARefusalSaysWhichRule(t *testing.T) {
	b := newBench(Rule{Name: "few", Kind: Requests, By: []Dimension{ByUser}, Amount: 1, Period: time.Minute})
	entry := audit.NewEntry("r")
	ctx := audit.NewContext(t.Context(), entry)
	for range 2 {
		if _, err := b.Admit(ctx, chat(), 1, b.setHeader); err != nil {
			break
		}
	}
	got, _ := entry.Decisions()
	if len(got) != 1 || got[0].Step != explain.Limits || got[0].Outcome != "refused" || len(got[0].Attributes) != 4 ||
		got[0].Attributes[0].Value != "few" || got[0].Attributes[1].Value != "user" {
		t.Errorf("%+v", got)
	}
}
