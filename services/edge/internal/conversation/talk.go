package conversation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// Talk is one request's part of a conversation. A nil one keeps nothing. It must not
// be used by two goroutines at once.
type Talk struct {
	memory  *Memory
	owner   Owner
	id      string
	model   string
	store   bool
	created time.Time // of the conversation that was recalled; zero: it begins
	asked   []*edgev1.ChatMessage
}

const (
	// keepTimeout bounds the keeping of a turn whose caller waits for it.
	keepTimeout = 5 * time.Second
	// keepTries bounds how often others may be first.
	keepTries = 32
)

// errGone is for a conversation that was forgotten while it was answered.
var errGone = errors.New("conversation: it was forgotten meanwhile")

// errTooLarge is for a conversation that is too large with its last turn alone.
var errTooLarge = errors.New("conversation: one turn has more bytes than a conversation may have")

// Ask notes what was asked, as the detectors left it; what is put into the messages
// after that is not kept.
func (t *Talk) Ask() {
	if t == nil {
		return
	}
	var own []*edgev1.ChatMessage
	for _, m := range t.asked {
		if m.GetRole() != "system" && m.GetRole() != "developer" {
			own = append(own, plain(m))
		}
	}
	t.asked = own
}

// plain is a copy of a message of which only words are kept.
func plain(m *edgev1.ChatMessage) *edgev1.ChatMessage {
	out, ok := proto.Clone(m).(*edgev1.ChatMessage)
	if !ok {
		return m
	}
	out.Annotations, out.ReasoningContent, out.Extra = nil, nil, nil
	for _, p := range out.GetContent().GetParts().GetParts() {
		if p.GetType() != "text" {
			text := "[" + p.GetType() + "]"
			p.Type, p.Text = "text", &text
		}
		p.Extra = nil
	}
	return out
}

// withText is a copy of a message that says more.
func withText(m *edgev1.ChatMessage, more string) *edgev1.ChatMessage {
	out, ok := proto.Clone(m).(*edgev1.ChatMessage)
	if !ok {
		return m
	}
	if parts := out.GetContent().GetParts(); parts != nil {
		parts.Parts = append(parts.Parts, &edgev1.ContentPart{Type: "text", Text: &more})
		return out
	}
	out.Content = textOf(out.GetContent().GetText() + more)
	return out
}

// Keep keeps the turn with its answer. That it cannot be kept is no reason to fail
// the request: it is logged, and noted for who asks why.
func (t *Talk) Keep(ctx context.Context, answer *edgev1.ChatMessage) {
	if t == nil || !t.store || len(t.asked) == 0 || said(answer) == "" && len(answer.GetToolCalls()) == 0 {
		return
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	kept, err := t.keep(wait, answer)
	if err == nil {
		t.memory.sumUp(ctx, t, kept)
		return
	}
	reason := "the store failed"
	if errors.Is(err, errGone) {
		reason = "the conversation was deleted while it was answered"
	} else {
		t.memory.Log.WarnContext(ctx, "a turn of a conversation could not be kept", telemetry.Err(err))
	}
	audit.From(ctx).Decide(explain.Decision{Step: explain.Memory, Outcome: "not-kept", Detail: reason})
}

// keep adds the turn to what is kept by then: one of several at once that is not
// first reads again.
func (t *Talk) keep(ctx context.Context, answer *edgev1.ChatMessage) (*edgev1.Conversation, error) {
	m := t.memory
	for range keepTries {
		now := m.Clock.Now()
		c, r, err := m.current(ctx, t.owner, t.id, now)
		switch {
		case err != nil:
			return nil, err
		case !t.created.IsZero() && !r.CreateTime.Equal(t.created):
			return nil, errGone
		}
		before := r.Version
		c.TurnCount++
		c.Turns = append(c.GetTurns(), &edgev1.ConversationTurn{
			Number: c.GetTurnCount(), CreateTime: timestamppb.New(now), Messages: append(slices.Clone(t.asked), plain(answer)),
		})
		if err := m.write(ctx, t.owner, t.id, c, r, now); !errors.Is(err, ErrConflict) {
			if t.created = r.CreateTime; before == 0 {
				t.created = now.Truncate(time.Microsecond)
			}
			return c, err
		}
	}
	return nil, fmt.Errorf("%w, %d times", ErrConflict, keepTries)
}

// current reads a conversation; a new one has no version.
func (m *Memory) current(ctx context.Context, o Owner, id string, now time.Time) (*edgev1.Conversation, Record, error) {
	r, err := m.Store.Read(ctx, o, id, now)
	if errors.Is(err, ErrNotFound) {
		return new(edgev1.Conversation), Record{}, nil
	}
	if err != nil {
		return nil, Record{}, err
	}
	c, err := m.read(r)
	return c, r, err
}

// write keeps a conversation as put does.
func (m *Memory) write(ctx context.Context, o Owner, id string, c *edgev1.Conversation, was Record, now time.Time) error {
	_, err := m.put(ctx, o, id, c, was, now)
	return err
}

// put keeps a conversation in place of the record that it was read from, less the
// oldest turns where it is too long, and returns what is kept.
func (m *Memory) put(ctx context.Context, o Owner, id string, c *edgev1.Conversation, was Record, now time.Time) (Record, error) {
	if n := len(c.GetTurns()) - m.Config.MaxTurns; n > 0 {
		c.Turns = c.GetTurns()[n:]
	}
	body, err := m.Codec.Marshal(c)
	if err != nil {
		return Record{}, err
	}
	for len(body) > int(m.Config.MaxBytes) && len(c.GetTurns()) > 1 {
		c.Turns = c.GetTurns()[max(1, len(c.GetTurns())/8):]
		if body, err = m.Codec.Marshal(c); err != nil {
			return Record{}, err
		}
	}
	if len(body) > int(m.Config.MaxBytes) {
		return Record{}, fmt.Errorf("%w: %v", errTooLarge, m.Config.MaxBytes)
	}
	r := Record{
		ID: id, Version: was.Version + 1, CreateTime: was.CreateTime, UpdateTime: now, ExpireTime: now.Add(m.Config.TTL), Body: string(body),
		Turns: c.GetTurnCount(), Summarized: c.GetSummarizedTurns(),
	}
	if was.Version == 0 {
		now = now.Truncate(time.Microsecond)
		r.Version, r.CreateTime, r.UpdateTime = now.UnixMicro(), now, now
	}
	return r, m.Store.Write(ctx, o, r, was.Version, m.Config.PerSubject)
}
