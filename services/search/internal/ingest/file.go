package ingest

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/outage"
)

// opened returns the document with the text of its file, if it comes as one.
func (g *Ingester) opened(ctx context.Context, in Input) (Input, *apierr.Error) {
	switch {
	case len(in.Content) == 0 && in.ContentType == "":
		return in, nil
	case len(in.Content) == 0:
		return in, apierr.Invalid("content", "is missing, and content_type says what it is")
	case in.Text != "":
		return in, apierr.Invalid("content", "cannot come with a text: it becomes the text")
	}
	if err := checkID(in.ID); err != nil { // before the work
		return in, err
	}
	doc, err := g.o.Extractor.Extract(ctx, in.Content, in.ContentType)
	if err != nil {
		return in, apierr.From(outage.Of(err))
	}
	in.Text, in.Content, in.ContentType = doc.Text, nil, ""
	if in.Title == "" {
		in.Title = doc.Title
	}
	return in, nil
}
