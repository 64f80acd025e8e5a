package conversation

import (
	"context"
	"encoding/base64"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

const defaultPageSize = 100

// Server is the ConversationService. Every method's permission was checked before it
// is called. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedConversationServiceServer
	memory *Memory
}

// NewServer returns a server on m.
func NewServer(m *Memory) *Server { return &Server{memory: m} }

// ListConversations lists the caller's own.
func (s *Server) ListConversations(ctx context.Context, req *edgev1.ListConversationsRequest) (*edgev1.ListConversationsResponse, error) {
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, apierr.Invalid("page_token", "page_token: is none that was given")
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPageSize
	}
	found, err := s.memory.Store.List(ctx, ownerOf(ctx), string(after), limit+1, s.memory.Clock.Now())
	if err != nil {
		return nil, failed(err, "")
	}
	out := new(edgev1.ListConversationsResponse)
	if len(found) > limit {
		found = found[:limit]
		out.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(found[limit-1].ID))
	}
	for _, r := range found {
		out.Conversations = append(out.Conversations, show(r, new(edgev1.Conversation)))
	}
	return out, nil
}

// GetConversation returns one of the caller's own.
func (s *Server) GetConversation(ctx context.Context, req *edgev1.GetConversationRequest) (*edgev1.GetConversationResponse, error) {
	r, err := s.memory.Store.Read(ctx, ownerOf(ctx), req.GetId(), s.memory.Clock.Now())
	if err != nil {
		return nil, failed(err, req.GetId())
	}
	c, err := s.memory.read(r)
	if err != nil {
		return nil, err
	}
	return &edgev1.GetConversationResponse{Conversation: show(r, c)}, nil
}

// DeleteConversation forgets one of the caller's own.
func (s *Server) DeleteConversation(ctx context.Context, req *edgev1.DeleteConversationRequest) (*edgev1.DeleteConversationResponse, error) {
	if err := s.memory.Store.Delete(ctx, ownerOf(ctx), req.GetId(), s.memory.Clock.Now()); err != nil {
		return nil, failed(err, req.GetId())
	}
	return &edgev1.DeleteConversationResponse{Id: req.GetId(), Object: "conversation.deleted", Deleted: true}, nil
}

// PurgeConversations forgets those of a tenant.
func (s *Server) PurgeConversations(ctx context.Context, req *edgev1.PurgeConversationsRequest) (*edgev1.PurgeConversationsResponse, error) {
	o := ownerOf(ctx)
	if req.GetTenant() != "" {
		o.Tenant = req.GetTenant()
	}
	o.Subject = req.GetSubject()
	if req.GetId() == "" {
		n, err := s.memory.Store.DeleteAll(ctx, o.Tenant, o.Subject)
		if err != nil {
			return nil, failed(err, "")
		}
		return &edgev1.PurgeConversationsResponse{Purged: int32(n)}, nil
	}
	if o.Subject == "" {
		return nil, apierr.Invalid("subject", "subject: is required with an id, which is one subject's own")
	}
	if err := s.memory.Store.Delete(ctx, o, req.GetId(), s.memory.Clock.Now()); err != nil {
		return nil, failed(err, req.GetId())
	}
	return &edgev1.PurgeConversationsResponse{Purged: 1}, nil
}

// show adds to a conversation what is kept beside it.
func show(r Record, c *edgev1.Conversation) *edgev1.Conversation {
	c.Id, c.TurnCount, c.SummarizedTurns = r.ID, r.Turns, r.Summarized
	c.Object, c.CreatedAt = "conversation", r.CreateTime.Unix()
	c.CreateTime, c.UpdateTime, c.ExpireTime = timestamppb.New(r.CreateTime), timestamppb.New(r.UpdateTime), timestamppb.New(r.ExpireTime)
	return c
}

func noConversation(id string) *apierr.Error {
	return apierr.New(apierr.NotFound, "there is no conversation %.64q of yours", id)
}

func failed(err error, id string) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return noConversation(id).WithField("id")
	case errors.Is(err, errTooLarge):
		return apierr.Invalid("items", "items: a conversation cannot be as large: %v", err)
	case errors.Is(err, ErrConflict):
		return apierr.Wrap(apierr.Unavailable, err, "the conversation is being changed by too many at once; try again")
	default:
		return apierr.Wrap(apierr.Unavailable, err, "the store of conversations does not answer")
	}
}
