package responses

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
)

// writer turns the chunks of a chat completion into events: one item is open at a
// time, and the next begins when something of another kind comes. It is the stream
// that the chat's handler writes to, for one goroutine.
type writer struct {
	grpc.ServerStreamingServer[edgev1.ResponseEvent]
	server *Server
	ask    ask

	sequence int64
	response *edgev1.Response     // nil until something came
	open     *edgev1.ResponseItem // nil: none is
	call     int32                // which of the calls the open item is, of type function_call
	finish   string
	usage    *edgev1.Usage
}

// Send implements grpc.ServerStreamingServer for chunks.
func (w *writer) Send(chunk *edgev1.StreamChatCompletionResponse) error {
	if err := w.begin(chunk); err != nil {
		return err
	}
	if chunk.GetUsage() != nil {
		w.usage = chunk.GetUsage()
	}
	for _, choice := range chunk.GetChoices() {
		if choice.GetIndex() != 0 {
			continue // one answer was asked for
		}
		if err := w.delta(choice.GetDelta()); err != nil {
			return err
		}
		if choice.GetFinishReason() != "" {
			w.finish = choice.GetFinishReason()
		}
	}
	return nil
}

func (w *writer) event(e *edgev1.ResponseEvent) error {
	e.SequenceNumber = w.sequence
	w.sequence++
	return w.ServerStreamingServer.Send(e)
}

// itemEvent is an event about the open item.
func (w *writer) itemEvent(kind string) *edgev1.ResponseEvent {
	index := int32(len(w.response.GetOutput()))
	return &edgev1.ResponseEvent{Type: kind, OutputIndex: &index, ItemId: w.open.GetId()}
}

// partEvent is an event about the open item's only part.
func (w *writer) partEvent(kind string) *edgev1.ResponseEvent {
	e := w.itemEvent(kind)
	e.ContentIndex = new(int32)
	return e
}

func (w *writer) begin(chunk *edgev1.StreamChatCompletionResponse) error {
	if w.response != nil {
		return nil
	}
	w.response = begun(w.ask, chunk.GetId(), chunk.GetCreated())
	if err := w.event(&edgev1.ResponseEvent{Type: "response.created", Response: w.response}); err != nil {
		return err
	}
	return w.event(&edgev1.ResponseEvent{Type: "response.in_progress", Response: w.response})
}

func (w *writer) delta(d *edgev1.ChatMessage) error {
	if err := w.more("reasoning_text", d.GetReasoningContent(), nil); err != nil {
		return err
	}
	if err := w.more(responseitem.PartText, d.GetContent().GetText(), d.GetAnnotations()); err != nil {
		return err
	}
	if err := w.more("refusal", d.GetRefusal(), nil); err != nil {
		return err
	}
	for _, call := range d.GetToolCalls() {
		if err := w.function(call); err != nil {
			return err
		}
	}
	return nil
}

// more adds to the open item's part, or begins an item with one of that type.
func (w *writer) more(kind, text string, annotations []*edgev1.Annotation) error {
	part := w.part()
	if len(annotations) > 0 && part.GetType() == responseitem.PartText {
		mark(part.GetAnnotations(), annotations)
	}
	if text == "" && (len(annotations) == 0 || annotations[0].Cited != nil) {
		return nil
	}
	if part.GetType() != kind {
		if err := w.close(statusCompleted); err != nil {
			return err
		}
		part = &edgev1.ResponsePart{Type: kind, Text: new(string)}
		switch kind {
		case "refusal":
			part.Text, part.Refusal = nil, new(string)
		case responseitem.PartText:
			part.Annotations = &edgev1.ResponseAnnotations{Annotations: annotations}
		}
		if err := w.start(w.item(kind), part); err != nil {
			return err
		}
	}
	if text == "" {
		return nil
	}
	if part.Refusal != nil {
		*part.Refusal += text
	} else {
		*part.Text += text
	}
	e := w.partEvent("response." + kind + ".delta")
	e.Delta = &text
	if kind == responseitem.PartText {
		e.Logprobs = new(edgev1.ResponseLogprobs)
	}
	return w.event(e)
}

