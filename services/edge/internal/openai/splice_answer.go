package openai

import (
	"context"
	"slices"
	"strconv"

	"github.com/poterne/poterne/pkg/jsonwalk"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/chattext"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// textFor returns what the caller takes an answer's text with, nil where the answer is
// needed as a message: it is kept, looked at or added to.
func (s *Server) textFor(ctx context.Context, c call, r *rests) *chattext.Text {
	if c.plan != nil || c.routed != nil || r.asked || len(r.on) > 0 || r.talk != nil {
		return nil
	}
	if audit.From(ctx).Content() != nil || s.Inspector.Of(ctx, detect.Answer, c.model) != nil {
		return nil
	}
	return chattext.From(ctx)
}

// textAnswer answers a conversation with the engine's own text, with the members that the
// gateway sets in the place of the engine's, or with a message where that cannot be.
func (s *Server) textAnswer(ctx context.Context, c call, r *rests, text *chattext.Text) (*edgev1.CreateChatCompletionResponse, error) {
	resp, err := s.invoke(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	answer := &edgev1.CreateChatCompletionResponse{Id: s.responseID(ctx, chatIDPrefix, resp.GetServedBy()), Object: objectChat, Model: c.model}
	if json, ok := spliceAnswer(resp.GetBody(), answer, s.now); ok {
		text.Set(json)
		return answer, nil
	}
	if err := s.read(resp, answer); err != nil {
		return nil, err
	}
	s.complete(ctx, c, r, answer, resp)
	return answer, nil
}

// spliceAnswer makes the text of the engine's answer, under what answer calls it and with
// the engine's time of it, or now. It reports whether it could: what is not quite as
// OpenAI has it must be read.
func spliceAnswer(raw []byte, answer *edgev1.CreateChatCompletionResponse, now func() int64) ([]byte, bool) {
	if !jsonwalk.Strict(raw) {
		return nil, false
	}
	b := make([]byte, 0, len(raw)+len(answer.GetId())+len(answer.GetModel())+64)
	b = jsonmember.Quote(append(b, `{"id":`...), answer.GetId())
	b = jsonmember.Quote(append(b, `,"object":`...), answer.GetObject())
	b = jsonmember.Quote(append(b, `,"model":`...), answer.GetModel())
	whole, counted := false, false
	walk := jsonwalk.NewWalk(raw)
	for {
		name, at, ok := walk.Next()
		if !ok {
			break
		}
		switch string(name) {
		case "id", "object", "model":
			continue
		case "created":
			n, err := strconv.ParseInt(string(at.Of(raw)), 10, 64)
			if err != nil {
				return nil, false
			}
			answer.Created = n
			continue
		case "usage":
			counted = isUsage(at.Of(raw))
		case "choices":
			b = append(b, `,"choices":[`...)
			if b, whole = appendChoices(b, at.Of(raw), "message", isMessage, isIndex); !whole {
				return nil, false
			}
			continue
		default:
			if escaped(name) {
				return nil, false
			}
		}
		b = append(append(b, ','), raw[at.Start:at.End]...)
	}
	if !walk.OK() || !whole || !counted {
		return nil, false
	}
	if answer.GetCreated() == 0 {
		answer.Created = now()
	}
	b = strconv.AppendInt(append(b, `,"created":`...), answer.GetCreated(), 10)
	return append(b, '}'), true
}

// isMessage reports whether a message has what OpenAI's clients look for: a role, and a
// text or null.
func isMessage(value []byte) bool {
	var role, content bool
	ok := members(value, func(name, value []byte) bool {
		switch string(name) {
		case "role":
			role = len(value) > len(`""`) && value[0] == '"'
		case "content":
			content = value[0] == '"' || value[0] == 'n'
		}
		return true
	})
	return ok && role && content
}

// isUsage reports whether usage counts what OpenAI's clients look for.
func isUsage(value []byte) bool {
	counts := 0
	ok := members(value, func(name, value []byte) bool {
		switch string(name) {
		case memberCost: // what an engine says that it costs is not what it costs here
			return false
		case "prompt_tokens", "completion_tokens", "total_tokens":
			counts++
			return !slices.ContainsFunc(value, notDigit)
		}
		return true
	})
	return ok && counts == len([...]string{"prompt", "completion", "total"})
}

func notDigit(c byte) bool { return c < '0' || c > '9' }

// members gives each member of an object to see, and reports whether all were seen, by
// names that mean what they look like, and as they should be.
func members(object []byte, see func(name, value []byte) bool) bool {
	walk := jsonwalk.NewWalk(object)
	for {
		name, at, ok := walk.Next()
		if !ok {
			return walk.OK()
		}
		if escaped(name) || !see(name, at.Of(object)) {
			return false
		}
	}
}
