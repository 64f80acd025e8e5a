// Package chatmember puts members that a chat completion has and another shape of it
// has not, such as `seed` on a response or a message, where they belong. The engine
// would not get them otherwise: the contract of a chat names them, so they are no
// unknown parameters there. It knows neither shape. Start reading at Taker.Take.
package chatmember

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// Taker takes members out of what a shape does not know. It is safe for concurrent
// use.
type Taker struct {
	codec     *jsoncodec.Codec
	validator protovalidate.Validator
	names     map[string]string
}

// New returns a taker for a shape that has some of a chat's members under other names:
// names gives them.
func New(codec *jsoncodec.Codec, validator protovalidate.Validator, names map[string]string) *Taker {
	return &Taker{codec: codec, validator: validator, names: names}
}

// Take moves the members of a chat from its extra to where they belong. A member that
// the answer has no place for is refused, unless its value asks for nothing, and so is
// one that the shape has under another name.
func (t *Taker) Take(chat *edgev1.CreateChatCompletionRequest) error {
	fields := chat.ProtoReflect().Descriptor().Fields()
	var taken []string
	for name, raw := range chat.GetExtra() {
		if fields.ByName(protoreflect.Name(name)) == nil || name == "extra" {
			continue
		}
		keep, err := t.judge(name, raw)
		if err != nil {
			return err
		}
		if keep {
			taken = append(taken, name)
		} else {
			delete(chat.GetExtra(), name)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	slices.Sort(taken)
	members := make([]string, 0, len(taken))
	for _, name := range taken {
		raw := chat.GetExtra()[name]
		if !json.Valid([]byte(raw)) { // over gRPC it may be any text, also one that begins another member
			return invalid(name, "must be JSON")
		}
		members = append(members, fmt.Sprintf("%q:%s", name, raw))
		delete(chat.GetExtra(), name)
	}
	return t.merge(chat, "{"+strings.Join(members, ",")+"}")
}

// judge reports whether a member is the chat's as it is; false without an error: it
// asks for nothing.
func (t *Taker) judge(name, raw string) (bool, error) {
	if raw == "null" {
		return false, nil
	}
	if own := t.names[name]; own != "" {
		return false, invalid(name, "is called %s here", own)
	}
	switch name {
	case "seed", "stop", "presence_penalty", "frequency_penalty", "prompt", "cache", "user", "safety_identifier", "memory":
		return true, nil
	case "stream_options": // what it asks for a stream of this shape has anyhow, or has not
		return false, nil
	case "n":
		if raw != "1" {
			return false, invalid(name, "must be 1: the answer has no place for several")
		}
		return false, nil
	case "logprobs", "top_logprobs":
		if raw != "false" && raw != "0" {
			return false, invalid(name, "cannot be told: the answer has no place for log probabilities; ask for a chat completion")
		}
		return false, nil
	default: // what it asks for has not been judged as a chat's would have been
		return false, invalid(name, "is for chat completions only")
	}
}

// merge reads members into a chat, by the chat's own rules.
func (t *Taker) merge(chat *edgev1.CreateChatCompletionRequest, members string) error {
	part := new(edgev1.CreateChatCompletionRequest)
	if err := t.codec.Unmarshal([]byte(members), part); err != nil {
		return err
	}
	if part.Stop != nil && chat.GetStop() != nil {
		return invalid("stop", "is called stop_sequences here, and those are given, too")
	}
	if part.User != "" && chat.GetUser() != "" {
		return invalid("user", "is given twice")
	}
	given := protovalidate.FilterFunc(func(m protoreflect.Message, d protoreflect.Descriptor) bool {
		f, ok := d.(protoreflect.FieldDescriptor)
		return !ok || m.Descriptor() != part.ProtoReflect().Descriptor() || m.Has(f)
	})
	if err := t.validator.Validate(part, protovalidate.WithFilter(given)); err != nil {
		return apierr.From(err)
	}
	proto.Merge(chat, part)
	return nil
}

func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}
