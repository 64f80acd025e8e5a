package openai

import (
	"context"
	"encoding/base64"
	"fmt"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// maxInputs is the most texts in one request, as at OpenAI.
const maxInputs = 2048

// CreateEmbedding embeds texts.
func (s *Server) CreateEmbedding(ctx context.Context, req *edgev1.CreateEmbeddingRequest) (*edgev1.CreateEmbeddingResponse, error) {
	ctx, routed, err := s.route(ctx, route.Embed, &req.Model, req, unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	if err := obey(ctx, unaryHeader(ctx), &req.Model, 1, nil); err != nil {
		return nil, err
	}
	if err := s.inspectInput(ctx, req.GetModel(), fieldInput, req.GetInput(), req.GetExtra(), unaryHeader(ctx)); err != nil {
		return nil, err
	}
	inputs, err := embedInputs(req.GetInput())
	if err != nil {
		return nil, err
	}
	extra, err := jsoncodec.Object(req.GetExtra())
	if err != nil {
		return nil, err
	}
	h, err := s.Config.Hints(ctx, req.GetExtra())
	if err != nil {
		return nil, err
	}
	if err := s.gather(ctx, req, nil); err != nil {
		return nil, err
	}
	resp, err := s.embed(ctx, req, &inferencev1.EmbedRequest{
		Model: req.GetModel(), Inputs: inputs, InputType: req.GetInputType(), Dimensions: req.GetDimensions(),
		Extra: extra, RoutingKey: routingKey(ctx, req.GetUser()),
		Priority: h.Priority, SessionId: h.Session, WaitForReady: h.Wait, ExperimentHeaders: h.Headers,
	})
	if told := routed.tellAttempts(unaryHeader(ctx)); err == nil {
		err = told
	}
	if err != nil {
		return nil, err
	}
	tokens := resp.GetUsage().GetPromptTokens()
	out := &edgev1.CreateEmbeddingResponse{
		Object: "list", Model: req.GetModel(), Data: make([]*edgev1.EmbeddingData, len(inputs)),
		Usage: &edgev1.EmbeddingUsage{PromptTokens: tokens, TotalTokens: tokens},
	}
	for i, e := range resp.GetEmbeddings() {
		out.Data[i] = &edgev1.EmbeddingData{
			Object: "embedding", Index: int32(i),
			Embedding: embeddingValue(e.GetValues(), req.GetEncodingFormat()),
		}
	}
	return out, nil
}

func embeddingValue(values []float32, encoding string) *edgev1.EmbeddingValue {
	if encoding != "base64" {
		return &edgev1.EmbeddingValue{Value: &edgev1.EmbeddingValue_Floats{Floats: &edgev1.FloatList{Values: values}}}
	}
	return &edgev1.EmbeddingValue{Value: &edgev1.EmbeddingValue_Base64{Base64: base64.StdEncoding.EncodeToString(vectorBytes(values))}}
}

// embedInputs reads the four forms of input: a text, texts, one text's tokens,
// several texts' tokens.
func embedInputs(in *edgev1.TextInput) ([]*workerv1.EmbedInput, error) {
	switch v := in.GetInput().(type) {
	case *edgev1.TextInput_Text:
		if v.Text == "" {
			return nil, invalid(fieldInput, "must not be an empty text")
		}
		return []*workerv1.EmbedInput{textInput(v.Text)}, nil
	case *edgev1.TextInput_List:
		inputs, err := listInputs(v.List.GetItems(), fieldInput)
		for i, in := range inputs {
			if t, ok := in.GetInput().(*workerv1.EmbedInput_Text); ok && t.Text == "" {
				return nil, invalid(place(fieldInput, i), "must not be an empty text")
			}
		}
		return inputs, err
	default:
		return nil, invalid(fieldInput, "is required")
	}
}

const fieldInput = "input"

// listInputs reads a list, which came in the named member.
func listInputs(items []*edgev1.TextInputItem, field string) ([]*workerv1.EmbedInput, error) {
	if len(items) == 0 {
		return nil, invalid(field, "must not be empty")
	}
	if _, ok := items[0].GetItem().(*edgev1.TextInputItem_Token); ok {
		ids := make([]int32, len(items))
		for i, item := range items {
			token, ok := item.GetItem().(*edgev1.TextInputItem_Token)
			if !ok {
				return nil, mixed(field, i)
			}
			ids[i] = token.Token
		}
		return []*workerv1.EmbedInput{tokenInput(ids)}, nil
	}
	if len(items) > maxInputs {
		return nil, invalid(field, "must not have more than %d items", maxInputs)
	}
	out := make([]*workerv1.EmbedInput, len(items))
	_, texts := items[0].GetItem().(*edgev1.TextInputItem_Text)
	for i, item := range items {
		switch v := item.GetItem().(type) {
		case *edgev1.TextInputItem_Text:
			if !texts {
				return nil, mixed(field, i)
			}
			out[i] = textInput(v.Text)
		case *edgev1.TextInputItem_Tokens:
			if texts {
				return nil, mixed(field, i)
			}
			if len(v.Tokens.GetIds()) == 0 {
				return nil, invalid(place(field, i), "must not be empty")
			}
			out[i] = tokenInput(v.Tokens.GetIds())
		default:
			return nil, mixed(field, i)
		}
	}
	return out, nil
}

func mixed(field string, i int) error {
	return invalid(place(field, i), "must be of the same type as the items before it")
}

func place(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func textInput(text string) *workerv1.EmbedInput {
	return &workerv1.EmbedInput{Input: &workerv1.EmbedInput_Text{Text: text}}
}

func tokenInput(ids []int32) *workerv1.EmbedInput {
	return &workerv1.EmbedInput{Input: &workerv1.EmbedInput_Tokens{Tokens: &workerv1.TokenIds{Ids: ids}}}
}
