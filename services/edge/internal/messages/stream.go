package messages

import (
	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The types of events.
const (
	eventStart      = "message_start"
	eventBlockStart = "content_block_start"
	eventBlockDelta = "content_block_delta"
	eventBlockStop  = "content_block_stop"
	eventDelta      = "message_delta"
	eventStop       = "message_stop"
)

// writer turns the chunks of a chat completion into events: one block is open at a
// time, and the next begins when something of another kind comes. It is the
// stream that the chat's handler writes to, for one goroutine.
type writer struct {
	grpc.ServerStreamingServer[edgev1.StreamMessageResponse]
	stops []string

	begun  bool
	open   string // the type of the open block; empty: none is
	index  int32  // of the open block, or of the next
	call   int32  // which of the calls the open block is, of type tool_use
	reason *string
	at     *string // the sequence that it stopped at
	usage  *edgev1.MessageUsage
}

func newWriter(out grpc.ServerStreamingServer[edgev1.StreamMessageResponse], stops []string) *writer {
	return &writer{ServerStreamingServer: out, stops: stops, usage: new(edgev1.MessageUsage)}
}

// Send implements grpc.ServerStreamingServer for chunks.
func (w *writer) Send(chunk *edgev1.StreamChatCompletionResponse) error {
	if err := w.begin(chunk); err != nil {
		return err
	}
	if u := chunk.GetUsage(); u != nil {
		w.usage = usage(u)
	}
	for _, choice := range chunk.GetChoices() {
		if choice.GetIndex() != 0 {
			continue // one answer was asked for
		}
		if err := w.delta(choice.GetDelta()); err != nil {
			return err
		}
		if choice.GetFinishReason() != "" {
			w.reason, w.at = stopReason(choice.GetFinishReason(), choice.GetExtra(), w.stops)
		}
	}
	return nil
}

func (w *writer) event(e *edgev1.StreamMessageResponse) error { return w.ServerStreamingServer.Send(e) }

func (w *writer) begin(chunk *edgev1.StreamChatCompletionResponse) error {
	if w.begun {
		return nil
	}
	w.begun = true
	return w.event(&edgev1.StreamMessageResponse{Type: eventStart, Message: &edgev1.CreateMessageResponse{
		Id: answerID(chunk.GetId()), Type: "message", Role: roleAssistant, Model: chunk.GetModel(), Usage: new(edgev1.MessageUsage),
	}})
}

func (w *writer) delta(d *edgev1.ChatMessage) error {
	if text := d.GetReasoningContent(); text != "" {
		if err := w.need(&edgev1.MessageBlock{Type: blockThinking, Thinking: new(string), Signature: new(string)}); err != nil {
			return err
		}
		if err := w.more(&edgev1.MessageDelta{Type: "thinking_delta", Thinking: &text}); err != nil {
			return err
		}
	}
	if text := d.GetContent().GetText() + d.GetRefusal(); text != "" || len(d.GetAnnotations()) > 0 && !ended(d.GetAnnotations()) {
		if err := w.need(&edgev1.MessageBlock{Type: blockText, Text: new(string), Annotations: d.GetAnnotations()}); err != nil {
			return err
		}
		if text != "" {
			if err := w.more(&edgev1.MessageDelta{Type: "text_delta", Text: &text}); err != nil {
				return err
			}
		}
	}
	for _, call := range d.GetToolCalls() {
		if err := w.tool(call); err != nil {
			return err
		}
	}
	return nil
}

// ended reports whether annotations say what was cited of passages that the block
// began with.
func ended(annotations []*edgev1.Annotation) bool {
	a := annotations[0]
	return a.Cited != nil || a.GetType() == "unknown_citation"
}

func (w *writer) tool(call *edgev1.ToolCall) error {
	if w.open != blockToolUse || w.call != call.GetIndex() {
		w.call = call.GetIndex()
		if err := w.start(&edgev1.MessageBlock{
			Type: blockToolUse, Id: call.GetId(), Name: call.GetFunction().GetName(), Input: input(""),
		}); err != nil {
			return err
		}
	}
	if call.GetFunction().GetArguments() == "" {
		return nil
	}
	return w.more(&edgev1.MessageDelta{Type: "input_json_delta", PartialJson: call.GetFunction().Arguments})
}

// need opens a block unless one of its type is open.
func (w *writer) need(b *edgev1.MessageBlock) error {
	if w.open == b.GetType() {
		return nil
	}
	return w.start(b)
}

func (w *writer) start(b *edgev1.MessageBlock) error {
	if err := w.close(); err != nil {
		return err
	}
	w.open = b.GetType()
	index := w.index
	return w.event(&edgev1.StreamMessageResponse{Type: eventBlockStart, Index: &index, ContentBlock: b})
}

func (w *writer) more(d *edgev1.MessageDelta) error {
	index := w.index
	return w.event(&edgev1.StreamMessageResponse{Type: eventBlockDelta, Index: &index, Delta: d})
}

func (w *writer) close() error {
	if w.open == "" {
		return nil
	}
	index := w.index
	w.open, w.index = "", w.index+1
	return w.event(&edgev1.StreamMessageResponse{Type: eventBlockStop, Index: &index})
}

// end writes what follows the last chunk.
func (w *writer) end() error {
	if !w.begun {
		return nil
	}
	if err := w.close(); err != nil {
		return err
	}
	err := w.event(&edgev1.StreamMessageResponse{
		Type: eventDelta, Delta: &edgev1.MessageDelta{StopReason: w.reason, StopSequence: w.at}, Usage: w.usage,
	})
	if err != nil {
		return err
	}
	return w.event(&edgev1.StreamMessageResponse{Type: eventStop})
}
