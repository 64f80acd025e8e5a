package conversation

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
)

// CreateConversation begins one of the caller's own.
func (s *Server) CreateConversation(ctx context.Context, req *edgev1.CreateConversationRequest) (*edgev1.Conversation, error) {
	if !s.memory.Config.Enabled {
		return nil, errOff()
	}
	o := ownerOf(ctx)
	turns, err := s.said(ctx, req.GetItems())
	if err != nil {
		return nil, err
	}
	m, id, now := s.memory, s.memory.newID(), s.memory.Clock.Now().Truncate(time.Microsecond)
	c := &edgev1.Conversation{Metadata: req.GetMetadata()}
	addTurns(c, turns, now, now)
	r, err := m.put(ctx, o, id, c, Record{}, now)
	if err != nil {
		return nil, failed(err, id)
	}
	return brief(r, c), nil
}

// UpdateConversation gives one of the caller's own other notes.
func (s *Server) UpdateConversation(ctx context.Context, req *edgev1.UpdateConversationRequest) (*edgev1.Conversation, error) {
	return s.change(ctx, req.GetId(), func(c *edgev1.Conversation, _ Record) error {
		c.Metadata = req.GetMetadata()
		return nil
	})
}

// ListConversationItems lists what was said.
func (s *Server) ListConversationItems(ctx context.Context, req *edgev1.ListConversationItemsRequest) (*edgev1.ConversationItemList, error) {
	items, err := s.items(ctx, req.GetConversationId())
	if err != nil {
		return nil, err
	}
	page, more, err := responseitem.Page(items, req.GetOrder(), req.GetAfter(), int(req.GetLimit()))
	if err != nil {
		return nil, err
	}
	return list(page, more), nil
}

// CreateConversationItems adds what was said.
func (s *Server) CreateConversationItems(ctx context.Context, req *edgev1.CreateConversationItemsRequest) (*edgev1.ConversationItemList, error) {
	if !s.memory.Config.Enabled {
		return nil, errOff()
	}
	turns, err := s.said(ctx, req.GetItems())
	if err != nil {
		return nil, err
	}
	var added []*edgev1.ResponseItem
	_, err = s.change(ctx, req.GetConversationId(), func(c *edgev1.Conversation, r Record) error {
		added = addTurns(c, turns, r.CreateTime, s.memory.Clock.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list(added, false), nil
}

// GetConversationItem returns an item.
func (s *Server) GetConversationItem(ctx context.Context, req *edgev1.GetConversationItemRequest) (*edgev1.ResponseItem, error) {
	items, err := s.items(ctx, req.GetConversationId())
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if item.GetId() == req.GetItemId() {
			return item, nil
		}
	}
	return nil, noItem(req.GetItemId())
}

// DeleteConversationItem forgets an item.
func (s *Server) DeleteConversationItem(ctx context.Context, req *edgev1.DeleteConversationItemRequest) (*edgev1.Conversation, error) {
	return s.change(ctx, req.GetConversationId(), func(c *edgev1.Conversation, r Record) error {
		if !take(c, r.CreateTime, req.GetItemId()) {
			return noItem(req.GetItemId())
		}
		return nil
	})
}

func (s *Server) items(ctx context.Context, id string) ([]*edgev1.ResponseItem, error) {
	r, err := s.memory.Store.Read(ctx, ownerOf(ctx), id, s.memory.Clock.Now())
	if err != nil {
		return nil, failed(err, id)
	}
	c, err := s.memory.read(r)
	if err != nil {
		return nil, err
	}
	return itemsOf(c, r.CreateTime), nil
}

// said is items as turns. What the detectors look for in requests to every model is taken
// out, or refused; what they look for in those to one is found when it reads it.
func (s *Server) said(ctx context.Context, items []*edgev1.ResponseItem) ([][]*edgev1.ChatMessage, error) {
	turns, err := messagesOf(items)
	if err != nil {
		return nil, err
	}
	in := s.memory.Inspector.Of(ctx, detect.Request, "")
	for _, messages := range turns {
		for _, m := range messages {
			inspectMessage(in, m)
		}
	}
	return turns, in.Err()
}

func inspectMessage(in *inspect.Inspection, m *edgev1.ChatMessage) {
	if t, ok := m.GetContent().GetContent().(*edgev1.MessageContent_Text); ok {
		t.Text = in.Text(t.Text)
	}
	for _, p := range m.GetContent().GetParts().GetParts() {
		p.Text = in.Texts(p.Text)
	}
	m.ToolCallId = in.Text(m.GetToolCallId())
	for _, call := range m.GetToolCalls() {
		call.Id, call.Function.Name = in.Text(call.GetId()), in.Text(call.GetFunction().GetName())
		if call.Function.Arguments != nil {
			arguments := in.JSON(call.GetFunction().GetArguments())
			call.Function.Arguments = &arguments
		}
	}
}

// change changes one of the caller's own, and returns it without its turns. Whoever is
// not first reads again.
func (s *Server) change(ctx context.Context, id string, f func(*edgev1.Conversation, Record) error) (*edgev1.Conversation, error) {
	m, o := s.memory, ownerOf(ctx)
	for range keepTries {
		now := m.Clock.Now()
		r, err := m.Store.Read(ctx, o, id, now)
		if err != nil {
			return nil, failed(err, id)
		}
		c, err := m.read(r)
		if err != nil {
			return nil, err
		}
		if err := f(c, r); err != nil {
			return nil, err
		}
		r, err = m.put(ctx, o, id, c, r, now)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, failed(err, id)
		}
		return brief(r, c), nil
	}
	return nil, failed(ErrConflict, id)
}

// brief is a conversation with its notes and without its turns.
func brief(r Record, c *edgev1.Conversation) *edgev1.Conversation {
	return show(r, &edgev1.Conversation{Metadata: c.GetMetadata()})
}

func list(items []*edgev1.ResponseItem, more bool) *edgev1.ConversationItemList {
	out := &edgev1.ConversationItemList{Object: "list", Data: items, HasMore: more}
	if n := len(items); n > 0 {
		out.FirstId, out.LastId = &items[0].Id, &items[n-1].Id
	}
	return out
}

func noItem(id string) error {
	return apierr.New(apierr.NotFound, "there is no item %.64q in the conversation", id).WithField("item_id")
}

func errOff() error {
	return apierr.New(apierr.FailedPrecondition, "this gateway does not remember conversations")
}
