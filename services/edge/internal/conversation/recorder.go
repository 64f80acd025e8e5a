package conversation

import (
	"strings"

	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Recorder passes a stream on, and remembers the first of its answers.
type Recorder struct {
	grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]

	text, refusal strings.Builder
	calls         []*edgev1.ToolCall
}

// Record returns out with a recorder around it; with a nil talk, out and nil.
func (t *Talk) Record(out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]) (grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse], *Recorder) {
	if t == nil {
		return out, nil
	}
	r := &Recorder{ServerStreamingServer: out}
	return r, r
}

// Send implements the stream.
func (r *Recorder) Send(chunk *edgev1.StreamChatCompletionResponse) error {
	for _, c := range chunk.GetChoices() {
		if c.GetIndex() != 0 {
			continue
		}
		d := c.GetDelta()
		r.text.WriteString(d.GetContent().GetText())
		r.refusal.WriteString(d.GetRefusal())
		for _, call := range d.GetToolCalls() {
			r.call(call)
		}
	}
	return r.ServerStreamingServer.Send(chunk)
}

// maxCalls bounds the calls of one answer.
const maxCalls = 256

func (r *Recorder) call(piece *edgev1.ToolCall) {
	at := int(piece.GetIndex())
	if at < 0 || at > len(r.calls) || at >= maxCalls {
		return
	}
	if at == len(r.calls) {
		empty := ""
		r.calls = append(r.calls, &edgev1.ToolCall{Function: &edgev1.ToolCallFunction{Arguments: &empty}})
	}
	call := r.calls[at]
	call.Id += piece.GetId()
	if piece.GetType() != "" {
		call.Type = piece.GetType()
	}
	call.Function.Name += piece.GetFunction().GetName()
	*call.Function.Arguments += piece.GetFunction().GetArguments()
}

// Message is the answer as it was sent.
func (r *Recorder) Message() *edgev1.ChatMessage {
	if r == nil {
		return nil
	}
	m := &edgev1.ChatMessage{Role: "assistant", Content: textOf(r.text.String()), ToolCalls: r.calls}
	if r.refusal.Len() > 0 {
		refusal := r.refusal.String()
		m.Refusal = &refusal
	}
	return m
}