// mark notes at the end of a text which of its passages it cites, and what it cites
// that is none.
func mark(has *edgev1.ResponseAnnotations, last []*edgev1.Annotation) {
	for _, a := range last {
		i := slices.IndexFunc(has.GetAnnotations(), func(b *edgev1.Annotation) bool { return b.GetNumber() == a.GetNumber() })
		switch {
		case i >= 0:
			has.Annotations[i] = a
		case has != nil:
			has.Annotations = append(has.GetAnnotations(), a)
		}
	}
}

func (w *writer) item(kind string) *edgev1.ResponseItem {
	if kind == "reasoning_text" {
		return &edgev1.ResponseItem{Type: responseitem.Reasoning, Id: w.server.itemID(responseitem.Reasoning), Status: statusWorking, Content: parts()}
	}
	return w.server.messageItem(statusWorking)
}

// part is the open item's part; nil: it has none.
func (w *writer) part() *edgev1.ResponsePart {
	if list := w.open.GetContent().GetParts().GetParts(); len(list) > 0 {
		return list[0]
	}
	return nil
}

func (w *writer) start(item *edgev1.ResponseItem, part *edgev1.ResponsePart) error {
	w.open = item
	e := w.itemEvent("response.output_item.added")
	e.ItemId, e.Item = "", item
	if err := w.event(e); err != nil || part == nil {
		return err
	}
	add(item, part)
	e = w.partEvent("response.content_part.added")
	e.Part = part
	return w.event(e)
}

func (w *writer) function(call *edgev1.ToolCall) error {
	if w.open.GetType() != responseitem.Call || w.call != call.GetIndex() {
		if err := w.close(statusCompleted); err != nil {
			return err
		}
		w.call = call.GetIndex()
		item := &edgev1.ResponseItem{
			Type: responseitem.Call, Id: w.server.itemID(responseitem.Call), Status: statusWorking, CallId: call.GetId(), Name: call.GetFunction().GetName(), Arguments: new(string),
		}
		if err := w.start(item, nil); err != nil {
			return err
		}
	}
	more := call.GetFunction().GetArguments()
	if more == "" {
		return nil
	}
	*w.open.Arguments += more
	e := w.itemEvent("response.function_call_arguments.delta")
	e.Delta = &more
	return w.event(e)
}

// close ends the open item, which is whole unless status says that it is not.
func (w *writer) close(status string) error {
	if w.open == nil {
		return nil
	}
	item := w.open
	item.Status = status
	if item.GetType() == responseitem.Call {
		e := w.itemEvent("response.function_call_arguments.done")
		e.Arguments, e.Name = item.Arguments, &item.Name
		if err := w.event(e); err != nil {
			return err
		}
	}
	if part := w.part(); part != nil {
		if err := w.closePart(part); err != nil {
			return err
		}
	}
	e := w.itemEvent("response.output_item.done")
	e.ItemId, e.Item = "", item
	w.response.Output, w.open = append(w.response.GetOutput(), item), nil
	return w.event(e)
}

func (w *writer) closePart(part *edgev1.ResponsePart) error {
	e := w.partEvent("response." + part.GetType() + ".done")
	e.Text = part.Text
	if part.GetType() == responseitem.PartText {
		e.Logprobs = new(edgev1.ResponseLogprobs)
	}
	if err := w.event(e); err != nil {
		return err
	}
	e = w.partEvent("response.content_part.done")
	e.Part = part
	return w.event(e)
}

// end says what became of the response, once it is kept.
func (w *writer) end(ctx context.Context) error {
	if w.response == nil {
		return nil
	}
	status := statusCompleted
	if incomplete(w.finish) != nil {
		status = statusIncomplete
	}
	if err := w.close(status); err != nil {
		return err
	}
	w.server.end(w.response, w.finish, w.usage)
	w.server.keep(ctx, w.ask, w.response)
	return w.event(&edgev1.ResponseEvent{Type: "response." + w.response.GetStatus(), Response: w.response})
}
