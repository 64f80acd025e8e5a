package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/requestid"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// ImportPath is where documents are imported, one a line.
const ImportPath = "/v1/collections/{collection}/documents:import"

const contentTypeLines = "application/x-ndjson"

// checkLines refuses a body that is not said to be lines of JSON.
func checkLines(mediaType, charset string, err error) error {
	if err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		switch mediaType {
		case contentTypeLines, "application/ndjson", "application/jsonl":
			return nil
		}
	}
	return apierr.New(apierr.UnsupportedMediaType,
		"the body must be lines of JSON: send Content-Type: %s", contentTypeLines)
}

// importQuery is what an import's query says.
type importQuery struct {
	refresh string
	// skip is how many lines of the body are passed over, and first the number of
	// its first line.
	skip, first int64
	failedOnly  bool
}

func readImportQuery(values url.Values) (importQuery, error) {
	q := importQuery{first: 1}
	for name, list := range values {
		if len(list) != 1 {
			return q, apierr.Invalid("query", "query: a parameter comes more than once")
		}
		var err error
		switch v := list[0]; name {
		case "refresh":
			q.refresh = v
		case "skip_lines":
			q.skip, err = lineNumber(name, v, 0)
		case "first_line":
			q.first, err = lineNumber(name, v, 1)
		case "verdicts":
			if v != "all" && v != "failed" {
				err = apierr.Invalid(name, "verdicts: must be all or failed")
			}
			q.failedOnly = v == "failed"
		default:
			err = apierr.Invalid("query", "query: has a parameter that this call does not have")
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

const maxLineNumber = 1_000_000_000_000

func lineNumber(name, v string, least int64) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > maxLineNumber {
		return 0, apierr.Invalid(name, "%s: must be a number from %d to %d", name, least, int64(maxLineNumber))
	}
	return n, nil
}

// importDocuments answers POST /v1/collections/{collection}/documents:import. The
// body is read while the answer is written, as fast as the documents are taken
// in. Before the first line is read the call is judged, so that what is refused is
// an ordinary answer.
func (h *handler) importDocuments(w *writer, r *http.Request, rt *route) {
	start, q, err := h.importStart(r, rt)
	if err != nil {
		writeError(w, r, err)
		return
	}
	b, ok := r.Body.(*body)
	if !ok {
		writeError(w, r, apierr.New(apierr.Internal, "the body is not bounded"))
		return
	}
	ctx, cancel := h.streamContext(r)
	defer cancel(nil)
	call, err := h.search.ImportDocuments(ctx)
	var first *searchv1.ImportDocumentsResponse
	if err == nil {
		_ = call.Send(start) // what is wrong with it is received
		first, err = call.Recv()
	}
	if call != nil {
		if md, headerErr := call.Header(); headerErr == nil {
			copyHeader(w.Header(), md)
		}
	}
	if err != nil {
		writeError(w, r, err)
		return
	}
	b.streamed()
	w.Header().Set("Content-Type", contentTypeLines)
	w.WriteHeader(http.StatusOK)
	h.metrics.StreamOpened(ctx)
	defer h.metrics.StreamClosed(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		if err := h.sendLines(call, newLineReader(b, h.cfg.MaxLineBytes.Int(), q)); err != nil {
			cancel(err)
		}
	}()
	h.answerLines(ctx, w, call, first, q)
	cancel(nil)
	b.leave(read)
}

func (h *handler) importStart(r *http.Request, rt *route) (*searchv1.ImportDocumentsRequest, importQuery, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, importQuery{}, apierr.Invalid("query", "query: cannot be read")
	}
	q, err := readImportQuery(values)
	if err != nil {
		return nil, q, err
	}
	id := ""
	for i, segment := range strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/") {
		if rt.segments[i] == "{collection}" {
			if id, err = url.PathUnescape(segment); err != nil {
				return nil, q, apierr.New(apierr.InvalidArgument, "the path cannot be read")
			}
		}
	}
	return &searchv1.ImportDocumentsRequest{Collection: id, Refresh: q.refresh, FirstLine: q.first + q.skip}, q, nil
}

// answerLines writes what the call answers, each verdict and each progress as a
// line, until its end.
func (h *handler) answerLines(ctx context.Context, w *writer, call grpc.ServerStreamingClient[searchv1.ImportDocumentsResponse],
	next *searchv1.ImportDocumentsResponse, q importQuery,
) {
	var buf []byte
	for err := error(nil); ; next, err = call.Recv() {
		buf = buf[:0]
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			buf, err = h.appendLines(buf, next, q)
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
				err = cause
			}
			buf = append(buf, `{"error":`...)
			buf = append(buf, httperr.ProblemBody(err, requestid.FromContext(ctx))...)
			buf = append(buf, '}', '\n')
		}
		if _, werr := w.Write(buf); werr != nil || w.FlushError() != nil || err != nil {
			return
		}
	}
}

func (h *handler) appendLines(buf []byte, resp *searchv1.ImportDocumentsResponse, q importQuery) (_ []byte, err error) {
	for _, v := range resp.GetVerdicts() {
		if q.failedOnly && v.GetError() == nil {
			continue
		}
		buf = append(buf, `{"verdict":`...)
		if buf, err = h.Codec.Append(buf, v); err != nil {
			return buf, err
		}
		buf = append(buf, '}', '\n')
	}
	buf = append(buf, `{"progress":`...)
	if buf, err = h.Codec.Append(buf, resp.GetProgress()); err != nil {
		return buf, err
	}
	return append(buf, '}', '\n'), nil
}

// What is sent on together: few messages for small documents, and one each for
// large ones.
const (
	sendLines = 100
	sendBytes = 256 << 10
)

// sendLines reads the body's documents and sends them on, those at once that
// came together. The error is of the body.
func (h *handler) sendLines(call grpc.BidiStreamingClient[searchv1.ImportDocumentsRequest, searchv1.ImportDocumentsResponse], in *lineReader) error {
	req := new(searchv1.ImportDocumentsRequest)
	size := 0
	for {
		line, err := in.next()
		if err == nil && len(line.text) > 0 || line.long {
			req.Lines, size = append(req.Lines, h.importLine(line, in.most)), size+len(line.text)
		}
		full := len(req.Lines) >= sendLines || size >= sendBytes
		if len(req.Lines) > 0 && (full || err != nil || !in.more()) {
			if call.Send(req) != nil {
				return nil //nolint:nilerr // why comes with what is received
			}
			req, size = new(searchv1.ImportDocumentsRequest), 0
		}
		switch {
		case errors.Is(err, io.EOF):
			return call.CloseSend()
		case err != nil:
			return bodyError(err)
		}
	}
}

// importLine makes a line a document, or says why it is none.
func (h *handler) importLine(l line, most int) *searchv1.ImportLine {
	out := &searchv1.ImportLine{Number: l.number}
	var err error
	if l.long {
		err = apierr.New(apierr.PayloadTooLarge, "the line is longer than %d bytes", most)
	} else {
		out.Document = new(searchv1.Document)
		err = h.Codec.Unmarshal(l.text, out.Document)
	}
	if err != nil {
		e := apierr.From(err)
		if out.Document = nil; !l.long {
			if id, ok := idOf(l.text); ok { // the verdict tells it
				out.Document = &searchv1.Document{Id: id}
			}
		}
		out.Error = &searchv1.ImportError{Code: string(e.Reason), Message: clipped(strings.Replace(e.Message, "the body", "the line", 1), 1024), Field: clipped(e.Field, 512)}
	}
	return out
}

// clipped returns at most n characters of s, which is valid UTF-8 then.
func clipped(s string, n int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
