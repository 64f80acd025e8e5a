package openai

import (
	"bytes"
	"context"
	"strconv"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/jsonwalk"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/jsonmember"
)

// spliced is a chunk of a chat as the engine wrote it, with the members that the
// gateway sets in the place of the engine's own: a chunk that nobody looks into is not
// made a message and a text again. Those that look at the message see an empty one.
type spliced struct {
	*edgev1.StreamChatCompletionResponse

	text  []byte
	head  []byte // the members that the gateway sets
	burst burst
}

// JSON is the chunk's text, while it is sent.
func (s *spliced) JSON() []byte { return s.text }

// splicer returns what splices a stream's chunks, nil where they are needed as
// messages: on the network, and where they are looked at, kept, or made another API's
// events by a handler that takes them.
func (w *chatWriter) splicer(ctx context.Context) *spliced {
	direct := inproc.DirectFrom(ctx)
	_, own := w.out.(*grpc.GenericServerStream[edgev1.CreateChatCompletionRequest, edgev1.StreamChatCompletionResponse])
	if !own || direct == nil || w.filter != nil || audit.From(ctx).Content() != nil {
		return nil
	}
	return &spliced{
		StreamChatCompletionResponse: new(edgev1.StreamChatCompletionResponse),
		burst:                        burst{direct: direct, kept: &w.server.alikes},
	}
}

// done lets go of what was learned of the stream.
func (s *spliced) done() {
	if s != nil {
		s.burst.end()
	}
}

// sendSpliced sends a chunk as it is spliced, and reports whether it could be. No room for
// the text is held before the next one.
func (w *chatWriter) sendSpliced(raw []byte) (sent bool, err error) {
	if w.spliced == nil || len(w.rests.on) > 0 || w.id == "" && !w.opens(raw) {
		return false, nil
	}
	buf := w.server.texts.Take()
	w.spliced.text = buf.B
	if sent = w.spliced.splice(raw, &w.started); sent {
		err = w.out.SendMsg(w.spliced)
	}
	buf.B, w.spliced.text = w.spliced.text, nil
	w.server.texts.Put(buf)
	return sent, err
}

// opens gives the answer its name by its first chunk, and reports whether it could: the
// engine's time of it must be a plain number.
func (w *chatWriter) opens(raw []byte) bool {
	for walk := jsonwalk.NewWalk(raw); ; {
		name, at, ok := walk.Next()
		if !ok {
			return false
		}
		if string(name) == "created" {
			created, err := strconv.ParseInt(string(at.Of(raw)), 10, 64)
			if err == nil {
				w.open(created)
			}
			return err == nil
		}
	}
}

