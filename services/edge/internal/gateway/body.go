package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/pace"
	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// The bounds on what is still done about a body that nobody will read. What has
// arrived by the time of the answer is passed over, and the connection kept;
// otherwise it is closed after the answer, once the client has had a moment to
// see that: a connection that is closed with unread bytes takes the answer with it.
const (
	arrived    = 20 * time.Millisecond
	linger     = time.Second
	maxDiscard = 64 << 10

	maxDiscardStream = 4 << 20
)

// The sides on which a client can be too slow.
const (
	sideBody   = "body"
	sideAnswer = "answer"
)

// body is a request's body within its limits of size and time. It remembers
// what was wrong with it, since the grpc-gateway passes on only the text.
type body struct {
	io.ReadCloser
	rc      http.ResponseController
	clock   clock.Clock
	timeout time.Duration
	err     error
	allowed int64 // how many bytes ReadCloser lets through
	length  int64 // as told; below 0: unknown

	raw io.ReadCloser
	// expects: reading it tells the client to send it (Expect: 100-continue).
	expects bool
	// began: reading it has begun. bounded: that has a deadline, since not all of it was
	// there. whole: it was read to its end.
	began, bounded, whole bool
	// stream: it is read while the answer is written, and each read has the
	// timeout for itself.
	stream bool

	// pace is a streamed body's, and slow is told when its client does not keep it.
	pace pace.Pace
	slow func(side string)

	mu   sync.Mutex // of a streamed body, which one goroutine reads while another ends it
	left bool       // nothing is read any more
}

// limitBody makes b, which is empty, the body of r within the limits.
func (h *handler) limitBody(b *body, w http.ResponseWriter, r *http.Request) {
	b.rc, b.clock, b.timeout = *http.NewResponseController(w), h.Clock, h.cfg.BodyTimeout
	b.slow, b.pace = func(string) {}, *pace.New(int64(h.cfg.MinBodyRate), h.cfg.BodyTimeout)
	b.length = r.ContentLength
	b.raw, b.expects, b.whole = r.Body, r.Header.Get("Expect") != "", r.Body == http.NoBody
	b.allow(w, int64(h.cfg.MaxBodyBytes))
}

// allow bounds the body to n bytes, before any of it is read.
func (b *body) allow(w http.ResponseWriter, n int64) {
	if b.ReadCloser == nil || n != b.allowed {
		b.ReadCloser, b.allowed = http.MaxBytesReader(w, b.raw, n), n
	}
}

// hold has the body, which was read to its end, read again.
func (b *body) hold(data []byte) {
	b.ReadCloser, b.began = io.NopCloser(bytes.NewReader(data)), true
}

// Read reads, from the first time on within the timeout. The deadline is lifted
// at the end: it would end the wait for a client's disconnect, and with it the
// request.
func (b *body) Read(p []byte) (int, error) {
	if b.stream {
		return b.readStream(p)
	}
	if !b.began {
		b.began = true
		if here, ok := b.raw.(interface{ Arrived() bool }); !ok || !here.Arrived() {
			b.bounded = true
			_ = b.rc.SetReadDeadline(b.clock.Now().Add(b.timeout)) // a recorder in tests has none
		}
	}
	n, err := b.ReadCloser.Read(p)
	return n, b.ended(err)
}

// ended lifts the deadline when err ends the reading, and tells of a client that
// was too slow.
func (b *body) ended(err error) error {
	if err == nil {
		return nil
	}
	if b.bounded || b.stream {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	b.whole = b.whole || errors.Is(err, io.EOF)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.err = bodyError(err)
		b.slow(sideBody)
	}
	return err
}

// readStream reads within the time that the client still has.
func (b *body) readStream(p []byte) (int, error) {
	if err := b.resume(); err != nil {
		return 0, err
	}
	began := b.clock.Now()
	n, err := b.ReadCloser.Read(p)
	b.pace.Moved(n, b.clock.Now().Sub(began))
	b.mu.Lock()
	left := b.left
	b.mu.Unlock()
	if left && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, io.ErrClosedPipe // nobody waits for it any more
	}
	return n, b.ended(err)
}

