package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/edge/internal/middleware"
)

// openAIPath reports whether a path is one of OpenAI's, whose clients expect
// errors in OpenAI's shape: also where this gateway has nothing, because an SDK
// asks there all the same.
func openAIPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return false
	}
	first, _, _ := strings.Cut(rest, "/")
	switch first {
	case "chat", "completions", "embeddings", "models", "tokens:count", "rerank",
		"assistants", "audio", "batches", "chatkit", "containers", "conversations", "edits", "engines", "evals",
		"files", "fine-tunes", "fine_tuning", "images", "moderations", "organization", "realtime", "responses",
		"threads", "uploads", "vector_stores", "videos":
		return true
	default:
		return false
	}
}

// tensorPath reports whether a path is one of the Open Inference Protocol's.
func tensorPath(path string) bool { return path == "/v2" || strings.HasPrefix(path, "/v2/") }

// writeError answers with err in the shape that the path's clients read. What is
// refused here, before there was a call, is noted for the audit trail.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	err = middleware.Refuse(r.Context(), err)
	if out, ok := w.(*writer); ok {
		out.failure = failure{
			refused: !apierr.ReasonOf(err).Failure(), call: apierr.Passed(err) != nil, told: grpcserver.Told(err) >= slog.LevelWarn,
		}
	}
	id := requestid.FromContext(r.Context())
	if anthropicRequest(r) {
		httperr.WriteAnthropic(w, id, err)
		return
	}
	if openAIPath(r.URL.Path) {
		httperr.WriteOpenAI(w, id, err)
		return
	}
	if tensorPath(r.URL.Path) {
		httperr.WriteInference(w, id, err)
		return
	}
	if mlflowPath(r.URL.Path) {
		httperr.WriteMLflow(w, id, err)
		return
	}
	httperr.WriteProblem(w, id, err)
}

// gatewayError answers with what a call through the grpc-gateway failed with.
func gatewayError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if md, ok := runtime.ServerMetadataFromContext(ctx); ok {
		copyHeader(w.Header(), md.HeaderMD)
		copyHeader(w.Header(), md.TrailerMD)
	}
	writeError(w, r, original(r, err))
}

// original returns the error itself where the grpc-gateway made a status of
// its text alone: what was wrong with the body, with the query, or with the path.
func original(r *http.Request, err error) error {
	if b, ok := r.Body.(*body); ok && b.err != nil {
		return b.err
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.InvalidArgument && len(s.Details()) == 0 {
		if rest, ok := strings.CutPrefix(s.Message(), "type mismatch, parameter: "); ok {
			field, _, _ := strings.Cut(rest, ",")
			return apierr.Invalid(field, "%s in the path is not of its form", field)
		}
		if field, _, ok := strings.Cut(s.Message(), ": "); ok && queryName(field) {
			return apierr.Invalid(field, "%s", s.Message())
		}
	}
	return err
}

// routingError answers for what the grpc-gateway finds no handler for. The
// table of routes stands before it, so this is a path that only looks like one.
func routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusNotFound:
		writeError(w, r, notFound())
	case http.StatusMethodNotAllowed:
		writeError(w, r, apierr.New(apierr.MethodNotAllowed, "this path has no method %s", r.Method))
	default:
		writeError(w, r, apierr.New(apierr.InvalidArgument, "the path cannot be read"))
	}
}

func notFound() error {
	return apierr.New(apierr.NotFound, "there is nothing at this path; GET /docs lists what there is")
}

// tooLarge is for a body over the limit, in bytes.
func tooLarge(limit int64) error {
	return apierr.New(apierr.PayloadTooLarge, "the body is larger than %d bytes", limit)
}

// bodyError says why a body could not be read.
func bodyError(err error) error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(over.Limit)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return apierr.Wrap(apierr.RequestTimeout, err, "the body comes too slowly")
	}
	return apierr.Wrap(apierr.InvalidArgument, err, "the body could not be read to its end")
}