// name notes what the gateway calls the answer.
func (s *spliced) name(id string, created int64, model string) {
	b := jsonmember.Quote([]byte(`{"id":`), id)
	b = append(b, `,"object":"`+objectChatChunk+`","created":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `,"model":`...)
	s.head = jsonmember.Quote(b, model)
}

// splice makes the chunk's text of the engine's. It reports whether it could: what is
// not quite as OpenAI has it, begins a choice that lacks something, or tells more than a
// piece of the answer, must be read.
func (s *spliced) splice(raw []byte, begun *started) (whole bool) {
	s.burst.next()
	if s.text, whole = s.burst.splice(s.text[:0], raw); whole {
		return true
	}
	if len(s.head) == 0 || !jsonwalk.Strict(raw) {
		return false
	}
	s.text = append(s.text[:0], s.head...)
	var came, leaves int // where the choices begin
	opened := *begun
	good, known := isObject, begun.goesOn
	if opened == (started{}) {
		good, known = hasRole, opened.opens
	}
	for walk := jsonwalk.NewWalk(raw); ; {
		name, at, ok := walk.Next()
		if !ok {
			s.text = append(s.text, '}')
			if whole = whole && walk.OK(); whole {
				*begun = opened
				s.burst.learn(raw, came, s.text, leaves)
			}
			return whole
		}
		switch string(name) {
		case "id", "object", "created", "model":
			continue
		case "usage":
			if string(at.Of(raw)) != "null" {
				return false
			}
			continue
		case "choices":
			came, leaves = at.Value, len(s.text)
			s.text = append(s.text, `,"choices":[`...)
			if s.text, whole = appendChoices(s.text, at.Of(raw), "delta", good, known); !whole {
				return false
			}
			continue
		default:
			if escaped(name) {
				return false
			}
		}
		s.text = append(append(s.text, ','), raw[at.Start:at.End]...)
	}
}

// escaped reports whether a name may be another one than it looks.
func escaped(name []byte) bool { return bytes.IndexByte(name, '\\') >= 0 }

// appendChoices adds the choices, and the end of their list, with what OpenAI's clients
// look for in each. It reports whether there is one, and all are of their form: says is
// the member that holds what the model said, good whether that is as it should be, and
// known whether the index is.
func appendChoices(text, list []byte, says string, good, known func(value []byte) bool) ([]byte, bool) {
	rest, n := skip(list, '['), 0
	for len(rest) > 0 && rest[0] == '{' {
		var index, said, finish, logprobs bool
		walk := jsonwalk.NewWalk(rest)
		for {
			name, at, ok := walk.Next()
			if !ok {
				break
			}
			value := at.Of(rest)
			switch string(name) {
			case "index":
				index = known(value)
			case says:
				said = good(value)
			case "finish_reason":
				if finish = isReason(value); !finish {
					return text, false
				}
			case "logprobs":
				logprobs = true
			default:
				if escaped(name) {
					return text, false
				}
			}
		}
		if !walk.OK() || !index || !said {
			return text, false
		}
		if n++; n > 1 {
			text = append(text, ',')
		}
		text = append(text, rest[:walk.End()-1]...)
		if !finish {
			text = append(text, `,"finish_reason":null`...)
		}
		if !logprobs {
			text = append(text, `,"logprobs":null`...)
		}
		text = append(text, '}')
		rest = skip(rest[walk.End():], ',')
	}
	text = append(text, ']')
	return text, n > 0 && len(rest) == 1 && rest[0] == ']'
}

// isIndex reports whether a value is a number that counts.
func isIndex(value []byte) bool {
	_, err := strconv.ParseInt(string(value), 10, 32)
	return err == nil && value[0] != '-'
}

// isReason reports whether a value is why an answer ended, or null.
func isReason(value []byte) bool { return value[0] == '"' || value[0] == 'n' }

// goesOn reports whether a choice's index is of one that nothing is to be added to.
func (s *started) goesOn(index []byte) bool {
	n, err := strconv.ParseInt(string(index), 10, 32)
	return err == nil && s.has(int32(n))
}

// opens notes that a choice begins, and reports whether it can.
func (s *started) opens(index []byte) bool {
	n, err := strconv.ParseInt(string(index), 10, 32)
	if err != nil || s.has(int32(n)) {
		return false
	}
	s.add(int32(n))
	return true
}

// hasRole reports whether a choice's first delta says who speaks, and beside that nothing
// but texts: an answer that begins with anything else is read, and refused where it cannot
// be.
func hasRole(delta []byte) bool {
	role := false
	return delta[0] == '{' && members(delta, func(name, value []byte) bool {
		switch string(name) {
		case "role":
			role = len(value) > len(`""`) && value[0] == '"'
			return role
		case "content", "reasoning_content", "refusal":
			return value[0] == '"' || value[0] == 'n'
		}
		return value[0] == 'n'
	}) && role
}

func isObject(value []byte) bool { return value[0] == '{' }

// skip returns text behind spaces and one c.
func skip(text []byte, c byte) []byte {
	text = bytes.TrimLeft(text, spaces)
	if len(text) > 0 && text[0] == c {
		return bytes.TrimLeft(text[1:], spaces)
	}
	return text
}

const spaces = " \t\r\n"
