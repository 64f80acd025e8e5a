package mcptool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Caller calls tools. It is safe for concurrent use.
type Caller struct {
	openai edgev1.OpenAIServiceClient
	search searchv1.SearchServiceClient
	tools  edgev1.McpServiceClient
}

// NewCaller returns a caller by conn, which leads through the chain; the contexts of its
// calls carry who the caller is.
func NewCaller(conn grpc.ClientConnInterface) *Caller {
	return &Caller{
		openai: edgev1.NewOpenAIServiceClient(conn), search: searchv1.NewSearchServiceClient(conn), tools: edgev1.NewMcpServiceClient(conn),
	}
}

// Admit has the chain judge a request of the protocol that calls no tool.
func (c *Caller) Admit(ctx context.Context) error {
	_, err := c.tools.ListMcpTools(ctx, new(edgev1.ListMcpToolsRequest))
	return err
}

// Answer is what a tool says: for people and models, and for programs.
type Answer struct {
	Text       string
	Structured any
}

// Call calls a tool with its arguments as JSON. More, which may be nil, is told of an
// answer's text as it comes. The error is one of the taxonomy.
func (c *Caller) Call(ctx context.Context, name string, arguments []byte, more func(text string)) (Answer, error) {
	switch name {
	case Search:
		return call(ctx, arguments, c.passages)
	case Chat:
		return call(ctx, arguments, func(ctx context.Context, in chatInput) (Answer, error) { return c.chat(ctx, in, more) })
	case ListCollections:
		return call(ctx, arguments, c.collections)
	case ListModels:
		return call(ctx, arguments, c.models)
	default:
		return Answer{}, apierr.New(apierr.NotFound, "there is no tool %.64q", name)
	}
}

// call reads the arguments and calls run. What the calls behind it judge by their own
// contracts is not judged here.
func call[In any](ctx context.Context, arguments []byte, run func(context.Context, In) (Answer, error)) (Answer, error) {
	var in In
	if len(arguments) == 0 {
		arguments = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Answer{}, apierr.Invalid("arguments", "arguments: %s", what(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Answer{}, apierr.Invalid("arguments", "arguments: must be one object")
	}
	return run(ctx, in)
}

// unknownMember is how encoding/json begins the error for a member that is not known,
// before its name in quotes.
const unknownMember = "json: unknown field "

// what says what is wrong in words that are not Go's.
func what(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && kind.Field != "" {
		return kind.Field + " must not be a " + kind.Value
	}
	if name, ok := strings.CutPrefix(err.Error(), unknownMember); ok { // the package has no type for it
		return fmt.Sprintf("%.130s is not known here; the tool's schema names what is", name)
	}
	return "must be an object of the members that the tool's schema names"
}

type listInput struct {
	PageToken string `json:"page_token"`
}

func (c *Caller) collections(ctx context.Context, in listInput) (Answer, error) {
	resp, err := c.search.ListCollections(ctx, &searchv1.ListCollectionsRequest{PageToken: in.PageToken})
	if err != nil {
		return Answer{}, err
	}
	type collection struct {
		ID          string `json:"id"`
		DisplayName string `json:"display_name,omitempty"`
		Documents   int32  `json:"documents"`
	}
	out := struct {
		Collections []collection `json:"collections"`
		Next        string       `json:"next_page_token,omitempty"`
	}{make([]collection, 0, len(resp.GetCollections())), resp.GetNextPageToken()}
	for _, k := range resp.GetCollections() {
		out.Collections = append(out.Collections, collection{k.GetId(), k.GetDisplayName(), k.GetDocumentCount()})
	}
	return told(out)
}

func (c *Caller) models(ctx context.Context, in listInput) (Answer, error) {
	resp, err := c.openai.ListModels(ctx, &edgev1.ListModelsRequest{PageToken: in.PageToken})
	if err != nil {
		return Answer{}, err
	}
	type model struct {
		ID            string `json:"id"`
		Task          string `json:"task"`
		State         string `json:"state,omitempty"`
		ContextLength int32  `json:"context_length,omitempty"`
	}
	out := struct {
		Models []model `json:"models"`
		Next   string  `json:"next_page_token,omitempty"`
	}{make([]model, 0, len(resp.GetData())), resp.GetNextPageToken()}
	for _, m := range resp.GetData() {
		out.Models = append(out.Models, model{m.GetId(), m.GetTask(), m.GetState(), m.GetContextLength()})
	}
	return told(out)
}

type searchInput struct {
	Collection string `json:"collection"`
	Query      string `json:"query"`
	TopK       int32  `json:"top_k"`
	Mode       string `json:"mode"`
	Filter     string `json:"filter"`
}

// passages of one answer, at most.
const (
	usualPassages = 5
	maxPassages   = 50
)

type passage struct {
	DocumentID string  `json:"document_id"`
	ChunkID    string  `json:"chunk_id"`
	Title      string  `json:"title,omitempty"`
	Score      float64 `json:"score"`
	Text       string  `json:"text,omitempty"`
}

func (c *Caller) passages(ctx context.Context, in searchInput) (Answer, error) {
	if in.TopK < 0 || in.TopK > maxPassages {
		return Answer{}, apierr.Invalid("top_k", "top_k: must be from 1 to %d", maxPassages)
	}
	if in.TopK == 0 {
		in.TopK = usualPassages
	}
	resp, err := c.search.Search(ctx, &searchv1.SearchRequest{
		Collection: in.Collection, Query: in.Query, TopK: in.TopK, Mode: in.Mode, Filter: in.Filter,
	})
	if err != nil {
		return Answer{}, err
	}
	out := struct {
		Passages []passage `json:"passages"`
	}{make([]passage, 0, len(resp.GetHits()))}
	for _, h := range resp.GetHits() {
		out.Passages = append(out.Passages, passage{h.GetDocumentId(), h.GetChunkId(), h.GetTitle(), h.GetScore(), h.GetText()})
	}
	return told(out)
}

// told is an answer whose text is what programs read, too.
func told(out any) (Answer, error) {
	text, err := json.Marshal(out)
	if err != nil {
		return Answer{}, apierr.Wrap(apierr.Internal, err, "the answer cannot be written")
	}
	return Answer{Text: string(text), Structured: json.RawMessage(text)}, nil
}
