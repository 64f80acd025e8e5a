package gateway

import (
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr/httperr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// messagesPath reports whether a path is Anthropic's alone, whose clients expect its
// errors and show their key in its header.
func messagesPath(path string) bool {
	return path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/")
}

// anthropicHeaders takes the key of Anthropic's header for what a Bearer token is
// elsewhere, unless that is there too, and tells the request's id in its header.
func anthropicHeaders(answer http.Header, r *http.Request) {
	answer.Set("Request-Id", answer.Get("X-Request-Id"))
	keys := r.Header.Values("X-Api-Key")
	r.Header.Del("X-Api-Key")
	if len(r.Header.Values("Authorization")) > 0 {
		return
	}
	for _, key := range keys { // several are refused, as several of the other are
		r.Header.Add("Authorization", "Bearer "+key)
	}
}

// message answers POST /v1/messages.
func (h *handler) message(w *writer, r *http.Request) {
	req := new(edgev1.CreateMessageRequest)
	if !h.readBody(w, r, req) {
		return
	}
	if req.GetStream() {
		startStream(r.Context(), h, w, r, anthropicEvents(), edgev1.MessagesService_StreamMessage_FullMethodName, req)
		return
	}
	var header metadata.MD
	resp, err := h.messages.CreateMessage(h.callContext(r.Context(), r.Header), req, grpc.Header(&header))
	h.answer(w, r, header, resp, err)
}

// anthropicEvents have the types that they name themselves, and the last one says
// that it is.
func anthropicEvents() eventShape {
	return eventShape{
		name: func(msg proto.Message) string {
			e, _ := msg.(*edgev1.StreamMessageResponse)
			return e.GetType()
		},
		fail: func(out *sse.Writer, err error, id string) { out.Named("error", httperr.AnthropicBody(err, id)) },
		end:  func(*sse.Writer) {},
	}
}