// settle must come before the answer, whose header it is given: the server
// would wait for the rest of an unread body, before it answers and for as long
// as the client likes.
func (b *body) settle(header http.Header) {
	if b.stream || b.whole || b.rc.SetReadDeadline(b.clock.Now().Add(arrived)) != nil {
		return
	}
	if !b.expects {
		if _, err := io.CopyN(io.Discard, b.raw, maxDiscard); errors.Is(err, io.EOF) {
			b.whole = true
			_ = b.rc.SetReadDeadline(time.Time{})
			return
		}
	}
	header.Set("Connection", "close")
	_ = b.rc.SetReadDeadline(b.clock.Now().Add(linger))
}

// streamed has the body read while the answer is written, however long it is.
func (b *body) streamed() {
	b.ReadCloser, b.stream = b.raw, true
	_ = b.rc.EnableFullDuplex() // HTTP/2 needs no leave
}

// resume gives the next read of a streamed body its time.
func (b *body) resume() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left {
		return io.ErrClosedPipe
	}
	_ = b.rc.SetReadDeadline(b.clock.Now().Add(b.pace.Left()))
	return nil
}

// leave ends the reading of a streamed body, which then closes read.
func (b *body) leave(read <-chan struct{}) {
	b.mu.Lock()
	b.left = true
	_ = b.rc.SetReadDeadline(b.clock.Now().Add(arrived))
	b.mu.Unlock()
	<-read
	if b.whole {
		_ = b.rc.SetReadDeadline(time.Time{})
		return
	}
	// The client is still sending: it gets a moment to see the end of the answer,
	// which a connection that is closed with unread bytes would take with it.
	_ = b.rc.SetReadDeadline(b.clock.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, b.raw, maxDiscardStream)
}

// fail remembers err as what is wrong with this body.
func (b *body) fail(err error) error {
	b.err = err
	return err
}

// maxBody is how large the body of a request for rt may be, in bytes.
func (h *handler) maxBody(rt *route) int64 {
	if rt.rpc == edgev1.AdminService_QuantizeModel_FullMethodName {
		return max(int64(h.cfg.MaxBodyBytes), maxQuantizeBody)
	}
	if rt.rpc == edgev1.McpService_ListMcpTools_FullMethodName {
		return min(int64(h.cfg.MaxBodyBytes), int64(h.MCPBody))
	}
	return int64(h.cfg.MaxBodyBytes)
}

// checkBody refuses what can be refused before the body is read.
func (h *handler) checkBody(r *http.Request, rt *route) error {
	imports := rt.rpc == searchv1.SearchService_ImportDocuments_FullMethodName || rt.rpc == registryv1.RegistryService_ImportArchive_FullMethodName
	restores := rt.rpc == searchv1.SearchService_RestoreCollection_FullMethodName
	appends := rt.rpc == registryv1.ArtifactService_AppendUpload_FullMethodName
	if rt.rpc == edgev1.FileService_UploadFile_FullMethodName {
		return checkForm(r)
	}
	if limit := h.maxBody(rt); !imports && !restores && !appends && r.ContentLength > limit {
		return tooLarge(limit)
	}
	if r.ContentLength == 0 {
		return nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return apierr.New(apierr.UnsupportedMediaType, "the body must not be compressed (Content-Encoding)")
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" || ct == contentTypeJSON && !imports && !restores && !appends {
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(ct)
	if err == nil && mediaType == contentTypeBinary && rt.rpc == oip.GRPCInferenceService_ModelInfer_FullMethodName {
		return nil
	}
	charset := params["charset"]
	switch {
	case imports:
		return checkLines(mediaType, charset, err)
	case restores:
		return checkBytes(mediaType, err)
	case appends:
		return checkAppend(mediaType, err)
	}
	if err != nil || mediaType != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return apierr.New(apierr.UnsupportedMediaType, "the body must be JSON: send Content-Type: application/json")
	}
	return nil
}
