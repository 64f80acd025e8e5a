package openai

import (
	"context"
	"maps"
	"slices"
	"strconv"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// cite holds what a whole answer cites against the passages that it rests on.
func (s *Server) cite(ctx context.Context, rests *rests, answer *edgev1.CreateChatCompletionResponse) {
	if !rests.asked {
		return
	}
	cited, unknown := 0, 0
	for _, choice := range answer.GetChoices() {
		c, m := s.Context.Citer(rests.on), choice.GetMessage()
		if text, ok := m.GetContent().GetContent().(*edgev1.MessageContent_Text); ok {
			if after := c.Write(text.Text) + c.Close(); after != text.Text {
				text.Text, choice.Logprobs = after, nil // they spell it out
			}
		}
		others := m.GetAnnotations()[min(len(rests.on), len(m.GetAnnotations())):]
		m.Annotations = slices.Concat(c.Annotations(), others)
		a, b := c.Counts()
		cited, unknown = cited+a, unknown+b
	}
	noteCited(ctx, len(rests.on), cited, unknown)
}

// noteCited notes what answers cite.
func noteCited(ctx context.Context, passages, cited, unknown int) {
	outcome := "cited"
	switch {
	case unknown > 0:
		outcome = "unknown-citations"
	case cited == 0:
		outcome = "uncited"
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Retrieval, Outcome: outcome, Attributes: []explain.Attribute{
		{Name: "passages", Value: strconv.Itoa(passages)}, {Name: "cited", Value: strconv.Itoa(cited)}, {Name: "unknown", Value: strconv.Itoa(unknown)},
	}})
}

// citing is cite for a stream. A nil one lets everything through.
type citing struct {
	context ContextBuilder
	rests   *rests
	by      map[int32]*contextbuilder.Citer // choices that go on
	cited   int
	unknown int
}

func newCiting(b ContextBuilder, r *rests) *citing {
	return &citing{context: b, rests: r, by: make(map[int32]*contextbuilder.Citer)}
}

// chat works on a chunk. The last one of a choice says what was cited.
func (c *citing) chat(chunk *edgev1.StreamChatCompletionResponse) {
	if c == nil {
		return
	}
	for _, choice := range chunk.GetChoices() {
		citer := c.by[choice.GetIndex()]
		if citer == nil {
			if len(c.by) >= maxChoices {
				continue
			}
			citer = c.context.Citer(c.rests.on)
			c.by[choice.GetIndex()] = citer
		}
		if text, ok := choice.GetDelta().GetContent().GetContent().(*edgev1.MessageContent_Text); ok && text.Text != "" {
			if after := citer.Write(text.Text); after != text.Text {
				text.Text, choice.Logprobs = after, nil
			}
		}
		if choice.FinishReason != nil {
			c.finish(choice, citer)
		}
	}
}

func (c *citing) finish(choice *edgev1.ChatChunkChoice, citer *contextbuilder.Citer) {
	if choice.GetDelta() == nil {
		choice.Delta = new(edgev1.ChatMessage)
	}
	m := choice.GetDelta()
	if tail := citer.Close(); tail != "" {
		m.Content = textOf(m.GetContent().GetText() + tail)
	}
	m.Annotations = append(m.GetAnnotations(), citer.Cited()...)
	a, b := citer.Counts()
	c.cited, c.unknown = c.cited+a, c.unknown+b
	delete(c.by, choice.GetIndex())
}

// end adds what was held back of the choices that an engine did not finish to rest,
// which is what others held back of them.
func (c *citing) end(rest []*edgev1.ChatChunkChoice) []*edgev1.ChatChunkChoice {
	if c == nil {
		return rest
	}
	c.chat(&edgev1.StreamChatCompletionResponse{Choices: rest})
	for _, i := range slices.Sorted(maps.Keys(c.by)) {
		at := slices.IndexFunc(rest, func(choice *edgev1.ChatChunkChoice) bool { return choice.GetIndex() == i })
		choice := &edgev1.ChatChunkChoice{Index: i}
		if at >= 0 {
			choice = rest[at]
		}
		if c.finish(choice, c.by[i]); at < 0 && !idle(choice) {
			rest = append(rest, choice)
		}
	}
	return rest
}
