package middleware

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// oblige leaves the handler what the policy asks of it, and holds the request to what
// it may reach.
func (s *steps) oblige(ctx context.Context, v authz.Verdict, req any) error {
	if o := v.Obligations; o != (obligation.Set{}) && !obligation.Note(ctx, o) {
		return apierr.New(apierr.Internal, "what the policy asks of the request cannot be noted")
	}
	if r, ok := req.(*searchv1.SearchRequest); ok {
		r.RequiredFilter = v.Classes.Filter() // whatever the caller put there
	}
	limits := obligation.Limits{Classes: v.Classes}
	if v.Models != nil {
		var err error
		if limits.Verdicts, err = proto.Marshal(Verdicts(v.Models)); err != nil {
			return apierr.Wrap(apierr.Internal, err, "what the policy says of the model's versions cannot be passed on")
		}
	}
	if (limits.Classes != nil || limits.Verdicts != nil) && !obligation.NoteLimits(ctx, limits) {
		return apierr.New(apierr.Internal, "what the policy lets the request reach cannot be noted")
	}
	return nil
}

// Verdicts is what is said of versions of models, as the inference service reads it.
func Verdicts(models map[string][]authz.VersionVerdict) *inferencev1.PolicyVerdicts {
	out := &inferencev1.PolicyVerdicts{}
	for name, list := range models {
		m := &inferencev1.ModelVerdict{Model: name}
		for _, v := range list {
			m.Versions = append(m.Versions, &inferencev1.VersionVerdict{
				Version: v.Number, Arm: v.Arm, Experiment: v.Experiment, Shadow: v.Shadow, Allowed: v.Allowed,
			})
		}
		out.Models = append(out.Models, m)
	}
	return out
}

// keepClasses leaves in the answer documents of the classes that may be seen. One that
// may not is as if it were not there. Searches are held to them by their filter.
func keepClasses(ctx context.Context, req, resp any) (any, error) {
	classes := obligation.LimitsFrom(ctx).Classes
	if classes == nil {
		return resp, nil
	}
	switch r := resp.(type) {
	case *searchv1.GetDocumentResponse:
		if !seen(classes, r.GetDocument()) {
			asked, _ := req.(*searchv1.GetDocumentRequest)
			return nil, apierr.New(apierr.NotFound, "there is no document %q", asked.GetDocument()).WithField("document")
		}
	case *searchv1.ListDocumentsResponse:
		r.Documents = slices.DeleteFunc(r.GetDocuments(), func(d *searchv1.Document) bool { return !seen(classes, d) })
	}
	return resp, nil
}

// metadataClass is the member of a document's metadata that is its class.
const metadataClass = "class"

// seen reports whether a document may be seen: one whose class is several, or no text,
// only where each of them may.
func seen(classes *obligation.Classes, d *searchv1.Document) bool {
	return classes.MatchValue(d.GetMetadata().GetFields()[metadataClass])
}
