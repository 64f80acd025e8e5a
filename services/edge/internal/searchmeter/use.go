package searchmeter

import (
	"math"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// trailerWork is where a call without an answer tells what models did, as the search
// service's contract says.
const trailerWork = "poterne-model-work-bin"

// maxWorks bounds what is read of a trailer: a request has one work for each kind, or two
// while a collection changes over.
const maxWorks = 64

// worksOf is what a call that failed tells. What cannot be read was not told.
func worksOf(trailer metadata.MD) []*searchv1.ModelWork {
	texts := trailer.Get(trailerWork)
	var out []*searchv1.ModelWork
	for _, text := range texts[:min(len(texts), maxWorks)] {
		w := new(searchv1.ModelWork)
		if proto.Unmarshal([]byte(text), w) == nil {
			out = append(out, w)
		}
	}
	return out
}

// useOf sums the work of a kind. A request has one version of a model work, but for one
// during which another began to serve: then it is on account of the one that did most.
func useOf(works []*searchv1.ModelWork, kind metering.Kind) (use metering.Use, found bool) {
	var most *searchv1.ModelWork
	var tokens, documents int64
	for _, w := range works {
		if metering.Kind(w.GetKind()) != kind {
			continue
		}
		tokens, documents = tokens+count(w.GetInputTokens()), documents+count(w.GetDocuments())
		if most == nil || w.GetInputTokens() > most.GetInputTokens() {
			most = w
		}
	}
	if most == nil {
		return metering.Use{}, false
	}
	return metering.Use{
		By: &inferencev1.ServedBy{
			Model: most.GetModel(), Version: most.GetVersion(), Digest: most.GetDigest(), Variant: most.GetVariant(), VariantDigest: most.GetVariantDigest(),
			Experiment: most.GetExperiment(), Arm: most.GetArm(),
		},
		Tokens: &commonv1.TokenUsage{PromptTokens: clamp(tokens)}, Documents: int(clamp(documents)),
	}, true
}

// tokens is what all works read together.
func tokens(works []*searchv1.ModelWork) int32 {
	var n int64
	for _, w := range works {
		n += count(w.GetInputTokens())
	}
	return clamp(n)
}

func count(n int32) int64 { return int64(max(n, 0)) }

func clamp(n int64) int32 { return int32(min(n, math.MaxInt32)) }
