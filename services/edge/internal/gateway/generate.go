package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/inproc"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/chattext"
	"github.com/poterne/poterne/services/edge/internal/plainchat"
)

// chat answers POST /v1/chat/completions.
func (h *handler) chat(w *writer, r *http.Request) {
	req := new(edgev1.CreateChatCompletionRequest)
	asked, ok := h.readChat(w, r, req)
	if !ok {
		return
	}
	ctx, text := chattext.With(r.Context(), asked)
	if req.GetStream() {
		startStream(ctx, h, w, r, openAIEvents(), edgev1.OpenAIService_StreamChatCompletion_FullMethodName, req)
		return
	}
	var header metadata.MD
	heading := grpc.Header(&header)
	if inproc.Heads(h.Conn) {
		heading = inproc.Heading(w.setHeader)
	}
	resp := new(edgev1.CreateChatCompletionResponse)
	err := h.invoke(ctx, r.Header, edgev1.OpenAIService_CreateChatCompletion_FullMethodName, req, resp, heading)
	if err == nil && text.JSON() != nil {
		copyHeader(w.Header(), header)
		writeJSON(w, text.JSON())
		return
	}
	h.answer(w, r, header, resp, err)
}

// completion answers POST /v1/completions.
func (h *handler) completion(w *writer, r *http.Request) {
	req := new(edgev1.CreateCompletionRequest)
	if !h.readBody(w, r, req) {
		return
	}
	if req.GetStream() {
		startStream(r.Context(), h, w, r, openAIEvents(), edgev1.OpenAIService_StreamCompletion_FullMethodName, req)
		return
	}
	var header metadata.MD
	resp, err := h.openai.CreateCompletion(h.callContext(r.Context(), r.Header), req, grpc.Header(&header))
	h.answer(w, r, header, resp, err)
}

// readChat is readBody of a conversation, of which it also returns the text, where that is
// written as the engine's would be.
func (h *handler) readChat(w *writer, r *http.Request, req *edgev1.CreateChatCompletionRequest) (asked []byte, ok bool) {
	b, ok := r.Body.(*body)
	if !ok {
		return nil, h.readBody(w, r, req) // which says so
	}
	asked, err := b.readAll()
	alike := false
	if err == nil {
		if alike, ok = plainchat.Read(asked, req); !ok {
			alike, err = h.Codec.UnmarshalAlike(asked, req)
		}
	}
	if err != nil {
		writeError(w, r, b.fail(err))
		return nil, false
	}
	if !alike {
		asked = nil
	}
	return asked, true
}

// readBody reads the request's message, or answers why it cannot.
func (h *handler) readBody(w *writer, r *http.Request, req proto.Message) bool {
	err := marshaler{h.Codec}.NewDecoder(r.Body).Decode(req)
	if errors.Is(err, io.EOF) {
		err = h.Codec.Unmarshal(nil, req) // which says what an empty body lacks
	}
	if err != nil {
		writeError(w, r, err)
		return false
	}
	return true
}

// answer writes a whole answer, or the error in its place.
func (h *handler) answer(w *writer, r *http.Request, header metadata.MD, resp proto.Message, err error) {
	copyHeader(w.Header(), header)
	if err != nil {
		writeError(w, r, err)
		return
	}
	data, err := h.Codec.Marshal(resp)
	if err != nil {
		writeError(w, r, err)
		return
	}
	writeJSON(w, data)
}

func writeJSON(w *writer, data []byte) {
	values := [...]string{contentTypeJSON, strconv.Itoa(len(data))}
	header := w.Header()
	header["Content-Type"], header["Content-Length"] = values[0:1:1], values[1:2:2]
	_, _ = w.Write(data) // a client that is gone needs no answer
}
