package mcptool

import (
	"context"
	"errors"
	"io"
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

type chatInput struct {
	Model       string   `json:"model"`
	Prompt      string   `json:"prompt"`
	System      string   `json:"system"`
	MaxTokens   *int32   `json:"max_tokens"`
	Temperature *float64 `json:"temperature"`
	Collection  string   `json:"collection"`
	TopK        int32    `json:"top_k"`
	Filter      string   `json:"filter"`
}

func (in chatInput) request() *edgev1.CreateChatCompletionRequest {
	req := &edgev1.CreateChatCompletionRequest{Model: in.Model, MaxTokens: in.MaxTokens, Temperature: in.Temperature}
	if in.System != "" {
		req.Messages = append(req.Messages, said("system", in.System))
	}
	req.Messages = append(req.Messages, said("user", in.Prompt))
	if in.Collection != "" || in.TopK != 0 || in.Filter != "" {
		req.Retrieval = &edgev1.Retrieval{Collection: in.Collection, TopK: in.TopK, Filter: in.Filter}
	}
	return req
}

func said(role, text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}}
}

type chatOutputs struct {
	Model            string    `json:"model"`
	Text             string    `json:"text"`
	FinishReason     string    `json:"finish_reason,omitempty"`
	Citations        []passage `json:"citations,omitempty"`
	PromptTokens     int32     `json:"prompt_tokens,omitempty"`
	CompletionTokens int32     `json:"completion_tokens,omitempty"`
}

func (o *chatOutputs) cite(from []*edgev1.Annotation) {
	for _, a := range from {
		o.Citations = append(o.Citations, passage{DocumentID: a.GetDocumentId(), ChunkID: a.GetChunkId(), Title: a.GetTitle(), Score: a.GetScore()})
	}
}

func (o *chatOutputs) count(u *edgev1.Usage) {
	if u != nil {
		o.PromptTokens, o.CompletionTokens = u.GetPromptTokens(), u.GetCompletionTokens()
	}
}

// chat asks a model; as a stream only when somebody listens.
func (c *Caller) chat(ctx context.Context, in chatInput, more func(text string)) (Answer, error) {
	if more != nil {
		return c.streamChat(ctx, in, more)
	}
	resp, err := c.openai.CreateChatCompletion(ctx, in.request())
	if err != nil {
		return Answer{}, err
	}
	out := chatOutputs{Model: resp.GetModel()}
	out.count(resp.GetUsage())
	if choices := resp.GetChoices(); len(choices) > 0 {
		m := choices[0].GetMessage()
		out.Text, out.FinishReason = m.GetContent().GetText()+m.GetRefusal(), choices[0].GetFinishReason()
		out.cite(m.GetAnnotations())
	}
	return Answer{Text: out.Text, Structured: out}, nil
}

func (c *Caller) streamChat(ctx context.Context, in chatInput, more func(text string)) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := in.request()
	usage := true
	req.StreamOptions = &edgev1.StreamOptions{IncludeUsage: &usage}
	chunks, err := c.openai.StreamChatCompletion(ctx, req)
	if err != nil {
		return Answer{}, err
	}
	var out chatOutputs
	var text strings.Builder
	for {
		chunk, err := chunks.Recv()
		if errors.Is(err, io.EOF) {
			out.Text = text.String()
			return Answer{Text: out.Text, Structured: out}, nil
		}
		if err != nil {
			return Answer{}, err
		}
		out.Model = chunk.GetModel()
		out.count(chunk.GetUsage())
		for _, choice := range chunk.GetChoices() {
			d := choice.GetDelta()
			out.cite(d.GetAnnotations())
			if said := d.GetContent().GetText() + d.GetRefusal(); said != "" {
				text.WriteString(said)
				more(said)
			}
			if choice.GetFinishReason() != "" {
				out.FinishReason = choice.GetFinishReason()
			}
		}
	}
}
