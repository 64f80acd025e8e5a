// Package responses answers OpenAI's Responses API from its chat completions: it
// turns a response into a chat and back, so that policies, detectors, retrieval and
// metering are those of a chat, and keeps responses for those that go on from them.
// It asks no model itself. Start reading at Server; request.go is the way in,
// answer.go and stream.go the way out, store.go what is kept.
package responses

import (
	"context"
	"errors"
	"log/slog"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/chatmember"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
	"github.com/poterne/poterne/services/edge/internal/responseid"
)

// Chat is what this package needs of OpenAI's chat completions.
type Chat interface {
	CreateChatCompletion(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*edgev1.CreateChatCompletionResponse, error)
	StreamChatCompletion(req *edgev1.CreateChatCompletionRequest, out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]) error
	CountTokens(ctx context.Context, req *edgev1.CountTokensRequest) (*edgev1.CountTokensResponse, error)
}

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Config Config
	Chat   Chat
	Store  Store
	// Rules say what is redacted of what is kept.
	Rules *detect.Rules
	Codec *jsoncodec.Codec
	// Validator judges members of a chat that came as unknown ones.
	Validator protovalidate.Validator
	Signer    *responseid.Signer
	Clock     clock.Clock
	IDs       ids.Source
	Log       *slog.Logger
}

// Server is edge.v1.ResponsesService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedResponsesServiceServer
	Deps
	members *chatmember.Taker
}

// New returns a server.
func New(d Deps) *Server {
	return &Server{Deps: d, members: chatmember.New(d.Codec, d.Validator, memberNames())}
}

// ask is a response on its way.
type ask struct {
	req      *edgev1.CreateResponseRequest
	items    []*edgev1.ResponseItem
	previous string // as it is kept
	store    bool
	chat     *edgev1.CreateChatCompletionRequest
	// conversation is what it is a turn of; empty: none.
	conversation string
}

func (s *Server) prepare(ctx context.Context, req *edgev1.CreateResponseRequest) (ask, error) {
	a := ask{req: req, store: s.Config.Store && (req.Store == nil || req.GetStore())}
	var err error
	if a.items, err = s.items(req.GetInput()); err != nil {
		return a, err
	}
	var history []*edgev1.ResponseItem
	if req.GetPreviousResponseId() != "" {
		var turns []Turn
		if turns, err = s.chain(ctx, req.GetPreviousResponseId(), "previous_response_id"); err != nil {
			return a, err
		}
		a.previous = turns[len(turns)-1].ID
		if history, err = s.history(turns); err != nil {
			return a, err
		}
	}
	if a.chat, err = chatRequest(req, history, a.items); err != nil {
		return a, err
	}
	if a.chat.Memory, err = s.conversation(req, a.chat.GetExtra()); err != nil {
		return a, err
	}
	a.conversation = a.chat.GetMemory().GetConversation()
	return a, s.members.Take(a.chat)
}

// CreateResponse answers.
func (s *Server) CreateResponse(ctx context.Context, req *edgev1.CreateResponseRequest) (*edgev1.Response, error) {
	a, err := s.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	answer, err := s.Chat.CreateChatCompletion(ctx, a.chat)
	if err != nil {
		return nil, err
	}
	r := begun(a, answer.GetId(), answer.GetCreated())
	finish := ""
	if choices := answer.GetChoices(); len(choices) > 0 {
		r.Output, finish = s.output(choices[0].GetMessage()), choices[0].GetFinishReason()
	}
	s.end(r, finish, answer.GetUsage())
	s.keep(ctx, a, r)
	return r, nil
}

// StreamResponse answers piece by piece.
func (s *Server) StreamResponse(req *edgev1.CreateResponseRequest, out grpc.ServerStreamingServer[edgev1.ResponseEvent]) error {
	a, err := s.prepare(out.Context(), req)
	if err != nil {
		return err
	}
	usage := true
	a.chat.StreamOptions = &edgev1.StreamOptions{IncludeUsage: &usage}
	w := &writer{ServerStreamingServer: out, server: s, ask: a}
	if err := s.Chat.StreamChatCompletion(a.chat, w); err != nil {
		return err
	}
	return w.end(out.Context())
}

// read returns whose a response is and how it is kept, if the caller made it.
func (s *Server) read(ctx context.Context, id, field string) (Owner, string, error) {
	caller, _ := identity.FromContext(ctx)
	answer, err := s.Signer.Read(id, caller)
	if err != nil {
		return Owner{}, "", s.failed(ErrNotFound, id, field)
	}
	return Owner{Tenant: caller.Tenant, Subject: caller.Subject}, answer.Key, nil
}

func (s *Server) failed(err error, id, field string) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no response %.64q of yours", id).WithField(field)
	case errors.Is(err, ErrBroken):
		return apierr.New(apierr.NotFound, "a response that %.64q goes on from is not kept any more", id).WithField(field)
	case errors.Is(err, ErrTooLong):
		return invalid(field, "the conversation has more than %d responses", s.Config.MaxTurns)
	default:
		return apierr.Wrap(apierr.Internal, err, "the response cannot be read")
	}
}
