// Package moderation answers OpenAI's moderations with what the detectors find. It
// changes nothing and keeps nothing. Start reading at Server.
package moderation

import (
	"context"
	"fmt"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/ids"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
)

const (
	idPrefix = "modr-"
	// modelName is who looks at the texts.
	modelName = "detectors"
	// maxBytes bounds the texts of one request: the detectors take about a microsecond
	// for a byte at worst, and nothing else limits what looking costs.
	maxBytes = 256 << 10
)

// Server is edge.v1.ModerationService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedModerationServiceServer
	ids     ids.Source
	kinds   []detect.Kind
	scanner func() *detect.Scanner // made when it is first asked for
}

// New returns a server that asks the detectors.
func New(detectors []detect.Detector, source ids.Source) *Server {
	return &Server{ids: source, kinds: detect.Kinds(detectors), scanner: sync.OnceValue(func() *detect.Scanner {
		return detect.NewScanner(detectors, func(detect.Kind) bool { return true })
	})}
}

// CreateModeration looks at texts.
func (s *Server) CreateModeration(ctx context.Context, req *edgev1.CreateModerationRequest) (*edgev1.CreateModerationResponse, error) {
	texts, err := texts(req.GetInput())
	if err != nil {
		return nil, err
	}
	size := 0
	for _, parts := range texts {
		for _, text := range parts {
			size += len(text)
		}
	}
	if size > maxBytes {
		return nil, apierr.New(apierr.PayloadTooLarge, "the texts have %d bytes; at most %d are looked at in a request", size, maxBytes).WithField("input")
	}
	out := &edgev1.CreateModerationResponse{Id: idPrefix + s.ids.New(), Model: modelName}
	for _, parts := range texts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out.Results = append(out.Results, s.judge(parts))
	}
	return out, nil
}

// texts are the inputs, each of one or more parts.
func texts(in *edgev1.ModerationInput) ([][]string, error) {
	if t, ok := in.GetInput().(*edgev1.ModerationInput_Text); ok {
		return [][]string{{t.Text}}, nil
	}
	items := in.GetList().GetItems()
	var out [][]string
	var parts []string
	for i, item := range items {
		switch v := item.GetItem().(type) {
		case *edgev1.ModerationInputItem_Text:
			out = append(out, []string{v.Text})
		case *edgev1.ModerationInputItem_Part:
			if v.Part.GetType() != "text" || v.Part.GetImageUrl() != nil {
				field := fmt.Sprintf("input[%d]", i)
				return nil, apierr.Invalid(field, "%s: only texts are moderated, and no images", field)
			}
			parts = append(parts, v.Part.GetText())
		}
		if len(out) > 0 && len(parts) > 0 {
			field := fmt.Sprintf("input[%d]", i)
			return nil, apierr.Invalid(field, "%s: texts and parts must not be mixed", field)
		}
	}
	if len(parts) > 0 {
		return [][]string{parts}, nil
	}
	if len(out) == 0 {
		return nil, apierr.Invalid("input", "input: must not be empty")
	}
	return out, nil
}

func (s *Server) judge(parts []string) *edgev1.Moderation {
	out := &edgev1.Moderation{
		Categories: make(map[string]bool, len(s.kinds)), CategoryScores: make(map[string]float64, len(s.kinds)),
		CategoryAppliedInputTypes: make(map[string]*edgev1.ModerationInputTypes, len(s.kinds)),
	}
	for _, kind := range s.kinds {
		out.Categories[string(kind)], out.CategoryScores[string(kind)] = false, 0
		out.CategoryAppliedInputTypes[string(kind)] = new(edgev1.ModerationInputTypes)
	}
	for _, text := range parts {
		for _, f := range s.scanner().Find(text) {
			out.Flagged = true
			out.Categories[string(f.Kind)], out.CategoryScores[string(f.Kind)] = true, 1
			out.CategoryAppliedInputTypes[string(f.Kind)].Types = []string{"text"}
		}
	}
	return out
}
