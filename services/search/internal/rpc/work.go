package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

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

// trailerWork is where a call without an answer tells what models did, as the contract
// says.
const trailerWork = "poterne-model-work-bin"

// tellWithout sets the trailer of a call that fails with err, or whose caller has left
// and gets no answer: told is what that would have said, t what it would not. It is
// called when the call ends.
func tellWithout(ctx context.Context, t *modelwork.Tally, told []*searchv1.ModelWork, err error, setTrailer func(metadata.MD)) {
	if err == nil && ctx.Err() == nil {
		return
	}
	md := make(metadata.MD)
	for _, w := range append(told, workToProto(t)...) {
		if text, err := proto.Marshal(w); err == nil {
			md.Append(trailerWork, string(text))
		}
	}
	if len(md) > 0 {
		setTrailer(md)
	}
}

// trailerOf sets the trailer of a unary call; outside one there is nobody to tell.
func trailerOf(ctx context.Context) func(metadata.MD) {
	return func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }
}
