package gateway

import (
	"encoding/json"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// response answers POST /v1/responses.
func (h *handler) response(w *writer, r *http.Request) {
	req := new(edgev1.CreateResponseRequest)
	if !h.readBody(w, r, req) {
		return
	}
	if req.GetStream() {
		startStream(r.Context(), h, w, r, responseEvents(), edgev1.ResponsesService_StreamResponse_FullMethodName, req)
		return
	}
	var header metadata.MD
	resp, err := h.responses.CreateResponse(h.callContext(r.Context(), r.Header), req, grpc.Header(&header))
	h.answer(w, r, header, resp, err)
}

// responseEvents have the types that they name themselves, and the last one says
// that it is. A failure is an event of OpenAI's type error.
func responseEvents() eventShape {
	sequence := int64(0)
	return eventShape{
		name: func(msg proto.Message) string {
			e, _ := msg.(*edgev1.ResponseEvent)
			sequence = e.GetSequenceNumber() + 1
			return e.GetType()
		},
		fail: func(out *sse.Writer, err error, id string) {
			e := apierr.From(err)
			body, failed := json.Marshal(struct {
				Type     string  `json:"type"`
				Sequence int64   `json:"sequence_number"`
				Code     *string `json:"code"`
				Message  string  `json:"message"`
				Param    *string `json:"param"`
				ID       string  `json:"request_id,omitempty"`
			}{"error", sequence, given(httperr.OpenAICode(err)), e.Message, given(e.Field), id})
			if failed == nil { // texts and numbers always encode
				out.Named("error", body)
			}
		},
		end: func(*sse.Writer) {},
	}
}

// given is a text, or null for none.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
