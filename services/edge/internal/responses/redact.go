package responses

import (
	"context"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// redact takes out of what is kept what the detectors took out of what the model
// read. They have told of it by then, so that it is neither counted nor recorded
// once more.
func (s *Server) redact(ctx context.Context, tenant string, a ask, r *edgev1.Response) {
	guard := s.Rules.For(detect.Request, tenant, a.chat.GetModel(), obligation.From(ctx).Redact)
	if guard == nil {
		return
	}
	clean := func(text *string) {
		if text != nil {
			*text, _ = guard.Text(*text)
		}
	}
	clean(r.Instructions)
	for _, item := range a.items {
		clean(&item.Name)
		clean(item.Arguments)
		for _, content := range []*edgev1.ResponseContent{item.GetContent(), item.GetOutput()} {
			if t, ok := content.GetContent().(*edgev1.ResponseContent_Text); ok {
				clean(&t.Text)
			}
			for _, part := range content.GetParts().GetParts() {
				clean(part.Text)
				clean(part.Refusal)
				part.Extra = nil
			}
		}
		item.Summary = nil
	}
}
