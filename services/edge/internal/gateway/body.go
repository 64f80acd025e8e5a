package gateway

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	oip "github.com/poterne/poterne/proto/gen/inference"
)

// body is a request's body within its limits of size and time. It remembers
// what was wrong with it, since the grpc-gateway passes on only the text.
type body struct {
	io.ReadCloser
	rc      *http.ResponseController
	clock   clock.Clock
	timeout time.Duration
	err     error
}

// limitBody bounds the body of r.
func (h *handler) limitBody(w http.ResponseWriter, r *http.Request) {
	r.Body = &body{
		ReadCloser: http.MaxBytesReader(w, r.Body, int64(h.cfg.MaxBodyBytes)),
		rc:         http.NewResponseController(w), clock: h.Clock, timeout: h.cfg.BodyTimeout,
	}
}

// readAll reads the whole body. The deadline is lifted afterwards: it would end
// the wait for a client's disconnect, and with it the request.
func (b *body) readAll() ([]byte, error) {
	_ = b.rc.SetReadDeadline(b.clock.Now().Add(b.timeout)) // a recorder in tests has none
	data, err := io.ReadAll(b.ReadCloser)
	_ = b.rc.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, b.fail(bodyError(err))
	}
	return data, nil
}

// fail remembers err as what is wrong with this body.
func (b *body) fail(err error) error {
	b.err = err
	return err
}

// checkBody refuses what can be refused before the body is read.
func (h *handler) checkBody(r *http.Request, rt *route) error {
	if r.ContentLength > int64(h.cfg.MaxBodyBytes) {
		return tooLarge(int64(h.cfg.MaxBodyBytes))
	}
	if r.ContentLength == 0 {
		return nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return apierr.New(apierr.UnsupportedMediaType, "the body must not be compressed (Content-Encoding)")
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(ct)
	if err == nil && mediaType == contentTypeBinary && rt.rpc == oip.GRPCInferenceService_ModelInfer_FullMethodName {
		return nil
	}
	charset := params["charset"]
	if err != nil || mediaType != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return apierr.New(apierr.UnsupportedMediaType, "the body must be JSON: send Content-Type: application/json")
	}
	return nil
}
