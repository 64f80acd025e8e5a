package rpc

import (
	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/store"
)

// weightsOf reads the legs' weights; nil when there are none. That each is
// within its bounds was checked with the message.
func weightsOf(w *searchv1.LegWeights) (*store.Weights, error) {
	if w == nil {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if w.GetLexical() == 0 && w.GetVector() == 0 {
		return nil, apierr.Invalid("weights", "the weights must not both be 0")
	}
	return &store.Weights{Lexical: w.GetLexical(), Vector: w.GetVector()}, nil
}

func weightsToProto(w *store.Weights) *searchv1.LegWeights {
	if w == nil {
		return nil
	}
	return &searchv1.LegWeights{Lexical: w.Lexical, Vector: w.Vector}
}
