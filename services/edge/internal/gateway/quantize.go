package gateway

import (
	"net/http"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// maxQuantizeBody is the largest body of a quantisation: a text of 8 MiB and the
// rest. JSON may write a text as three times its bytes: escaped, as Python does by
// itself, a letter of two bytes is six (\u0434) and one of four is twelve. Only
// control characters take more, and no text is made of these.
const maxQuantizeBody = 3*(8<<20) + 64<<10

// quantize answers POST /v1/admin/quantizations, always with a stream.
func (h *handler) quantize(w *writer, r *http.Request) {
	if err := noQuery(r); err != nil {
		writeError(w, r, err)
		return
	}
	req := new(edgev1.QuantizeModelRequest)
	if !h.readBody(w, r, req) {
		return
	}
	startStream(r.Context(), h, w, r, problemEvents(), edgev1.AdminService_QuantizeModel_FullMethodName, req)
}
