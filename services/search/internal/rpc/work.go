package rpc

import (
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

// workToProto takes what a tally has.
func workToProto(t *modelwork.Tally) []*searchv1.ModelWork {
	works := t.Take()
	out := make([]*searchv1.ModelWork, len(works))
	for i, w := range works {
		out[i] = &searchv1.ModelWork{
			Kind: string(w.Kind), Model: w.By.Model, Version: w.By.Version, Digest: w.By.Digest, Variant: w.By.Variant, VariantDigest: w.By.VariantDigest,
			Experiment: w.By.Experiment, Arm: w.By.Arm, InputTokens: w.Tokens, Documents: w.Documents,
		}
	}
	return out
}
