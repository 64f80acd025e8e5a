package gateway

import (
	"context"
	"net/http"

	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// maxQuantizeBody is the largest body of a quantisation: a text of 8 MiB, of which
// JSON may write every byte as two, and the rest.
const maxQuantizeBody = 2*(8<<20) + 64<<10

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
	startStream(h, w, r, problemFailure, func(ctx context.Context) (grpc.ServerStreamingClient[edgev1.QuantizeModelResponse], error) {
		return h.admin.QuantizeModel(ctx, req)
	})
}
